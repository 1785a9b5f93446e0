"""The configuration of a job -> who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from evoprompt.config.sections import JobConfig
from evoprompt.plugins import find
from evoprompt.tracking.base import NullTracker, Tracker
from evoprompt.tracking.courier import Courier

#: Every tracker of the package, each a function of the runs' folder, the experiment and the parent.
#: A new one is a file of this folder and a line here.
TRACKERS: Mapping[str, str] = {"mlflow": "evoprompt.tracking.mlflow:open_mlflow"}

#: (the runs' folder, the experiment, the run that this one is shown under) -> a tracker.
Opener = Callable[[Path, str, str | None], Tracker]


def opener_of(config: JobConfig) -> Opener:
    """Return what opens the tracker of a configuration; one that tells nobody where it is not
    enabled.

    Raises:
        UserError: there is no such tracker.
    """
    if not config.tracking.enabled:
        return lambda runs, experiment, parent: NullTracker()
    opener: Opener = find("tracker", config.tracking.tracker, TRACKERS, "tracking.tracker")
    return opener


def open_tracker(config: JobConfig, runs: Path, parent: str | None = None) -> Courier:
    """Return what tells MLflow of a job, if the configuration wants it told; its imports go on
    beside what follows.

    Args:
        config: of the job.
        runs: the folder that holds the MLflow store, where no other is set.
        parent: the MLflow run that this one is shown under.

    Raises:
        UserError: there is no such tracker.
    """
    return Courier(opener_of(config)(runs, config.tracking.experiment, parent))
