"""What every job begins and ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs import base


class Plain:
    """A job that only goes on as it was begun."""

    def resume(self, folder: Path) -> int:
        return 3


class Full:
    """A job that takes other settings."""

    def resume(self, folder: Path, overrides=(), *, accept_changes: bool = False) -> int:
        return len(overrides) + 10 * accept_changes


def test_a_job_that_takes_no_settings_is_gone_on_with_and_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(base, "job_of", lambda folder: Plain())
    assert base.resume_folder(tmp_path, [], accept_changes=False) == 3
    for overrides, accept in ((["workers.count=2"], False), ([], True)):
        with pytest.raises(UserError, match="goes on as it was begun"):
            base.resume_folder(tmp_path, overrides, accept_changes=accept)
    monkeypatch.setattr(base, "job_of", lambda folder: Full())
    assert base.resume_folder(tmp_path, ["a=1", "b=2"], accept_changes=True) == 12
