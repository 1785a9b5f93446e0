"""What a result depends on is compared when a run is gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.provenance import differences
from evoprompt.store.folder import CHECKPOINT, SUMMARY

pytestmark = pytest.mark.usefixtures("no_pages")


def provenance(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())


@pytest.fixture(scope="module")
def made(shared_config: Path) -> Path:
    made = shared_config.with_name("run")
    start(load_config(shared_config, ["evolution.generations=1"]), made)
    (made / SUMMARY).unlink()
    return made


@pytest.fixture
def unfinished(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "run")


def test_what_differs_is_named_with_both_values_and_what_is_free_is_not():
    before = {
        "source": "a",
        "config": {"seed": 1, "workers": {"count": 1}, "task": {"path": "x"}},
        "packages": {"torch": "2.9"},
        "machine": {"cpus": 2},
    }
    now = {
        "source": "b",
        "config": {"seed": 2, "workers": {"count": 3}, "task": {"path": "y"}},
        "packages": {"torch": "2.10"},
        "machine": {"cpus": 4},
        "files": {"task.path": {"sha256": "0"}},  # not recorded then, so not compared
    }
    assert differences(before, before) == {}
    assert differences(before, now) == {
        "source": ("a", "b"),
        "config.seed": (1, 2),
        "packages.torch": ("2.9", "2.10"),
    }


def test_other_data_are_refused_by_name_and_accepted_only_on_request(
    config_file: Path, task_file: Path, tmp_path: Path
):
    own, run = tmp_path / "own.jsonl", tmp_path / "run"
    own.write_text(task_file.read_text())
    start(load_config(config_file, ["evolution.generations=1", f"task.path={own}"]), run)
    (run / SUMMARY).unlink()
    before = (run / CHECKPOINT).read_bytes()
    own.write_text(own.read_text().replace("film", "movie"))
    with pytest.raises(UserError, match="the fitness examples are others.*task.path has"):
        resume(run)
    assert (run / CHECKPOINT).read_bytes() == before
    resume(run, accept_changes=True)
    [change] = provenance(run)["changes"]
    assert "files.task.path.sha256" in change["what"]
    assert "data.splits.test.sha256" in change["what"]


def test_an_edited_configuration_is_named(unfinished: Path):
    config = unfinished / "config.yaml"
    config.write_text(config.read_text().replace("children: ", "children: 1"))
    with pytest.raises(UserError, match=r"config\.evolution\.children was"):
        resume(unfinished)


def test_more_generations_and_other_workers_are_set_and_recorded(unfinished: Path):
    lineage = (unfinished / "lineage.jsonl").read_bytes()
    with pytest.raises(UserError, match="'seed' would make it another run"):
        resume(unfinished, ["seed=3"])
    assert "changes" not in provenance(unfinished)
    summary = resume(unfinished, ["evolution.generations=2", "workers.max_restarts=5"])
    assert summary["generations"] == 2
    [change] = provenance(unfinished)["changes"]
    assert change["what"] == {
        "config.evolution.generations": [1, 2],
        "config.workers.max_restarts": [3, 5],
    }
    assert (unfinished / "lineage.jsonl").read_bytes().startswith(lineage)
    assert "max_restarts: 5" in (unfinished / "config.yaml").read_text()


def test_another_way_of_scoring_is_named_once_the_model_is_loaded(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
):
    """A pass of 32 tokens for one of 256, and two threads for one, move the last bits of scores."""
    before = (unfinished / CHECKPOINT).read_bytes()
    kept = provenance(unfinished)["scoring"]
    assert (kept["chunk_tokens"], kept["path"], kept["threads"]) == (256, "packed", 1)
    own_info = LocalExecutor.info
    monkeypatch.setattr(LocalExecutor, "info", lambda self: replace(own_info(self), path="plain"))
    with pytest.raises(UserError, match=r"scoring\.path was 'packed' and is 'plain'"):
        resume(unfinished)
    with pytest.raises(UserError, match=r"workers\.threads' would make it another run"):
        resume(unfinished, ["workers.threads=2"])
    config = unfinished / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  threads: 1\n", "  threads: 2\n"))
    with pytest.raises(UserError, match=r"scoring\.threads was 1 and is 2"):
        resume(unfinished)
    config.write_text(text)
    assert (unfinished / CHECKPOINT).read_bytes() == before
    resume(unfinished, accept_changes=True)
    assert provenance(unfinished)["scoring"]["path"] == "plain"
    assert provenance(unfinished)["changes"][-1]["what"] == {"scoring.path": ["packed", "plain"]}


def test_a_budget_that_was_edited_by_hand_is_named(unfinished: Path):
    config = unfinished / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  prefill_tokens: null\n", "  prefill_tokens: 99999\n"))
    assert config.read_text() != text
    with pytest.raises(UserError, match=r"config\.budget\.prefill_tokens was None and is 99999"):
        resume(unfinished)
    resume(unfinished, ["budget.prefill_tokens=99999"])  # as if a kill had come before its record
    [change] = provenance(unfinished)["changes"]
    assert change["what"] == {"config.budget.prefill_tokens": [None, 99999]}


def test_a_run_that_was_killed_before_its_first_generation_begins_with_what_is_there(
    unfinished: Path,
):
    """Nothing was measured, so nothing depends on what it was begun with."""
    for file in unfinished.iterdir():
        if file.name != "config.yaml":
            file.unlink()
    assert resume(unfinished)["generations"] == 1
    assert provenance(unfinished)["config"]["evolution"]["generations"] == 1
    assert "changes" not in provenance(unfinished)


def test_lost_provenance_of_a_generation_is_refused(unfinished: Path):
    (unfinished / "provenance.json").unlink()
    with pytest.raises(UserError, match=r"provenance\.json is missing.*--accept-changes"):
        resume(unfinished)
    resume(unfinished, accept_changes=True)
    assert provenance(unfinished)["config"]


def test_a_set_that_is_refused_changes_no_file(unfinished: Path):
    before = {file.name: file.read_bytes() for file in unfinished.iterdir()}
    config = unfinished / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("children: ", "children: 1"))
    before["config.yaml"] = config.read_bytes()
    with pytest.raises(UserError, match=r"config\.evolution\.children was"):
        resume(unfinished, ["evolution.generations=3"])
    assert {file.name: file.read_bytes() for file in unfinished.iterdir()} == before
