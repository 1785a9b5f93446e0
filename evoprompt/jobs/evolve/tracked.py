"""What a tracker is told of a run when it begins, or goes on."""

from __future__ import annotations

from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.store.folder import TRACKING
from evoprompt.tasks.base import Task
from evoprompt.tracking.base import Dataset, Tracker
from evoprompt.tracking.names import digest, flat_parameters


def open_tracking(tracker: Tracker, folder: EvolveFolder, config: Config, task: Task) -> None:
    """Open the run, or open it again and tell the last committed generation once more: it may not
    have arrived.
    """
    identity = folder.read(TRACKING)
    if identity:
        tracker.resume(identity)
        for line in folder.generations()[-1:]:
            tracker.log(generation_metrics(line), line.generation, line.time_ms)
        return
    parameters = flat_parameters(config.model_dump(mode="json"))
    tags = {
        "evoprompt.folder": str(folder.path),
        "evoprompt.task": task.name,
        "evoprompt.model": config.model.name,
    }
    name = folder.path.name
    folder.write(TRACKING, tracker.begin(name, parameters, tags, datasets_of(task, config)))


def datasets_of(task: Task, config: Config) -> list[Dataset]:
    """Return what is told of the splits that are measured."""
    splits = (("fitness", task.fitness), ("validation", task.validation), ("test", task.test))
    source = config.task.origin
    return [
        Dataset(task.name, digest(examples), source, split, len(examples))
        for split, examples in splits
    ]
