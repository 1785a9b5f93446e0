"""What a tracker is told of a loop: when it begins, of each round, when it is complete."""

from __future__ import annotations

from evoprompt.jobs.boost.build import check_boost
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.folder import RECURRENCE, BoostFolder
from evoprompt.jobs.boost.metrics import boost_description, recurrence_metrics
from evoprompt.jobs.boost.questions import Asked
from evoprompt.jobs.boost.record import RoundLine
from evoprompt.jobs.telling import tell_rest
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form
from evoprompt.tracking.base import KIND, About, Dataset, Ending, Point
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.names import digest, flat_parameters


def open_tracking(
    courier: Courier, folder: BoostFolder, config: BoostConfig, asked: Asked | None = None
) -> None:
    """Begin to tell of a loop, or go on with all that is committed and not told yet.

    Args:
        courier: tells it.
        folder: of the loop.
        config: of the loop.
        asked: None is read where it is needed, and nobody is waited for.
    """
    with in_form(folder.path / RECURRENCE):
        points = [point_of(line) for line in folder.rounds()]
    courier.open(
        folder,
        lambda: about(folder, config, asked or check_boost(config)[0]),
        points,
        once=asked is None,
    )


def sync(config: BoostConfig, folder: BoostFolder) -> Exception | None:
    """Tell the tracker all that it was not told of a loop; return why that was not possible, None
    where it knows all.
    """
    return tell_rest(
        config, folder, lambda courier: open_tracking(courier, folder, config), ending_of
    )


def about(folder: BoostFolder, config: BoostConfig, asked: Asked) -> About:
    """Return what a tracker is told when a loop begins."""
    task, questions = asked.task, asked.questions
    source = str(config.questions or (config.task and config.task.origin))
    datasets = [Dataset(config.name, digest(questions), source, "questions", len(questions))]
    if task is not None:
        datasets.append(Dataset(task.name, digest(task.test), source, "test", len(task.test)))
    tags = {
        KIND: "loop",
        "evoprompt.folder": str(folder.path),
        "evoprompt.boost": config.loop.buffer,
        "evoprompt.model": config.model.name,
    }
    parameters = flat_parameters(config.model_dump(mode="json"))
    return About(folder.path.name, parameters, tags, datasets)


def point_of(line: RoundLine) -> Point:
    """Return what a tracker is told of a round."""
    return Point(recurrence_metrics(line), line.round, line.time_ms)


def ending_of(folder: BoostFolder) -> Ending | None:
    """Return what a tracker is told of a complete loop, from its folder alone; None of another."""
    summary = folder.read(SUMMARY)
    if summary is None:
        return None
    prompt = summary["champion"]["prompt"]
    from evoprompt.jobs.boost.interactive import loop_pages

    pages = {f"figures/{name}": make for name, make in loop_pages(folder.rounds()).items()}
    return Ending(boost_description(summary), folder=folder.path, champion=prompt, pages=pages)
