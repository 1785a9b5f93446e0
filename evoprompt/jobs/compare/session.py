"""`evoprompt compare`: read the runs, print the tables, write the page, tell MLflow."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evoprompt.dynamics.comparison import median
from evoprompt.jobs.compare.comparison import Comparison, Settings, compare_runs
from evoprompt.jobs.compare.page import write_comparison
from evoprompt.jobs.compare.runs import RunRecord
from evoprompt.jobs.compare.tables import (
    TextTable,
    group_table,
    part_table,
    power_notes,
    test_table,
)
from evoprompt.store.folder import RunFolder
from evoprompt.tracking.mlflow import MlflowTracker, default_uri

NAME_CHARACTERS = 60


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
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    comparison = compare_runs(paths, settings)
    records = [run.record for result in comparison.groups for run in result.runs]
    print_comparison(console, comparison)
    folder = RunFolder.create(out, _name(comparison), _around(records) / "comparisons").path
    page = write_comparison(comparison, folder)
    console.print(Text(f"page {page}"), soft_wrap=True)
    if mlflow:
        console.print(Text(_track(comparison, records, folder)), soft_wrap=True)
    return folder


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the tables of a comparison, its warnings first."""
    for warning in comparison.warnings:
        console.print(Text(f"note: {warning}"), soft_wrap=True)
    console.print(_rich(group_table(comparison)))
    if comparison.tests:
        console.print(_rich(test_table(comparison)))
    for note in power_notes(comparison):
        console.print(Text(note))
    parts = part_table(comparison)
    if parts.rows:
        console.print(_rich(parts))


def comparison_metrics(comparison: Comparison) -> dict[str, float]:
    """Return the groups' means as `quantity/group`, so that the MLflow UI draws the groups side by
    side.
    """
    metrics: dict[str, float] = {}
    for result in comparison.groups:
        slug = _slug(result.group.name)
        for name, estimate in result.estimates.items():
            metrics[f"{name}/{slug}"] = estimate.value
        times = [run.values["time_to_target"] for run in result.runs]
        metrics[f"reached_target/{slug}"] = sum(map(isfinite, times)) / len(times)
        middle = median(times)
        metrics |= {} if middle is None else {f"time_to_target/{slug}": middle}
    return metrics


def _track(comparison: Comparison, records: Sequence[RunRecord], folder: Path) -> str:
    """Record the comparison beside its runs in MLflow; return where, or why not."""
    tracked = [r for r in records if r.mlflow]
    if not tracked:
        return "MLflow: not recorded, since none of the runs was tracked"
    uri = str((tracked[0].mlflow or {})["tracking_uri"])
    home = (
        Path(uri.removeprefix("sqlite:///")).parent
        if uri.startswith("sqlite:///")
        else _around(tracked)
    )
    if default_uri(home) != uri:
        return (
            "MLflow: not recorded, since the runs are in another store; set "
            f"MLFLOW_TRACKING_URI={uri}"
        )
    settings = comparison.settings
    tracker = MlflowTracker(home, str(tracked[0].config["tracking.experiment"]))
    tags = {
        "evoprompt.kind": "comparison",
        "evoprompt.folder": str(folder),
        "evoprompt.compared_runs": " ".join((r.mlflow or {})["run_id"] for r in tracked),
        "evoprompt.compared_folders": " ".join(str(r.folder) for r in records),
    }
    parameters = {
        "by": " ".join(comparison.keys),
        "align": settings.align,
        "trait": settings.trait,
        "target": settings.target,
        "baseline": settings.baseline,
    }
    tracker.begin(f"comparison {folder.name}", parameters, tags, [])
    tracker.log(comparison_metrics(comparison), 0, int(time.time() * 1000))
    tables = [
        group_table(comparison),
        *([test_table(comparison), part_table(comparison)] if comparison.tests else []),
    ]
    tracker.describe(
        "\n\n".join(
            [
                *(_markdown(t) for t in tables[:2]),
                *power_notes(comparison),
                *(_markdown(t) for t in tables[2:]),
            ]
        )
    )
    tracker.finish("FINISHED", folder)
    return f"MLflow {tracker.location()}"


def _rich(table: TextTable) -> Table:
    shown = Table(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for place, name in enumerate(table.head):
        words = place < table.num_words
        shown.add_column(
            name,
            justify="left" if words else "right",
            vertical="top",
            overflow="fold",
            no_wrap=not words,
        )
    for row in table.rows:
        shown.add_row(*(_cell(text) for text in row))
    return shown


def _cell(text: str) -> Text:
    value, _, interval = text.partition("\n")
    return Text.assemble(value, *([("\n" + interval, "dim")] if interval else []))


def _markdown(table: TextTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )

    return "\n".join(
        [
            table.title,
            "",
            line(table.head),
            "|" + "---|" * len(table.head),
            *(line(row) for row in table.rows),
        ]
    )


def _name(comparison: Comparison) -> str:
    """Return a name for the folder: what the groups differ in."""
    keys = (
        "+".join(key.rpartition(".")[2] for key in comparison.keys)
        if len(comparison.groups) > 1
        else ""
    )
    return _slug(f"by-{keys}")[:NAME_CHARACTERS] if keys else "replicates"


def _around(records: Sequence[RunRecord]) -> Path:
    """Return the folder around the runs, or that around the first where they are apart."""
    return records[0].folder.parent


def _slug(text: str) -> str:
    """Return text that may be a metric's or a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") or "group"
