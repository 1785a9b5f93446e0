"""Any task as its judging task: its splits, what a configuration may add, and what a run on it says
of its evaluators.
"""

from __future__ import annotations

import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.conclude import counts_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.ending import evaluator_text
from evoprompt.jobs.evolve.metrics import summary_metrics
from evoprompt.jobs.evolve.record import Summary
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.held_out import evaluator_summary
from evoprompt.records import LabelScores
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.tasks.judge import FALSE, STARTING_EVALUATORS, TRUE, VERDICTS
from evoprompt.tasks.load import load_task


def test_the_sizes_are_those_of_the_judging_task_and_half_of_each_split_is_true():
    task = load_task(
        TaskConfig(
            name="inbox",
            judge=True,
            fitness_examples=12,
            validation_examples=7,
            test_examples=20,
            demonstration_pool=10,
        )
    )
    assert task.name == "inbox-judge"
    assert [len(s) for s in (task.fitness, task.validation, task.test, task.demonstrations)] == [
        12,
        6,
        20,
        10,
    ]
    for split in (task.fitness, task.validation, task.test):
        assert all(e.choices == VERDICTS for e in split)
        assert sum(e.target == TRUE for e in split) == len(split) / 2
    assert task.starting_policies == STARTING_EVALUATORS


def test_own_answers_are_judged_in_place_of_made_up_ones_as_many_right_as_wrong(tmp_path: Path):
    plain = load_task(TaskConfig(name="inbox"))
    answers = tmp_path / "own.jsonl"
    # of every three of a split two are right, one is praised
    rows = [
        {"input": e.input, "answer": e.target if i % 3 else "praise"}
        for split in plain.splits.values()
        for i, e in enumerate(split)
        if i % 3 or e.target != "praise"
    ]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judging = load_task(TaskConfig(name="inbox", judge=True, own_answers=answers))
    wrong = sum(e.target != "praise" for e in plain.test[::3])
    assert [e.target for e in judging.test] == [TRUE, FALSE] * wrong
    assert all("answer: praise" in e.input for e in judging.test if e.target == FALSE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"input": "x"}', "line 1: expected an input and an answer"),
        (
            '{"input": "x", "answer": "y"}',
            "has no right or no wrong answer to the fitness",
        ),
        ("", "there is no answer in it"),
    ],
)
def test_own_answers_that_are_of_no_use_are_refused(tmp_path: Path, text: str, said: str):
    answers = tmp_path / "own.jsonl"
    answers.write_text(text + "\n")
    with pytest.raises(UserError, match=said):
        load_task(TaskConfig(name="inbox", judge=True, own_answers=answers))


def test_its_examples_are_those_of_the_task_split_by_split():
    plain = load_task(
        TaskConfig(name="inbox", fitness_examples=6, validation_examples=6, test_examples=6)
    )
    judge = load_task(
        TaskConfig(
            name="inbox", judge=True, fitness_examples=12, validation_examples=12, test_examples=12
        )
    )
    for split in ("fitness", "validation", "test"):
        inputs = [e.input for e in getattr(plain, split)]
        assert [e.input.partition("\nProposed answer: ")[0] for e in getattr(judge, split)] == [
            i for i in inputs for _ in range(2)
        ]


def test_what_a_configuration_adds_is_for_evaluators():
    own = {
        "starting_policies": [{"instruction": "Judge."}],
        "phrases": ["Doubt."],
        "label_words": {TRUE: ["yea"]},
        "steps": ["Why?"],
    }
    task = load_task(TaskConfig(name="inbox", judge=True, **own))
    assert [p.instruction for p in task.starting_policies] == ["Judge."]
    assert task.phrases[-1] == "Doubt."
    assert task.label_words[TRUE][-1] == "yea"
    assert FALSE in task.label_words
    assert task.steps == ("Why?",)
    with pytest.raises(
        UserError, match="label words are given for 'praise'; valid are: FALSE, TRUE"
    ):
        load_task(TaskConfig(name="inbox", judge=True, label_words={"praise": ["x"]}))


def test_a_task_with_one_answer_cannot_be_judged(tmp_path: Path):
    path = tmp_path / "same.jsonl"
    path.write_text(
        "".join(json.dumps({"input": f"say {i}", "target": "yes"}) + "\n" for i in range(80))
    )
    with pytest.raises(UserError, match="have the same answer"):
        load_task(TaskConfig(path=path, judge=True))


def test_what_an_evaluator_is_worth_worked_by_hand():
    # s = 30/40 = 3/4, c = 1 - 10/40 = 3/4, Lambda = 3: odds 1 fall to 1/3 in a round and to 1/243
    # in five.
    found = evaluator_summary(EvaluatorCounts(30, 40, 10, 40), 0.05)
    assert (found.sensitivity.value, found.specificity.value) == (0.75, 0.75)
    assert found.sensitivity.ci[0] < 0.75 < found.sensitivity.ci[1]
    assert found.ln_lambda.value == pytest.approx(log(30.5 / 40.5) - log(10.5 / 40.5))
    assert found.predicted.error_rate == {
        "1": pytest.approx(0.25),
        "5": pytest.approx(1 / 244),
    }
    text = evaluator_text(found)
    assert "sensitivity 0.750 [0.598, 0.858]" in text
    assert "error 0.5 would be 0.250 after 1 round, 0.004 after 5 rounds" in text


def test_an_evaluator_that_accepts_nothing_has_no_prediction():
    found = evaluator_summary(EvaluatorCounts(0, 4, 0, 4), 0.05)
    assert found.predicted.error_rate == {"1": None, "5": None}
    assert evaluator_text(found).startswith("sensitivity 0.000")
    assert "would be" not in evaluator_text(found)


def scores(**measured) -> LabelScores:
    width = np.shape(measured.get("log_likelihood", np.zeros((1, 3, 2))))[2]
    ones = np.ones((1, 3, width), dtype=np.int64)
    known = dict(
        policy_ids=("p",),
        example_ids=("a", "b", "c"),
        gold=np.zeros(3, dtype=int),
        log_likelihood=np.zeros((1, 3, width)),
    )
    return LabelScores(**(known | measured), num_tokens=ones, num_bytes=ones, is_greedy=ones > 0)


def test_verdicts_are_counted_by_hand():
    # The policy says TRUE, TRUE (a tie goes to it), FALSE, of a right, a wrong and a right answer.
    judge = scores(
        gold=np.array([0, 1, 0]),
        log_likelihood=np.array([[[-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0]]]),
    )
    assert counts_of(judge, judging=True) == EvaluatorCounts(
        accepted_right=1, num_right=2, accepted_wrong=1, num_wrong=1
    )
    # The clause accepts all three right answers and one wrong one.
    yes, no = (-1.0, -2.0), (-2.0, -1.0)
    clause = scores(verdict=np.array([[[yes, no], [yes, no], [yes, yes]]]))
    assert counts_of(clause, judging=False) == EvaluatorCounts(
        accepted_right=3, num_right=3, accepted_wrong=1, num_wrong=3
    )
    assert counts_of(scores(), judging=False) is None


def test_a_run_on_a_judging_task_says_what_its_evaluators_are_worth(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    summary = start(
        load_config(
            config_file, ["task.judge=true", "task.label_words={}", "evolution.generations=1"]
        ),
        tmp_path / "run",
    )
    assert summary["task"] == "mood-judge"
    assert set(summary["evaluator"]) == {"baseline", "champion"}
    for name, part in summary["evaluator"].items():
        assert (part["sensitivity"]["num"], part["specificity"]["num"]) == (10, 10)
        # Half of the test examples are TRUE: the accuracy is the mean of both rates.
        rates = [part[rate]["value"] for rate in ("sensitivity", "specificity")]
        assert sum(rates) / 2 == pytest.approx(summary["test"][name]["value"])
    assert "evaluator after" in capsys.readouterr().out
    metrics = summary_metrics(Summary.from_dict(summary))
    assert (
        metrics["judge/champion_specificity"]
        == summary["evaluator"]["champion"]["specificity"]["value"]
    )
    assert (
        metrics["judge/baseline_sensitivity_low"]
        <= metrics["judge/baseline_sensitivity"]
        <= metrics["judge/baseline_sensitivity_high"]
    )


def test_a_run_with_self_evaluation_measures_the_clauses_on_the_test_examples(
    config_file: Path, tmp_path: Path
):
    summary = start(
        load_config(config_file, ["fitness.self_evaluation=1", "evolution.generations=1"]),
        tmp_path / "run",
    )
    assert summary["evaluator"]["champion"]["sensitivity"]["num"] == 20
    plain = start(load_config(config_file, ["evolution.generations=1"]), tmp_path / "plain")
    assert "evaluator" not in plain


def test_a_search_starts_from_every_policy_with_each_number_of_demonstrations():
    config = TaskConfig(name="inbox", judge=True, starting_demonstrations=[0, 8])
    bare, shown = (
        load_task(config.model_copy(update={"starting_demonstrations": [0]})),
        load_task(config),
    )
    half = len(shown.starting_policies) // 2
    assert shown.starting_policies[:half] == bare.starting_policies
    sets = [frozenset(p.demonstrations) for p in shown.starting_policies[half:]]
    assert all(len(s) == 8 and s <= set(shown.demonstrations) for s in sets)
    assert all(sum(d.target == "TRUE" for d in s) == 4 for s in sets)
    assert len(set(sets)) == half  # not the same ones for each policy
    assert load_task(config) == shown
    with pytest.raises(UserError, match="task.starting_demonstrations asks for 500 of the"):
        load_task(config.model_copy(update={"starting_demonstrations": [500]}))
