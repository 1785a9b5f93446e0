"""Who is told of a job: found by name, nobody where tracking is off, and refused before anything
starts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs.boost.build import check_boost
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.tracking.base import NullTracker
from evoprompt.tracking.open import TRACKERS, open_tracker

ON = "tracking.enabled=true"


class Listener(NullTracker):
    """Keeps what it is told."""

    def __init__(self, *opened: object) -> None:
        self.opened, self.steps, self.ended = opened, [], None

    def log(self, metrics, step, timestamp_ms):
        self.steps.append(step)

    def finish(self, status, folder=None, champion=None):
        self.ended = status


def test_nobody_is_told_where_tracking_is_off_whatever_its_tracker(config_file: Path):
    config = load_config(config_file, ["tracking.tracker=nobody"])
    assert open_tracker(config, config_file.parent).location() == NullTracker().location()


def test_a_new_tracker_takes_a_line_and_is_told_of_a_run(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[Listener] = []
    opener = lambda *given: made.append(Listener(*given)) or made[-1]  # noqa: E731
    monkeypatch.setitem(TRACKERS, "listener", opener)
    start(load_config(config_file, [ON, "tracking.tracker=listener"]), tmp_path / "run")
    [tracker] = made
    assert tracker.opened == (tmp_path, "evoprompt", None)
    assert tracker.steps == [0, 1, 2, 3, 4, 4]  # each generation, and the summary at the last
    assert tracker.ended == "FINISHED"


def test_an_unknown_tracker_is_refused_before_anything_is_written(
    config_file: Path, boost_file: Path, tmp_path: Path
):
    message = "tracking.tracker has no tracker 'mlfow'; did you mean 'mlflow'"
    with pytest.raises(UserError, match=message):
        start(load_config(config_file, [ON, "tracking.tracker=mlfow"]), tmp_path / "run")
    with pytest.raises(UserError, match=message):
        check_boost(load_boost(boost_file, [ON, "tracking.tracker=mlfow"]))
    assert not (tmp_path / "run").exists()
