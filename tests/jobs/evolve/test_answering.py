"""Runs whose answers are written and graded: what is kept, what it costs, what is chosen by it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from toys.instant import ByteTokenizer, InstantExecutor
from toys.metrics import early

import evoprompt as ep
from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError
from evoprompt.evolution.experience import mistakes_of
from evoprompt.fitness.catalog import fitness_of
from evoprompt.fitness.grading import Grader
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.answering import answering_of, cut_short
from evoprompt.jobs.evolve.build import build, check_task
from evoprompt.jobs.evolve.config import Config, load_config
from evoprompt.jobs.evolve.folder import LINEAGE, MEASUREMENTS, EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.play.session import speaker_of
from evoprompt.jobs.predict import predict
from evoprompt.jobs.sweep.forecast import Forecaster
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.scoring.decoding import Decoding
from evoprompt.store.folder import SUMMARY
from evoprompt.tasks.load import load_task

pytestmark = pytest.mark.usefixtures("no_pages")

OWN = "fitness={kind: metric, metric: {name: 'toys.metrics:early', max_tokens: 6}}"
FINAL = "final={candidates: 4, metric: {name: 'toys.metrics:early', max_tokens: 6}}"


@pytest.fixture(scope="module")
def written_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of a task in free text that runs at once, with a backend that writes letters."""
    path = tmp_path_factory.mktemp("written") / "written.yaml"
    path.write_text(
        """
model: {name: instant, memo: false}
task: {name: word_problems, difficulty: 1, fitness_examples: 8, validation_examples: 8,
  test_examples: 12, starting_demonstrations: [0]}
evolution: {population: 3, children: 4, generations: 3, max_demonstrations: 2}
workers: {backend: "toys.instant:InstantBackend"}
tracking: {enabled: false}
"""
    )
    return path


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / SUMMARY).read_text())


@pytest.fixture(scope="module")
def finished(written_file: Path) -> Path:
    start(load_config(written_file, [OWN]), written_file.parent / "run")
    return written_file.parent / "run"


def test_what_was_written_is_kept_and_graded_again_without_a_model(finished: Path):
    config = EvolveFolder.open(finished).config()
    examples = {e.example_id: e for e in load_task(config.task).fitness}
    grader = Grader(config.fitness.metric or MetricConfig())
    rows = lines(finished, MEASUREMENTS)
    for row in rows:
        asked = [examples[i] for i in row["example_ids"]]
        again = [grader.grade(t, e) for t, e in zip(row["written"], asked, strict=True)]
        assert [g.value for g in again] == row["grade"]
        assert [g.feedback for g in again] == row["feedback"]
        assert all(len(text) <= 6 for text in row["written"])
        assert not any(nats is not None for [nats] in row["log_likelihood"])
    assert len({text for row in rows for text in row["written"]}) > 20
    born = {line["policy_id"]: line for line in lines(finished, LINEAGE)}
    first = rows[0]
    worth = born[first["policy_id"]]
    assert worth["fitness"] == pytest.approx(sum(first["grade"]) / 8, abs=1e-6)
    assert worth["traits"]["accuracy"] == sum(g >= 0.5 for g in first["grade"]) / 8
    assert "cross_entropy" not in worth["traits"]


@pytest.mark.pages
def test_the_test_is_by_the_metric_and_answers_are_told(finished: Path):
    found, told = summary_of(finished), lines(finished, "predictions.jsonl")
    own = [
        p for p in told if (p["split"], p["policy_id"]) == ("test", found["champion"]["policy_id"])
    ]
    assert found["test"]["metric"] == found["metric"]["name"] == "early"
    assert found["metric"]["rank_correlation"] is None
    mean = sum(p["grade"] for p in own) / 12
    assert found["test"]["champion"]["value"] == pytest.approx(mean)
    assert "mcnemar" not in found["test"], "grades are more than right and wrong"
    assert all(p["feedback"].endswith("letters are late") for p in own)
    assert "of the metric early on 12 test" in found["claim"]["text"] or (
        found["claim"]["verdict"] == "baseline"
    )
    assert "which the metric gives" in (finished / "champion.txt").read_text()
    page = (finished / "report.html").read_text()
    assert "What is written to every test example" in page
    assert all(p["answer"] in page and p["feedback"] in page for p in own)


def test_the_files_are_as_the_schema_says(finished: Path):
    schema = json.loads((resources.files("evoprompt") / "schema.json").read_text("utf-8"))
    for definition, found in {
        "prediction_line": lines(finished, "predictions.jsonl"),
        "summary": [summary_of(finished)],
    }.items():
        validator = Draft202012Validator({**schema, "$ref": f"#/$defs/{definition}"})
        assert [e.message for each in found for e in validator.iter_errors(each)] == []


def test_a_resume_writes_nothing_of_the_search_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    finished = copytree(finished, tmp_path / "run")
    before, lineage = summary_of(finished), (finished / LINEAGE).read_bytes()
    (finished / SUMMARY).unlink()
    asked: list[Decoding] = []
    generate = InstantExecutor.generate
    monkeypatch.setattr(
        InstantExecutor, "generate", lambda self, r: asked.extend(r) or generate(self, r)
    )
    resume(finished)
    after = summary_of(finished)
    assert (finished / LINEAGE).read_bytes() == lineage
    for name in ("champion", "test", "metric"):
        assert after[name] == before[name]
    compared = len(before["metric"]["validation"]) * 8 + 2 * 12
    assert 0 < len(asked) <= compared


@pytest.mark.pages
def test_likelihood_searches_and_the_metric_chooses_and_tests(written_file: Path, tmp_path: Path):
    start(load_config(written_file, [FINAL]), tmp_path / "run")
    found = summary_of(tmp_path / "run")
    assert found["fitness"]["kind"] == "per_token"
    assert not any("written" in row for row in lines(tmp_path / "run", MEASUREMENTS))
    chosen = found["metric"]["validation"]
    assert len(chosen) >= 3
    assert chosen[found["champion"]["policy_id"]] == max(chosen.values())
    assert found["metric"]["rank_correlation"]["num_policies"] == len(chosen)
    assert found["test"]["metric"] == "early"
    assert "the metric early chose among 4 finalists" in (tmp_path / "run/report.html").read_text()
    again = EvolveFolder.open(tmp_path / "run").summary()
    assert again is not None
    assert json.loads(json.dumps(again.to_dict()))["metric"] == found["metric"]


@pytest.mark.parametrize("how", [OWN, FINAL])
@pytest.mark.parametrize("kind", ["prefill_tokens", "logical_tokens"])
def test_no_budget_is_exceeded_and_one_too_small_is_told(
    written_file: Path, tmp_path: Path, long_model: Path, how: str, kind: str
):
    real = [f"model={{name: '{long_model}', memo: false}}", "workers={backend: local}", how]
    real += [f"task.{split}_examples=4" for split in ("fitness", "validation", "test")]
    with pytest.raises(UserError, match=rf"budget\.{kind} is 500, and .* take (\d+)") as error:
        start(load_config(written_file, [*real, f"budget.{kind}=500"]), tmp_path / "small")
    limit = 3 * int(str(error.value).split(" take ")[1].split()[0])
    start(load_config(written_file, [*real, f"budget.{kind}={limit}"]), tmp_path / "run")
    found = summary_of(tmp_path / "run")
    assert found["generations"] >= 1
    spent = found["tokens"]["logical" if kind == "logical_tokens" else "floor"]
    assert 0.3 * limit < spent <= limit


@pytest.mark.parametrize("how", [OWN, FINAL, FINAL.replace("toys.metrics:early", "judge")])
def test_a_short_test_is_not_taken_for_less_than_it_takes(
    written_file: Path, tmp_path: Path, how: str
):
    sizes = ["task.validation_examples=24", "task.test_examples=3"]
    parts = build(load_config(written_file, [how, *sizes]), tmp_path)
    shown = replace(parts.task.starting_policies[0], demonstrations=parts.task.demonstrations[:8])
    # the rows of a test prompt are about those of a validation prompt
    takes = parts.measurer.final.weigh(shown, parts.task.test).rows
    assert 0.9 * takes < parts.costs._tokens(shown, "test") < 1.2 * takes
    parts.close()


def test_draws_follow_from_the_seed_and_the_example(written_file: Path):
    def seeds(seed: int, temperature: float) -> list[int]:
        how = OWN.replace("6}", f"6, temperature: {temperature}}}")
        config = load_config(written_file, [how, f"seed={seed}"])
        answering = answering_of(config, fitness_of(config.fitness, has_choices=False))
        assert answering is not None
        return [answering.seed_of(Example(name, "q", "1")) for name in "ab"]

    assert seeds(1, 0.5) == seeds(1, 0.9)
    assert len({*seeds(1, 0.5), *seeds(2, 0.5)}) == 4
    assert seeds(1, 0) == [0, 0], "nothing is drawn"


def test_a_judge_grades_by_its_verdict_and_is_paid(written_file: Path, tmp_path: Path):
    how = "fitness={kind: metric, metric: {name: judge, max_tokens: 6}}"
    limit = 60_000
    start(load_config(written_file, [how, f"budget.prefill_tokens={limit}"]), tmp_path / "run")
    grades = [g for row in lines(tmp_path / "run", MEASUREMENTS) for g in row["grade"]]
    assert all(0 < g < 1 for g in grades)
    assert len(set(grades)) > 20
    found = summary_of(tmp_path / "run")["tokens"]
    assert found["requests"] > len(grades) * 2, "a verdict has two likelihoods"
    assert found["floor"] <= limit


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["fitness={kind: metric}", "task={name: inbox}"], "task 'inbox' has choices; leave"),
        ([OWN, "task.judge=true"], "with task.judge the answers are the verdicts"),
        (["fitness.metric={name: exact}"], r"goes with fitness\.kind=metric"),
        ([OWN, "final.metric={name: f1}"], r"go by fitness\.metric already"),
        (["final.metric={name: numbr}"], r"final\.metric\.name has no metric 'numbr'; did you"),
        (["final.metric={name: exact, extract: '('}"], r"final\.metric\.extract: '\(' is no reg"),
        ([OWN.replace("early", "failing")], r"'toys.metrics:failing' on example '.*' raised Look"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(
    written_file: Path, tmp_path: Path, changes: list[str], sentence: str
):
    with pytest.raises(UserError, match=sentence):
        start(load_config(written_file, changes), tmp_path / "run")
    assert not (tmp_path / "run" / LINEAGE).exists()


def test_right_answers_that_are_longer_than_what_may_be_written_are_told(written_file: Path):
    def told(max_tokens: int) -> list[str]:
        metric = f"fitness={{kind: metric, metric: {{name: number, max_tokens: {max_tokens}}}}}"
        config = load_config(written_file, [metric, "task.name=worked_problems"])
        task, fitness = check_task(config)
        return cut_short(config, task, fitness, ByteTokenizer)

    # the longest of one step, a token a byte: " 9 - 1 = 8. The answer is 8."
    [sentence] = told(27)
    assert "more than the 27 tokens that a model may write, the longest 28" in sentence
    assert "fitness.metric.max_tokens" in sentence
    assert told(28) == []


def test_every_config_of_a_metric_is_read_back(written_file: Path):
    config = load_config(written_file, [OWN, "traits.likelihood=true"])
    assert Config.model_validate(config.model_dump()) == config


def test_a_champion_writes_what_its_metric_takes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = tmp_path / "new.jsonl"
    told = [p for p in lines(finished, "predictions.jsonl") if p["split"] == "test"]
    last = summary_of(finished)["champion"]["policy_id"]
    own = [p for p in told if p["policy_id"] == last]
    rows = [{"input": p["input"], "target": p["target"]} for p in own]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict(finished, str(source), tmp_path / "out.jsonl")
    found = lines(tmp_path, "out.jsonl")
    assert [row["answer"] for row in found] == [p["answer"] for p in own]
    mean = summary_of(finished)["test"]["champion"]["value"]
    assert f"the metric is {mean:.3f} on 12 answers" in capsys.readouterr().err
    player = job_of(finished).champion(finished)
    speaker = speaker_of(player)
    wrote = speaker.write(player.policy, own[0]["input"], temperature=0.0, seeds=[0])
    assert wrote == [own[0]["answer"]]


def test_what_is_written_wrong_is_shown_to_operators_with_what_is_said_of_it(finished: Path):
    folder = EvolveFolder.open(finished)
    examples = {e.example_id: e for e in load_task(folder.config().task).fitness}
    policy = Policy.from_dict(lines(finished, LINEAGE)[0]["policy"])
    scores = folder.measurements()[policy.policy_id]
    found = mistakes_of(policy, scores, examples)
    grades = scores.grade[0].tolist()
    assert len(found) == sum(g < 0.5 for g in grades) > 0
    worst = grades.index(min(grades))
    assert found[0].answer == scores.written[0, worst]
    assert found[0].feedback == scores.feedback[0, worst] != ""


def test_a_sweep_forecasts_what_may_be_written(written_file: Path, long_model: Path):
    def tokens(how: str) -> int:
        return Forecaster().tokens(
            load_config(written_file, [f"model={{name: '{long_model}'}}", how])
        )

    # founders 3, children 4 * 3 and finalists 3 on 8 examples each, two on 12: 168 answers
    assert tokens(OWN.replace("6", "24")) - tokens(OWN) == 168 * 18
    # finalists 4 on 8, two on 12: 56 answers
    assert tokens(FINAL.replace("6", "24")) - tokens(FINAL) == 56 * 18


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings("ignore")
def test_a_fleet_writes_what_one_process_writes(
    written_file: Path, tmp_path: Path, long_model: Path
):
    how = OWN.replace("max_tokens: 6", "max_tokens: 6, temperature: 0.7")
    changes = [f"model={{name: '{long_model}', memo: false}}", how, "evolution.generations=1"]
    changes += [f"task.{split}_examples=4" for split in ("fitness", "validation", "test")]
    for run, workers in (
        ("local", "workers={backend: local}"),
        ("ray", "workers={backend: ray, count: 2, gpus_per_worker: 0}"),
    ):
        start(load_config(written_file, [*changes, workers]), tmp_path / run)
    for name in (LINEAGE, MEASUREMENTS, "predictions.jsonl"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
    texts = [t for row in lines(tmp_path / "ray", MEASUREMENTS) for t in row["written"]]
    assert len(set(texts)) > 8


@pytest.mark.parametrize(("fitness", "kind"), [("auto", "metric"), ("sum", "sum")])
def test_a_function_given_in_python_is_the_fitness_or_chooses(fitness: str, kind: str):
    task = ep.Task.builtin("word_problems")
    section = "fitness" if kind == "metric" else "final"
    settings = {"evolution.generations": 1, "model.memo": False, f"{section}.metric.max_tokens": 6}
    result = ep.evolve(
        task,
        model="instant",
        backend="toys.instant:InstantBackend",
        fitness=fitness,
        metric=early,
        settings=settings | {f"task.{s}_examples": 4 for s in ("fitness", "validation", "test")},
    )
    assert result.summary["fitness"]["kind"] == kind
    assert result.test["metric"] == "early"
    assert len(result.predict(["How many?"])[0]) == 6
    result.close()
