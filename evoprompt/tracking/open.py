"""The configuration of a job -> who is told of it."""

from __future__ import annotations

from pathlib import Path

from evoprompt.config.sections import JobConfig
from evoprompt.tracking.base import NullTracker, Tracker


def open_tracker(config: JobConfig, runs: Path, parent: str | None = None) -> Tracker:
    """Return what tells MLflow of a job, if the configuration wants it told; its imports go on
    beside what follows.

    Args:
        config: of the job.
        runs: the folder that holds the MLflow store, where no other is set.
        parent: the MLflow run that this one is shown under.
    """
    if not config.tracking.enabled:
        return NullTracker()
    from evoprompt.tracking.mlflow import MlflowTracker

    return MlflowTracker(runs, config.tracking.experiment, parent)
