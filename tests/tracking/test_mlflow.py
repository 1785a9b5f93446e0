"""MLflow: what is told, that telling again changes nothing, and how a run's end is recorded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from toys.stores import nobody

from evoprompt.commands import show_sync
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.evolve.tracked import ending_of
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
        "cost/tokens",
        "price_fitness/covariance_parents",
        "price_fitness/transmission",
    ):
        history = mlflow.get_metric_history(run.info.run_id, name)
        expected = [metrics[name] for metrics in told if name in metrics]
        assert [m.value for m in sorted(history, key=lambda m: m.step)] == expected, name
    assert {
        "price_fitness/covariance_survival",
        "price_accuracy/change",
        "test/champion",
    } <= set(run.data.metrics)
    artifacts = {a.path for a in mlflow.list_artifacts(run.info.run_id)} | {
        a.path for a in mlflow.list_artifacts(run.info.run_id, "run")
    }
    assert {"champion.txt", "run/lineage.jsonl", "run/report.html", "run/summary.json"} <= artifacts
    figures = {Path(a.path).name for a in mlflow.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"price.html", "descent.html", "operators.html", "pareto.html", "map.html"}
    births = EvolveFolder.open(runs / "run").lines("lineage.jsonl")
    assert sorted(told_births(runs, run.info.run_id)) == sorted(b["birth_id"] for b in births)
    assert "population.json" in run.data.tags["mlflow.loggedArtifacts"]  # shown as a table


def test_the_champion_is_a_version_of_the_runs_prompt(config_file: Path, runs: Path):
    summary = start(tracked(config_file, "evolution.generations=1"), runs / "run")
    mlflow, run_id = client(runs), summary["mlflow_run_id"]
    prompt = mlflow.load_prompt("prompts:/tiny@champion")
    assert prompt.format(input="a {film}") == summary["champion"]["prompt"].replace(
        "{input}", "a {film}"
    )
    check = summary["test"]
    assert prompt.tags["evoprompt.champion_accuracy"] == f"{check['champion']['value']:.4g}"
    low, high = check["difference"]["ci"]
    assert prompt.tags["evoprompt.difference_accuracy_interval"] == f"{low:.4g} to {high:.4g}"
    assert prompt.model_config["model_name"] == summary["model"]["name"]
    assert [p.version for p in mlflow.list_logged_prompts(run_id)] == [1]
    # told again, it stays one version; another run's is the next, and has the alias
    tracker = MlflowTracker(runs, "evoprompt")
    tracker.resume({"run_id": run_id})
    folder = EvolveFolder.open(runs / "run")
    tracker.register(ending_of(folder, "brief").prompt)
    assert mlflow.load_prompt("prompts:/tiny@champion").version == 1
    tracker.begin("x", {}, {}, [])
    tracker.register(ending_of(folder, "brief").prompt)
    assert mlflow.load_prompt("prompts:/tiny@champion", cache_ttl_seconds=0).version == 2


def test_a_store_that_takes_no_prompt_loses_nothing(config_file: Path, runs: Path, caplog):
    client(runs).create_registered_model("tiny")
    summary = start(tracked(config_file, "evolution.generations=1"), runs / "run")
    assert client(runs).get_run(summary["mlflow_run_id"]).info.status == "FINISHED"
    assert "a model has the name 'tiny'" in caplog.text
    assert EvolveFolder.open(runs / "run").read("tracking.json")["ended"] == "FINISHED"


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
    config = tracked(config_file, *overrides, "evolution.generations=1", "tracking.detail=full")
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


def told_births(runs: Path, run_id: str) -> list[str]:
    """The births in the table of the population."""
    table = json.loads(Path(client(runs).download_artifacts(run_id, "population.json")).read_text())
    place = table["columns"].index("birth")
    return [row[place] for row in table["data"]]


def points(runs: Path, run_id: str, name: str = "fitness/best") -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client(runs).get_metric_history(run_id, name))


def test_a_run_whose_store_was_away_is_told_whole_by_sync_and_twice_is_once(
    config_file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody())
    start(tracked(config_file), runs / "run")
    assert f"evoprompt sync {runs / 'run'}" in caplog.text
    with pytest.raises(UserError, match=r"is complete.*MLflow was not told everything.*sync"):
        resume(runs / "run")
    assert show_sync(runs / "run") == 1
    assert "refuses connections" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    for _ in range(2):
        assert show_sync(runs / "run") == 0
        assert "MLflow has all of it" in capsys.readouterr().out
        # as if a kill had come between what was told and the note of it
        folder = EvolveFolder.open(runs / "run")
        known = folder.read("tracking.json")
        folder.write("tracking.json", {**known, "told": 1, "ended": ""})
    told = [(line.generation, generation_metrics(line)["fitness/best"]) for line in
            folder.generations()]  # fmt: skip
    assert points(runs, known["run_id"]) == told
    births = told_births(runs, known["run_id"])
    assert len(births) == len(set(births)) > 4  # told twice, there once
    assert [step for step, _ in points(runs, known["run_id"], "test/champion")] == [4]
    run = client(runs).get_run(known["run_id"])
    assert run.info.status == "FINISHED"
    assert folder.summary().champion.prompt in run.data.tags["mlflow.note.content"]
    assert len(run.inputs.dataset_inputs) == 3
    assert "summary.json" in {Path(a.path).name for a in
                              client(runs).list_artifacts(known["run_id"], "run")}  # fmt: skip
    assert len(client(runs).search_runs([run.info.experiment_id], "params.seed = '0'")) == 1


def test_no_secret_is_shown_or_kept(
    config_file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capfd, caplog
):
    for secret in ("http://ann:s3cretWord@{}", "http://{}/x?access_token=s3cretWord"):
        address = secret.format(nobody().removeprefix("http://"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        out = runs / f"run{len(address)}"
        start(tracked(config_file, "evolution.generations=1"), out)
        with pytest.raises(UserError):
            resume(out)
        assert show_sync(out) == 1
        for file in runs.rglob("*"):
            assert not file.is_file() or b"s3cretWord" not in file.read_bytes(), file
        assert "***" in (out / "tracking.json").read_text()
    shown = capfd.readouterr()
    assert "s3cretWord" not in shown.out + shown.err + caplog.text
    assert "***" in caplog.text


def test_a_run_goes_on_where_its_folder_of_runs_was_moved_to(
    config_file: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    start(tracked(config_file, "tracking.experiment=own"), runs / "run")
    known = json.loads((runs / "run" / "tracking.json").read_text())
    (runs / "run" / "summary.json").unlink()  # as it is before the end
    moved = runs.rename(tmp_path / "elsewhere")
    resume(moved / "run")
    assert [step for step, _ in points(moved, known["run_id"])] == [0, 1, 2, 3, 4]
    assert client(moved).get_run(known["run_id"]).info.status == "FINISHED"
    assert f"below {runs}, which is no more" in caplog.text
    assert not runs.exists()  # nothing is made where the runs were


def test_a_run_goes_on_without_a_store_that_is_gone_or_has_lost_it(
    config_file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    start(tracked(config_file), runs / "run")
    known = json.loads((runs / "run" / "tracking.json").read_text())
    (runs / "run" / "summary.json").unlink()
    client(runs).delete_run(known["run_id"])
    resume(runs / "run")
    assert f"mlflow runs restore --run-id {known['run_id']}" in caplog.text
    caplog.clear()
    (runs / "run" / "summary.json").unlink()
    (runs / "mlflow.db").unlink()
    resume(runs / "run")
    assert "is gone" in caplog.text
    assert not (runs / "mlflow.db").exists()


def test_who_has_no_name_on_this_machine_is_told_by_number(runs: Path, monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    identity = MlflowTracker(runs, "evoprompt").begin("x", {}, {}, [])
    assert client(runs).get_run(identity["run_id"]).data.tags["mlflow.user"] == str(os.getuid())
