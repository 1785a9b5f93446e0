"""MLflow's optimizer: a black box by its scores, a model by its likelihoods."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from toys.chats import chat_model
from toys.programs import CHAT, TEXT, Program, data

import evoprompt as ep
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.optimizers.black_box import MARK
from evoprompt.optimizers.prompts import form_of
from evoprompt.optimizers.rows import right_answer, rows_of
from evoprompt.policy import Policy
from evoprompt.store.folder import RunFolder


def shows(prompts: dict[str, str], inputs: dict[str, Any]) -> float:
    """A demonstration of either label is worth a half."""
    own = json.loads(prompts["p"]) if prompts["p"].startswith("[") else [{"content": prompts["p"]}]
    said = "\n".join(m["content"] for m in own)
    return 0.5 * ("poor" in said) + 0.5 * ("nice" in said)


@pytest.mark.parametrize("prompt", [TEXT, CHAT], ids=["text", "chat"])
def test_a_black_box_is_searched_by_its_scores_within_its_calls(prompt, tmp_path):
    program = Program(shows)
    optimizer = ep.EvoPromptOptimizer(calls=100, out=tmp_path / "runs")
    found = optimizer.optimize(program, data(), {"p": prompt}, enable_tracking=False)
    assert (found.initial_eval_score, found.final_eval_score) == (0.0, 1.0)
    assert found.final_eval_score_per_scorer == {"own": 1.0}
    best = found.optimized_prompts["p"]
    assert MARK not in best
    assert "{{text}}" in best
    assert len(program.asked) <= 100
    pairs = [(prompts["p"], text) for prompts, text in program.asked]
    assert len(set(pairs)) == len(pairs), "nothing is asked twice"
    assert program.asked[0][0] == {"p": prompt}, "the prompt as it is given comes first"
    folder = tmp_path / "runs" / "p"
    summary = RunFolder(folder).read("summary.json")
    assert summary["test"]["champion"]["value"] == found.final_eval_score
    assert summary["tokens"]["requests"] == len(program.asked)
    assert {f.name for f in folder.iterdir()} >= {"generations.jsonl", "report.html"}
    # no row that is shown is ever asked about
    asked = {text for _, text in program.asked}
    shown = [d[0] for d in summary["champion"]["policy"]["demonstrations"]]
    assert shown
    assert not any(text in each for text in asked for each in shown)


def test_what_the_search_asks_is_what_the_champion_is():
    """The templates that were scored are those that policies stand for, to the letter."""
    program = Program(shows)
    found = ep.EvoPromptOptimizer(calls=60).optimize(program, data(), {"p": CHAT}, False)
    assert found.optimized_prompts["p"] in {prompts["p"] for prompts, _ in program.asked}


@pytest.mark.slow
def test_several_prompts_are_evolved_in_turn_within_one_budget():
    def worth(prompts: dict[str, str], inputs: dict[str, Any]) -> float:
        return 0.5 * (prompts["a"] != "Be long.") + 0.5 * ("poor" in prompts["p"])

    program = Program(worth)
    given = {"a": "Be long.", "p": TEXT}
    found = ep.EvoPromptOptimizer(calls=140).optimize(program, data(12), given, False)
    assert found.optimized_prompts["a"] != "Be long."
    assert (found.initial_eval_score, found.final_eval_score) == (0.0, 1.0)
    assert len(program.asked) <= 140
    later = [prompts["a"] for prompts, _ in program.asked if prompts["p"] != TEXT]
    assert set(later) == {found.optimized_prompts["a"]}, "the first stays at its best"


@pytest.mark.slow
def test_runs_of_several_prompts_are_tested_on_the_same_rows():
    """Each row has a worth of its own, whatever the prompts: other rows would have other scores.
    The first run ends early, so that the second has more calls than an equal part.
    """
    program = Program(lambda prompts, inputs: 2.0 ** -int(inputs["text"].split()[-1]))
    short = {"evolution.generations": 1, "evolution.children": 1, "task.fitness_examples": 6}
    optimizer = ep.EvoPromptOptimizer(calls=160, settings=short)
    found = optimizer.optimize(program, data(40), {"a": "Be brief.", "p": TEXT}, False)
    assert found.initial_eval_score == found.final_eval_score
    assert found.optimized_prompts == {"a": "Be brief.", "p": TEXT}, "of a tie the given is kept"


def test_where_nothing_helps_the_prompt_stays():
    program = Program(lambda prompts, inputs: float(prompts["p"] == TEXT))
    found = ep.EvoPromptOptimizer(calls=60).optimize(program, data(), {"p": TEXT}, False)
    assert found.optimized_prompts == {"p": TEXT}
    assert found.initial_eval_score == found.final_eval_score == 1.0


@pytest.mark.slow
def test_a_model_is_searched_by_its_likelihoods(long_model, tmp_path):
    settings = {"evolution.generations": 1, "evolution.children": 2, "model.memo": False}
    optimizer = ep.EvoPromptOptimizer(
        model=str(long_model), tokens=40_000, settings=settings, out=tmp_path / "runs"
    )
    program = Program(shows)
    found = optimizer.optimize(program, data(60), {"p": TEXT}, enable_tracking=False)
    result = ep.load(tmp_path / "runs" / "p")
    assert found.optimized_prompts["p"] == form_of("p", TEXT).text(result.champion.policy)
    policy = result.champion.policy
    assert (policy.template, policy.label_words) == (form_of("p", TEXT).policy.template, ())
    assert found.initial_eval_score == 0.0
    assert found.final_eval_score == shows(found.optimized_prompts, {})
    # the rows of all splits, twice, and one to see whether there are scorers
    config = EvolveFolder.open(result.folder).config()
    own = check_task(config)[0]
    assert len(program.asked) == 2 * len([*own.fitness, *own.validation, *own.test]) + 1
    assert config.fitness.calibration == "off", "a text carries none"
    tokens = result.summary["tokens"]
    assert 0 < tokens["floor"] <= 40_000


@pytest.mark.slow
def test_a_prompt_that_scores_no_more_by_the_users_own_program_stays_as_it_was(long_model):
    settings: dict[str, Any] = {"evolution.generations": 1, "evolution.children": 2}
    settings |= {"model.memo": False, "fitness.calibration": "head"}  # by raw likelihood none wins
    optimizer = ep.EvoPromptOptimizer(model=str(long_model), settings=settings)
    program = Program(lambda prompts, inputs: 1.0 - shows(prompts, inputs))
    found = optimizer.optimize(program, data(60), {"p": TEXT}, enable_tracking=False)
    assert any(prompts["p"] != TEXT for prompts, _ in program.asked), "another one was tried"
    assert found.optimized_prompts == {"p": TEXT}
    assert found.initial_eval_score == found.final_eval_score == 1.0


@pytest.mark.slow
def test_a_chat_is_searched_by_its_likelihoods(long_model, tmp_path):
    model = chat_model(long_model, tmp_path / "model")
    settings = {"evolution.generations": 1, "evolution.children": 2, "model.memo": False}
    optimizer = ep.EvoPromptOptimizer(model=str(model), settings=settings, out=tmp_path / "runs")
    found = optimizer.optimize(Program(shows), data(40), {"p": CHAT}, enable_tracking=False)
    policy = ep.load(tmp_path / "runs" / "p").champion.policy
    assert policy.chat == "turns"
    turns = json.loads(found.optimized_prompts["p"])
    assert turns[-1] == {"role": "user", "content": "Text: {{text}}"}
    assert [t["content"] for t in turns if t["role"] == "assistant"] == [
        d.target for d in policy.demonstrations
    ]


def test_a_prompt_of_values_that_no_row_has_shows_no_rows():
    """As of a program that fills its second prompt with what the first one gave."""
    program = Program(lambda prompts, inputs: float("Sum up" not in prompts["p"]))
    given = {"p": "Sum up.\n\nNotes: {{notes}}\nSummary:"}
    found = ep.EvoPromptOptimizer(calls=80).optimize(program, data(), given, False)
    best = found.optimized_prompts["p"]
    assert best.endswith("Notes: {{notes}}\nSummary:")
    assert best.count("Notes:") == 1
    assert "Sum up" not in best


@pytest.mark.slow
def test_without_scorers_a_model_gives_no_scores(long_model):
    settings = {"evolution.generations": 1, "evolution.children": 1, "model.memo": False}
    program = Program(lambda prompts, inputs: None)  # type: ignore[arg-type,return-value]
    optimizer = ep.EvoPromptOptimizer(model=str(long_model), settings=settings)
    found = optimizer.optimize(program, data(40), {"p": TEXT}, False)
    assert found.initial_eval_score is None
    assert found.final_eval_score is None


@pytest.mark.slow
def test_a_model_of_this_process_writes_for_a_black_box_without_charge(long_model, tmp_path):
    program = Program(shows)
    optimizer = ep.EvoPromptOptimizer(calls=60, writer=str(long_model), out=tmp_path / "runs")
    optimizer.optimize(program, data(), {"p": TEXT}, False)
    tokens = RunFolder(tmp_path / "runs" / "p").read("summary.json")["tokens"]
    assert tokens["by_phase"]["variation"] > 2 * 60
    assert len(program.asked) <= 60


def test_rows_are_split_once_and_what_is_shown_is_not_asked():
    form = form_of("p", TEXT)
    more = [{"inputs": {"text": "nice thing", "kind": str(i)}, "outputs": "bad"} for i in range(2)]
    twice = [*data(9), *more, *data(5)]
    rows = rows_of(form, twice, MARK, calls=400, seed=3)
    ids = [e.example_id for split in rows.splits for e in split]
    # 11 rows: 30 % to test are 3, 15 % to choose by 1, 20 % to be shown 2
    assert [len(split) for split in rows.splits] == [2, 5, 1, 3]
    assert sorted(map(int, ids)) == list(range(11))
    asked = [e.input for split in rows.splits[1:] for e in split]
    assert len(set(asked)) == len(rows.records) == 9
    for seed in range(20):  # two rows that read the same are never shown
        shown = rows_of(form, twice, MARK, 400, seed).splits[0]
        assert "nice thing" not in [e.input for e in shown]
    assert rows_of(form, twice, MARK, 400, 4).splits != rows.splits
    assert rows_of(form_of("p", "Go."), twice, MARK, 400, 3).splits[0] == ()
    # an eighth of 16 calls to test, a sixteenth to choose by
    assert [len(s) for s in rows_of(form, twice, MARK, 16, 3).splits] == [2, 6, 1, 2]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"expectations": {"expected_response": "a", "b": 1}}, "a"),
        ({"expectations": {"label": 3}}, "3"),
        ({"expectations": {"a": "x", "b": "y"}}, None),
        ({"outputs": "a"}, "a"),
        ({"outputs": float("nan"), "expectations": None}, None),
        ({"outputs": {"a": 1}}, None),
        ({}, None),
    ],
)
def test_the_right_answer_of_a_row(record, expected):
    assert right_answer({"inputs": {"text": "t"}, **record}) == expected


@pytest.mark.parametrize(
    ("arguments", "rows", "score", "said"),
    [
        ({"calls": 5, "model": "m"}, 16, 1.0, "give tokens, or leave model out"),
        ({"tokens": 5}, 16, 1.0, "give model, or calls"),
        ({"calls": 10}, 16, 1.0, "10 calls for the prompt 'p' are too few"),
        ({}, 0, 1.0, "was given no train_data"),
        ({}, 3, 1.0, "train_data has 3 rows with different inputs"),
        ({}, 16, None, "was given no scorers"),
        ({}, 16, float("nan"), "a score is a finite number"),
        (
            {"settings": {"evolution.operators": {"instruction_paraphrase": 9.0}}},
            16,
            1.0,
            "writes no instructions",
        ),
    ],
)
def test_what_cannot_work_is_said(arguments, rows, score, said):
    program = Program(lambda prompts, inputs: score)
    with pytest.raises(UserError, match=said):
        ep.EvoPromptOptimizer(**arguments).optimize(program, data(rows), {"p": TEXT}, False)


def test_a_model_needs_rows_that_fill_the_prompt_and_right_answers():
    optimizer = ep.EvoPromptOptimizer(model="m")
    program = Program(shows)
    with pytest.raises(UserError, match=r"row 0 .* cannot fill the prompt 'p', whose variables"):
        optimizer.optimize(program, data(), {"p": "Q: {{question}}"}, False)
    with pytest.raises(UserError, match="row 0 of train_data has no right answer"):
        optimizer.optimize(program, [{"inputs": {"text": "a"}}], {"p": TEXT}, False)
    taken = [{"inputs": {"text": "a"}, "outputs": "{{b}}"}] * 4
    with pytest.raises(UserError, match="would take for a variable"):
        optimizer.optimize(program, taken, {"p": TEXT}, False)


def test_importing_evoprompt_imports_no_mlflow():
    code = "import sys, evoprompt; print('mlflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_policy_of_a_chat_has_the_instruction_in_the_system_turn():
    form = form_of("p", CHAT)
    assert json.loads(form.text(Policy("Go.", (), form.policy.template)))[0]["content"] == "Go."
