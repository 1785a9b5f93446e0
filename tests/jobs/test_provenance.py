"""What a result depends on is compared when a run is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.provenance import differences
from evoprompt.store.folder import CHECKPOINT, SUMMARY


def provenance(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())


@pytest.fixture
def unfinished(config_file: Path, tmp_path: Path) -> Path:
    start(load_config(config_file, ["evolution.generations=1"]), tmp_path / "run")
    (tmp_path / "run" / SUMMARY).unlink()
    return tmp_path / "run"


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
    unfinished: Path, config_file: Path
):
    before = (unfinished / CHECKPOINT).read_bytes()
    path = Path(provenance(unfinished)["files"]["task.path"]["path"])
    path.write_text(path.read_text().replace("film", "movie"))
    with pytest.raises(UserError, match=r"files\.task\.path\.sha256 was .* and is"):
        resume(unfinished)
    assert (unfinished / CHECKPOINT).read_bytes() == before
    resume(unfinished, accept_changes=True)
    [change] = provenance(unfinished)["changes"]
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
