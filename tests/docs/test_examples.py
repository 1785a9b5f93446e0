"""The examples of the documentation hold the contracts that a plug-in's author tests against, and
are found by the names that the pages give.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.sections import ModelConfig
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.fitness.catalog import KINDS
from evoprompt.plugins import find
from evoprompt.records import Example
from evoprompt.selection.schemes import SCHEMES
from evoprompt.tasks.readers.open import read_table
from evoprompt.tasks.sources.jsonl import read_jsonl
from evoprompt.testing.backends import check_backend
from evoprompt.testing.fitness import check_fitness
from evoprompt.testing.operators import check_operator, example_policy
from evoprompt.testing.selection import check_scheme
from evoprompt.testing.sources import check_source, check_splits

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(autouse=True)
def _in_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def test_the_operator():
    check_operator(find("operator", "my_operator:Shout", {}, "docs"))


def test_the_fitness_and_the_trait():
    check_fitness(find("fitness", "my_fitness:Cautious", KINDS, "docs"))
    question_marks = find("trait", "my_fitness:question_marks", {}, "docs")
    policy = example_policy(np.random.default_rng(0))
    assert question_marks(policy, None) == policy.instruction.count("?")


def test_the_metric():
    brief = find("metric", "my_metric:brief", {}, "docs")
    example = Example("1", "2 + 2 =", "4", None)
    assert brief("it is 4", example) == (1.0, "3 words")
    assert brief("well then it surely is 4", example) == (0.0, "6 words")
    assert brief("5", example) == (0.0, "'4' is missing")


def test_the_scheme():
    check_scheme(find("selection", "my_scheme:Random", SCHEMES, "docs"))


def test_the_source():
    config = TaskConfig(source="my_source:Sums", options={"most": 12})
    check_source(find("source", "my_source:Sums", {}, "docs"), config)
    check_splits(config)


def test_the_paths():
    [path] = read_jsonl(EXAMPLES / "paths.jsonl")
    assert [move.answer for move in path.path] == ["get water: fill", "make it hot: heat"]


def test_the_reader():
    text = b"input: a\ntarget: yes\n\ninput: b\ntarget: no\n"
    table = read_table(BytesIO(text), "blocks", "my_reader:Blocks")
    assert table.columns == ("input", "target")
    assert [row.values["target"] for row in table.rows(table.columns)] == ["yes", "no"]
    with pytest.raises(UserError, match="blocks, block 1: expected lines like"):
        read_table(BytesIO(b"input without a colon"), "blocks", "my_reader:Blocks")


def test_the_tracker(tmp_path: Path):
    tracker = find("tracker", "my_tracker:open_lines", {}, "docs")(tmp_path, "mine", None)
    tracker.resume(tracker.begin("run", {}, {}, []))
    tracker.log({"fitness": -1.0}, step=2, timestamp_ms=0)
    tracker.finish("FINISHED")
    told = Path(tracker.location()).read_text().splitlines()
    assert told == ["begin run", "step 2: 1 metrics", "finish FINISHED"]


def test_the_backend():
    check_backend(find("backend", "my_backend:Echo", {}, "docs"), ModelConfig(name="echo"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_optimizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Through MLflow's own function: versions, scores, and the run below MLflow's."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/own.db")
    try:
        mine = find("example", "my_optimizer:optimized", {}, "docs")
        mlflow.set_experiment("moods")
        found = mine(calls=60)
        [own, told] = mlflow.search_runs(experiment_names=["moods"], output_format="list")
        [prompt] = found.optimized_prompts
        artifacts = {a.path for a in mlflow.MlflowClient().list_artifacts(own.info.run_id)}
    finally:
        mlflow.set_tracking_uri(None)  # else it stays in the environment, for all tests after
    assert (prompt.version, found.optimizer_name) == (2, "EvoPromptOptimizer")
    assert "{{text}}" in prompt.template
    assert "Mood: " in prompt.template
    assert found.initial_eval_score == 0.0 < found.final_eval_score
    assert found.final_eval_score_per_scorer == {"exact": found.final_eval_score}
    assert told.data.metrics["final_eval_score"] == found.final_eval_score
    assert own.data.tags["mlflow.parentRunId"] == told.info.run_id
    assert (own.data.tags["mlflow.runName"], own.info.status) == ("mood", "FINISHED")
    assert own.data.metrics["fitness/best"] > 0.5
    assert "run" in artifacts
