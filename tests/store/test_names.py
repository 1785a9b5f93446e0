"""A run's name becomes one folder below the others, whatever it is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evoprompt.errors import UserError
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
