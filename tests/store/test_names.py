"""A run's name becomes one folder below the others, whatever it is."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.page import write_lineage_page
from evoprompt.store.folder import RunFolder
from evoprompt.store.names import MAX_BYTES, folder_name


@pytest.mark.parametrize("name", ["quickstart", "my_run-2", "v1.2+x", "größe", "灯", "Café", "_x"])
def test_ordinary_names_stay(name: str):
    assert folder_name(name) == name


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("sst2/smol lm v1", "sst2-smol-lm-v1"),
        ("../../x", "x"),
        ("..", "run"),
        ("", "run"),
        ("/etc/passwd", "etc-passwd"),
        ("a\0b\nc\\d:e", "a-b-c-d-e"),
        (".hidden", "hidden"),
        ("--help", "help"),
        ("dots...", "dots"),
        ("con", "run-con"),
        ("NUL.txt", "run-NUL.txt"),
        ("console", "console"),
        ("👍🔥", "run"),
        ("\x1b[31m\u202ex\ud800", "31m-x"),
        ("cafe\u0301", "café"),
        ("x" * 300, "x" * 120),
        ("é" * 300, "é" * 60),
        ("[bold]", "bold"),
    ],
)
def test_other_names_are_cleaned(name: str, folder: str):
    assert folder_name(name) == folder


def test_any_name_is_one_folder_in_its_place(tmp_path: Path):
    rng = random.Random(7)
    letters = "ab./\\-_ ~*?:\0\n\r\x1b\ud800é灯👍[]%$"
    runs = tmp_path / "runs"
    for _ in range(300):
        name = "".join(rng.choices(letters, k=rng.randrange(12)))
        folder = RunFolder.create(None, name, runs).path
        assert folder.parent == runs.resolve()
        assert folder.is_dir()
        assert len(folder.name.encode()) <= MAX_BYTES + 5
    assert len(list(runs.iterdir())) == 300
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_a_path_that_cannot_be_is_refused(tmp_path: Path):
    for out in (tmp_path / "a\0b", tmp_path / ("x" * 300), tmp_path / "file" / "x"):
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot make the output folder"):
            RunFolder.create(out, "x")


@pytest.mark.parametrize("name", ["lineage.jsonl", ".checkpoint.json.new", "report.html", "sub"])
def test_a_received_folder_leads_nowhere_else(tmp_path: Path, name: str):
    """Power twin: without the link the same folder is opened."""
    target = tmp_path / "target"
    target.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("task: {name: inbox}")
    assert RunFolder.open(run).path == run
    (run / name).symlink_to(target)
    with pytest.raises(UserError, match=f"{name} is a link"):
        RunFolder.open(run)
    assert target.read_text() == "mine"


def test_the_page_of_a_lineage_is_not_written_through_a_link(tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("mine")
    birth = {
        "generation": 0,
        "birth_id": "a",
        "policy_id": "a",
        "parent_ids": [],
        "shares": [],
        "operator": "found",
        "selected": True,
        "fitness": 1.0,
        "traits": {"fitness": 1.0},
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lineage.jsonl").write_text(json.dumps(birth) + "\n")
    (tmp_path / "run" / "report.html").symlink_to(target)
    with pytest.raises(UserError, match="is a link"):
        write_lineage_page(tmp_path / "run")
    assert target.read_text() == "mine"
