"""How a command ended says whose matter it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from evoprompt.exits import exit_status


def fail(error: BaseException) -> None:
    raise error


def test_a_name_that_no_file_can_have_is_the_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for path, reason in ((tmp_path / ("x" * 5000), "too long"), (tmp_path / "a", "symbolic links")):
        assert exit_status(lambda path=path: os.stat(path) and None) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert "give another one" in said
        assert len(said) < 500


def test_a_full_disk_and_a_refusal_are_the_machines(capsys: pytest.CaptureFixture[str]):
    for number, said in ((errno.ENOSPC, "the disk is full"), (errno.EACCES, "machine refuses")):
        assert exit_status(lambda n=number: fail(OSError(n, os.strerror(n), "x"))) == 1
        assert said in capsys.readouterr().err


def test_an_interrupt_that_became_another_error_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Power twin: without a signal the same error is the program's own, and shown whole."""
    assert exit_status(lambda: fail(TypeError("incompatible function arguments"))) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr("evoprompt.interrupt._interrupted", True)
    assert exit_status(lambda: fail(TypeError("incompatible function arguments"))) == 130
    assert not capsys.readouterr().err
