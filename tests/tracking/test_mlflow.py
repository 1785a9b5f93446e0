"""MLflow: what is told, that telling again changes nothing, and how a run's end is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.tracking.base import Dataset
from evoprompt.tracking.mlflow import MlflowTracker
from evoprompt.tracking.names import flat_parameters
from evoprompt.tracking.stores import default_uri

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that exists: to make one takes seconds, to copy it does not."""
    folder = tmp_path_factory.mktemp("store")
    tracker = MlflowTracker(folder, "evoprompt")
    tracker.begin("x", {}, {}, [])
    tracker.finish("FINISHED")
    return folder


@pytest.fixture
def runs(store: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(store / "mlflow.db", folder)
    return folder


def client(runs: Path):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=default_uri(runs))


def tracked(config_file: Path, *overrides: str):
    return load_config(config_file, ["tracking.enabled=true", *overrides])


def test_a_run_is_told_whole(config_file: Path, runs: Path):
    summary = start(tracked(config_file), runs / "run")
    mlflow = client(runs)
    run = mlflow.get_run(summary["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["evolution.population"] == "4"
    assert run.data.tags["evoprompt.task"] == "mood"
    assert summary["champion"]["prompt"] in run.data.tags["mlflow.note.content"]
    assert {d.tags[0].value for d in run.inputs.dataset_inputs} == {"fitness", "validation", "test"}
    told = [generation_metrics(line) for line in EvolveFolder.open(runs / "run").generations()]
    for name in (
        "fitness/best",
        "fitness/mean",
        "tokens/total",
        "price/fitness/reproduction/selection",
        "price/fitness/transmission",
    ):
        history = mlflow.get_metric_history(run.info.run_id, name)
        expected = [metrics[name] for metrics in told if name in metrics]
        assert [m.value for m in sorted(history, key=lambda m: m.step)] == expected, name
    assert {
        "price/fitness/survival/selection",
        "price/num_demonstrations/residual",
        "test/champion",
    } <= set(run.data.metrics)
    artifacts = {a.path for a in mlflow.list_artifacts(run.info.run_id)} | {
        a.path for a in mlflow.list_artifacts(run.info.run_id, "run")
    }
    assert {"champion.txt", "run/lineage.jsonl", "run/report.html", "run/summary.json"} <= artifacts


def test_a_run_that_fails_is_failed_and_a_resumed_one_has_no_point_twice(
    config_file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    from evoprompt.backends.local import LocalExecutor

    score, calls = LocalExecutor.score, []

    def breaks_at_the_fourth(self, units, on_result):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the machine burns")
        return score(self, units, on_result)

    monkeypatch.setattr(LocalExecutor, "score", breaks_at_the_fourth)
    with pytest.raises(RuntimeError, match="burns"):
        start(tracked(config_file), runs / "run")
    run_id = json.loads((runs / "run" / "tracking.json").read_text())["run_id"]
    mlflow = client(runs)
    assert mlflow.get_run(run_id).info.status == "FAILED"
    summary = resume(runs / "run")
    assert summary["mlflow_run_id"] == run_id
    assert mlflow.get_run(run_id).info.status == "FINISHED"
    steps = [m.step for m in mlflow.get_metric_history(run_id, "fitness/best")]
    assert sorted(steps) == [0, 1, 2, 3, 4]


def test_an_interrupted_run_is_killed(
    config_file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    from evoprompt.backends.local import LocalExecutor

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(tracked(config_file), runs / "run")
    run_id = json.loads((runs / "run" / "tracking.json").read_text())["run_id"]
    assert client(runs).get_run(run_id).info.status == "KILLED"


def test_the_same_metrics_told_twice_are_one_point_and_values_that_are_not_finite_are_left_out(
    runs: Path,
):
    tracker = MlflowTracker(runs, "evoprompt")
    identity = tracker.begin(
        "twice", {"a": 1}, {"b": "c"}, [Dataset("d", "123", "here", "test", 3)]
    )
    for _ in range(2):
        tracker.log(
            {"fitness/best": 1.5, "bad": float("-inf"), "worse": float("nan")}, 3, 1_700_000_000_000
        )
    tracker.finish("FINISHED")
    run = client(runs).get_run(identity["run_id"])
    assert run.data.metrics == {"fitness/best": 1.5}
    assert len(client(runs).get_metric_history(identity["run_id"], "fitness/best")) == 1


def test_more_metrics_than_mlflow_takes_in_one_call_all_arrive(runs: Path):
    tracker = MlflowTracker(runs, "evoprompt")
    identity = tracker.begin("run", {}, {}, [])
    tracker.log({f"x/{i}": i for i in range(2300)}, 0, 1)
    tracker.finish("FINISHED")
    assert len(client(runs).get_run(identity["run_id"]).data.metrics) == 2300


def test_parameters_are_flat_and_metrics_are_grouped():
    assert flat_parameters({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_labels_of_any_characters_are_told(config_file: Path, runs: Path, tmp_path: Path):
    """Labels that differ in what a key cannot have, and more label words than a call takes."""
    labels = ["yes/no?", "yes/no!", "a:b//", "[bold] é", "👍\tx"]
    rows = [{"input": f"text {n}", "target": labels[n % 5], "choices": labels} for n in range(400)]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = {label: [f"w{n}"] for n, label in enumerate(labels)}
    overrides = [f"task.path={file}", f"task.label_words={json.dumps(words)}", "name=a/b c"]
    config = tracked(config_file, *overrides, "evolution.generations=1")
    summary = start(config, runs / "run")
    run = client(runs).get_run(summary["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    told = [k for k in run.data.params if k.startswith("task.label_words.")]
    assert len(told) == 5
    assert len({k for k in run.data.metrics if k.startswith("traits/")}) > 5


def test_more_parameters_than_a_call_takes_are_told(runs: Path):
    tracker = MlflowTracker(runs, "evoprompt")
    parameters = {f"label.{n}?": "x" * 7000 for n in range(230)}
    identity = tracker.begin("x" * 2000, parameters, {"evoprompt.task": "a\0"}, [])
    tracker.finish("FINISHED")
    run = client(runs).get_run(identity["run_id"])
    assert (run.info.status, len(run.data.params)) == ("FINISHED", 230)
    assert {len(value) for value in run.data.params.values()} == {6000}
