"""What a tracker is told of a measurement by number of demonstrations: when it begins, and when it
is complete, a step for each number.
"""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.shots.analysis import Curve, curves_of
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.folder import ShotsFolder
from evoprompt.jobs.shots.tables import name_of, settings_table
from evoprompt.jobs.telling import tell_rest
from evoprompt.report.table import to_markdown
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form
from evoprompt.tracking.base import KIND, About, Ending, Point
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.names import flat_parameters


def open_tracking(courier: Courier, folder: ShotsFolder, config: ShotsConfig) -> None:
    """Begin to tell of a measurement, or go on; nobody is waited for where it is complete."""
    done = folder.is_complete
    with in_form(folder.path):
        points = points_of(folder) if done else []
    courier.open(folder, lambda: about(folder, config), points, once=done)


def sync(config: ShotsConfig, folder: ShotsFolder) -> Exception | None:
    """Tell the tracker all that it was not told; return why that was not possible, None where it
    knows all.
    """
    return tell_rest(
        config, folder, lambda courier: open_tracking(courier, folder, config), ending_of
    )


def about(folder: ShotsFolder, config: ShotsConfig) -> About:
    """Return what a tracker is told when it begins."""
    models = ", ".join(each.model.name for each in config.by_model)
    tasks = ", ".join(task.title for task in config.all_tasks)
    tags = {
        KIND: "shots",
        "evoprompt.folder": str(folder.path),
        "evoprompt.model": models,
        "evoprompt.task": tasks,
    }
    return About(folder.path.name, flat_parameters(config.model_dump(mode="json")), tags)


def points_of(folder: ShotsFolder) -> list[Point]:
    """Return the metrics of a complete measurement; the step is the number of demonstrations."""
    summary, curves = folder.read(SUMMARY), curves_of(folder.cells())
    numbers = sorted({point.number for curve in curves for point in curve.points})
    return [Point(metrics_of(curves, number), number, summary["time_ms"]) for number in numbers]


def metrics_of(curves: Sequence[Curve], number: int) -> dict[str, float]:
    """Return the metrics of a number of demonstrations: for each quantity a group, and in it each
    task, model and context.
    """
    return {
        f"{name}/{curve.task} {name_of(curve.model)} {curve.context}": mean.value
        for curve in curves
        for point in curve.points
        if point.number == number
        for name, mean in point.means.items()
    }


def ending_of(folder: ShotsFolder) -> Ending | None:
    """Return what a tracker is told of a complete measurement; None of another."""
    summary = folder.read(SUMMARY)
    if summary is None:
        return None
    notes = "".join(f"- {note}\n" for note in summary["notes"])
    table = to_markdown(settings_table(curves_of(folder.cells())))
    return Ending(f"{table}\n\n{notes}", folder=folder.path)
