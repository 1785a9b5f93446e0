"""`evoprompt compare`: read the runs, print the tables, write the page, tell MLflow."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from rich.console import Console

from evoprompt.dynamics.comparison import median
from evoprompt.jobs.compare.comparison import Comparison, Settings, compare_runs
from evoprompt.jobs.compare.page import write_comparison
from evoprompt.jobs.compare.runs import RunRecord
from evoprompt.jobs.compare.tables import (
    group_table,
    part_table,
    power_notes,
    test_table,
)
from evoprompt.masking import without_secrets
from evoprompt.report.table import to_markdown, to_rich
from evoprompt.store.folder import RunFolder
from evoprompt.store.names import folder_name
from evoprompt.terminal import new_console
from evoprompt.tracking.base import KIND, About, Ending, Point
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.mlflow import MlflowTracker
from evoprompt.tracking.stores import default_uri

NAME_CHARACTERS = 60
#: Comparisons have an experiment of their own, of this name after that of the runs: else their
#: bars would stand before the runs' curves.
COMPARISONS = "comparisons"
#: Seconds that MLflow has to take a comparison.
TELLING_SECONDS = 45.0


#: What MLflow calls the terms of Price's equation, as in runs.
NAMES = {
    "price/reproduction selection": "price_fitness/covariance_parents",
    "price/survival selection": "price_fitness/covariance_survival",
    "price/transmission": "price_fitness/transmission",
    "price/remeasurement": "price_fitness/remeasurement",
    "price/immigration": "price_fitness/immigration",
}


def compare(
    paths: Sequence[Path],
    settings: Settings,
    out: Path | None,
    *,
    mlflow: bool = True,
    console: Console | None = None,
) -> Path:
    """Compare runs; print the tables, write page and numbers into a new folder, record them in
    MLflow. Return the folder.

    Raises:
        UserError: as `compare_runs`, or `out` is in use.
    """
    console = console or new_console()
    comparison = compare_runs(paths, settings)
    records = [run.record for result in comparison.groups for run in result.runs]
    print_comparison(console, comparison)
    made = RunFolder.create(out, _name(comparison), _around(records) / "comparisons")
    made.ownership.leave()
    folder = made.path
    page = write_comparison(comparison, folder)
    console.print(f"page {page}", soft_wrap=True)
    if mlflow:
        console.print(_track(comparison, records, folder), soft_wrap=True)
    return folder


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the tables of a comparison, its warnings first."""
    for warning in comparison.warnings:
        console.print(f"note: {warning}", soft_wrap=True)
    console.print(to_rich(group_table(comparison), padding=1))
    if comparison.tests:
        console.print(to_rich(test_table(comparison), padding=1))
    for note in power_notes(comparison):
        console.print(note)
    parts = part_table(comparison)
    if parts.rows:
        console.print(to_rich(parts, padding=1))


def comparison_metrics(comparison: Comparison) -> dict[str, float]:
    """Return the groups' means as `quantity/group`, so that the MLflow UI draws the groups side by
    side.
    """
    metrics: dict[str, float] = {}
    slugs = _slugs([result.group.name for result in comparison.groups])
    for result, slug in zip(comparison.groups, slugs, strict=True):
        for name, estimate in result.estimates.items():
            metrics[f"{NAMES.get(name, name.replace(' ', '_'))}/{slug}"] = estimate.value
        times = [run.values["time_to_target"] for run in result.runs]
        metrics[f"reached_target/{slug}"] = sum(map(isfinite, times)) / len(times)
        middle = median(times)
        metrics |= {} if middle is None else {f"time_to_target/{slug}": middle}
    return metrics


def comparison_description(comparison: Comparison) -> str:
    """Return the tables of a comparison in Markdown, with what so few replicates can show."""
    tested = [test_table(comparison), part_table(comparison)] if comparison.tests else []
    tables = [to_markdown(table) for table in (group_table(comparison), *tested)]
    return "\n\n".join([*tables[:2], *power_notes(comparison), *tables[2:]])


def _track(comparison: Comparison, records: Sequence[RunRecord], folder: Path) -> str:
    """Record the comparison beside its runs in MLflow; return where, or why not."""
    tracked = [r for r in records if "tracking_uri" in (r.mlflow or {})]
    if not tracked:
        return "MLflow: not recorded, since none of the runs was tracked there"
    uri = str((tracked[0].mlflow or {})["tracking_uri"])
    home = (
        Path(uri.removeprefix("sqlite:///")).parent
        if uri.startswith("sqlite:///")
        else _around(tracked)
    )
    if without_secrets(default_uri(home)) != uri:
        return (
            "MLflow: not recorded, since the runs are in another store; set "
            f"MLFLOW_TRACKING_URI={uri}"
        )
    experiment = f"{tracked[0].config['tracking.experiment']} {COMPARISONS}"
    courier = Courier(MlflowTracker(home, experiment, dashboards=()))
    tags = {
        KIND: "comparison",
        "evoprompt.folder": str(folder),
        "evoprompt.compared_runs": " ".join((r.mlflow or {})["run_id"] for r in tracked),
        "evoprompt.compared_folders": " ".join(str(r.folder) for r in records),
    }
    about = About(f"comparison {folder.name}", _parameters(comparison), tags)
    courier.open(None, lambda: about)
    point = Point(comparison_metrics(comparison), 0, int(time.time() * 1000))
    ending = Ending(comparison_description(comparison), point, folder)
    reason = courier.finish("FINISHED", ending, TELLING_SECONDS)
    if reason is not None:
        return f"MLflow: not recorded in whole ({reason})"
    return f"MLflow {courier.location()}"


def _parameters(comparison: Comparison) -> dict[str, object]:
    settings = comparison.settings
    return {
        "by": " ".join(comparison.keys),
        "align": settings.align,
        "trait": settings.trait,
        "target": settings.target,
        "baseline": settings.baseline,
    }


def _name(comparison: Comparison) -> str:
    """Return a name for the folder: what the groups differ in."""
    keys = (
        "+".join(key.rpartition(".")[2] for key in comparison.keys)
        if len(comparison.groups) > 1
        else ""
    )
    return folder_name(f"by-{keys}"[:NAME_CHARACTERS]) if keys else "replicates"


def _around(records: Sequence[RunRecord]) -> Path:
    """Return the folder around the runs, or that around the first where they are apart."""
    return records[0].folder.parent


def _slugs(names: Sequence[str]) -> list[str]:
    """Return a text for each name that may stand in a metric's; numbered where others have it."""
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"[^\w.+-]+", "-", name).strip("-") or "group"
        slugs.append(slug if slug not in slugs else f"{slug}-{len(slugs) + 1}")
    return slugs
