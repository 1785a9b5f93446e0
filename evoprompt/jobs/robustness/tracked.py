"""What a tracker is told of a measurement under changes: when it begins, and when it ends."""

from __future__ import annotations

from evoprompt.jobs.robustness.analysis import findings_of, metrics_of
from evoprompt.jobs.robustness.config import RobustnessConfig
from evoprompt.jobs.robustness.folder import RobustnessFolder
from evoprompt.jobs.robustness.tables import effect_table, persistence_table
from evoprompt.jobs.telling import tell_rest
from evoprompt.report.table import to_markdown
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form
from evoprompt.tracking.base import KIND, About, Ending, Point
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.names import flat_parameters


def open_tracking(courier: Courier, folder: RobustnessFolder, config: RobustnessConfig) -> None:
    """Begin to tell of a measurement, or go on; nobody is waited for where it is complete."""
    done = folder.is_complete
    with in_form(folder.path):
        points = points_of(folder) if done else []
    courier.open(folder, lambda: about(folder, config), points, once=done)


def sync(config: RobustnessConfig, folder: RobustnessFolder) -> Exception | None:
    """Tell the tracker all that it was not told; return why that was not possible, None where it
    knows all.
    """
    return tell_rest(
        config, folder, lambda courier: open_tracking(courier, folder, config), ending_of
    )


def about(folder: RobustnessFolder, config: RobustnessConfig) -> About:
    """Return what a tracker is told when it begins."""
    tags = {
        KIND: "robustness",
        "evoprompt.folder": str(folder.path),
        "evoprompt.model": config.model.name,
        "evoprompt.task": config.task.title if config.task is not None else "",
    }
    return About(folder.path.name, flat_parameters(config.model_dump(mode="json")), tags)


def points_of(folder: RobustnessFolder) -> list[Point]:
    """Return the metrics of a complete measurement."""
    findings = findings_of(folder.cells(), folder.config().seed)
    return [Point(metrics_of(findings), 0, folder.read(SUMMARY)["time_ms"])]


def ending_of(folder: RobustnessFolder) -> Ending | None:
    """Return what a tracker is told of a complete measurement; None of another."""
    summary = folder.read(SUMMARY)
    if summary is None:
        return None
    findings = findings_of(folder.cells(), folder.config().seed)
    tables = [to_markdown(effect_table(findings, whole=True))]
    if findings.persistence:
        tables.append(to_markdown(persistence_table(findings.persistence)))
    notes = "".join(f"- {note}\n" for note in summary["notes"])
    return Ending("\n\n".join([*tables, notes]), folder=folder.path)
