"""What a model writes is graded as the harness grades it, by the metric that its task names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tasks.test_harness import harness_task
from toys.harness_rows import data_files

from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError
from evoprompt.fitness.grading import Grader
from evoprompt.jobs.evolve.config import Config, load_config
from evoprompt.jobs.evolve.session import conduct, resume
from evoprompt.records import Example
from evoprompt.tasks.harness.metric import own_metric

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

#: Of each task the right answers to one question, and what a model may write.
WRITTEN = {
    "gsm8k": (
        ["He has 900+100=1000 stones.\n#### 1,000"],
        [
            "#### 1000",
            "#### $1,000.",
            "1000",
            "is 7\n#### 1000.\n#### 8",
            "#### -1000",
            "#### ",
            "",
        ],
    ),
    "triviaqa": (
        ["Red", "The RED one"],
        ["red", " Red! ", "the red one", "a red", "blue", "", "Red one"],
    ),
    "nq_open": (["The red", "stone"], ["The red", "red", "stone", "A stone", "Stone.", "reds"]),
    # without a filter the harness counts white space, which is not counted here
    "boolq-seq2seq": ([" yes"], [" yes", " Yes.", " no"]),
}


def of_harness(task: Any, written: str, golds: list[str]) -> float:
    """What the harness's own filters and metric give a text that its model wrote."""
    responses: list[Any] = [[written]]
    for make in task._filters[0].filters:
        responses = list(make().apply(responses, [{}]))
    task.doc_to_choice = lambda _: golds
    chosen = 0 if task.config.doc_to_choice is not None else golds[0]
    task.doc_to_target = lambda _: golds if task.multiple_target else chosen
    return float(task.process_results({}, responses)["exact_match"])


@pytest.mark.parametrize("name", WRITTEN)
def test_an_answer_gets_the_harness_own_grade(name: str, tmp_path: Path):
    task = harness_task(name, data_files(tmp_path, name, 8), num_fewshot=0)
    golds, texts = WRITTEN[name]
    grader, example = Grader(own_metric(name)), Example("1", "", golds[0], also=tuple(golds[1:]))
    ours = [grader.grade(text, example).value for text in texts]
    theirs = [of_harness(task, text, golds) for text in texts]
    assert ours == theirs
    assert set(ours) == {0.0, 1.0}  # right and wrong ones are among them


def configured(tmp_path: Path, **sections: Any) -> Config:
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({"task": {"lm_eval": "triviaqa"}} | sections))
    return load_config(path)


def test_the_metric_of_a_task_is_written_out_in_the_configuration(tmp_path: Path):
    expected = MetricConfig(
        name="exact_match",
        filters=[{"function": "remove_whitespace"}],
        ignore=["case", "punctuation"],
        max_tokens=256,
        stops=["\n", ".", ","],
    )
    assert configured(tmp_path, fitness={"kind": "metric"}).fitness.metric == expected
    final = configured(tmp_path, final={"metric": {"name": "own", "max_tokens": 8}}).final
    assert final.metric == expected.model_copy(update={"max_tokens": 8})
    assert configured(tmp_path).fitness.metric is None
    assert configured(tmp_path, final={"metric": {"name": "f1"}}).final.metric.name == "f1"


def test_a_metric_that_a_task_has_not_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="final.metric.name 'own' goes with task.lm_eval"):
        configured(tmp_path, task={"name": "inbox"}, final={"metric": {"name": "own"}})
    for changes, reason in (
        ({"output_type": "multiple_choice"}, "its answers are not written"),
        ({"filter_list": [{"filter": [{"function": "majority_vote"}]}]}, "filter majority_vote"),
        ({"metric_list": [{"metric": "bleu"}]}, "it grades answers by bleu"),
        ({"metric_list": [{"metric": "exact_match", "odd": 1}]}, "its exact_match has odd"),
    ):
        path = tmp_path / "mine.yaml"
        path.write_text(json.dumps({"task": "mine", "doc_to_text": "q", **changes}))
        with pytest.raises(UserError, match=reason):
            own_metric(str(path))


@pytest.mark.slow
def test_a_run_writes_and_grades_as_the_task_says_and_knows_its_files(
    tmp_path: Path, long_model: Path
):
    files = data_files(tmp_path, "triviaqa", 12)
    path = tmp_path / "run.yaml"
    values = {
        "model": {"name": str(long_model), "memo": False},
        "task": {
            "lm_eval": "triviaqa",
            "data_files": {split: file.name for split, file in files.items()},
            "num_fewshot": 1,
            "starting_demonstrations": [0],
        },
        "fitness": {"kind": "metric", "metric": {"name": "own", "max_tokens": 3}},
        "evolution": {"population": 2, "children": 2, "generations": 1},
        "workers": {"backend": "local"},
        "tracking": {"enabled": False},
    }
    path.write_text(json.dumps(values))
    run = conduct(load_config(path), tmp_path / "out", show=False)
    folder = run.path
    assert run.config().fitness.metric.name == "exact_match"
    known = json.loads((folder / "provenance.json").read_text())["files"]
    assert sorted(known) == ["task.data_files.train", "task.data_files.validation"]
    lineage = (folder / "lineage.jsonl").read_text().splitlines()
    assert json.loads(lineage[0])["policy"]["demonstrations"], "the task's prompt is the founder"
    (folder / "summary.json").unlink()
    files["train"].write_text(files["train"].read_text().replace("red", "rod"))
    with pytest.raises(UserError, match="the file of task.data_files.train has other content"):
        resume(folder)
