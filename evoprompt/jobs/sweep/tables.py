"""The rows of a sweep -> the numbers that its tables and figures show. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.stats.significance import LEAST_INTERVAL, Estimate, mean_interval

REPLICATES = "seed"  #: the key whose values make runs replicates of each other

#: The results that lie between 0 and 1.
PROPORTIONS = ("accuracy_before", "accuracy_after")

#: A run's results, by their names in `sweep.csv`: (place in summary.json, words for people).
RESULTS = {
    "fitness_best": ("fitness.best", "best fitness"),
    "accuracy_before": ("test.baseline", "before"),
    "accuracy_after": ("test.champion", "after"),
    "accuracy_difference": ("test.difference", "difference"),
    "tokens": ("tokens.prefill", "tokens"),
    "floor_tokens": ("tokens.floor", "floor tokens"),
    "seconds": ("seconds.total", "seconds"),
}


def lookup(summary: Mapping[str, Any], key: str) -> float | None:
    """Return the number at a dotted key of a summary, or the `value` of what is there; None where
    there is none.
    """
    node: Any = summary
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    node = node.get("value") if isinstance(node, Mapping) else node
    return float(node) if isinstance(node, int | float) else None


def result_of(summary: Mapping[str, Any], objective: str) -> dict[str, float | None]:
    """Return what a sweep keeps of a run's summary. `memo_share` is of the requests; absent where
    nothing was requested.
    """
    tokens = summary["tokens"]
    share = tokens["memo_requests"] / tokens["requests"] if tokens["requests"] else None
    return (
        {"objective": lookup(summary, objective)}
        | {name: lookup(summary, key) for name, (key, _) in RESULTS.items()}
        | {"memo_share": share}
    )


def result_so_far(line: GenerationLine) -> dict[str, float | None]:
    """Return what a sweep keeps of a run that was stopped after a generation."""
    tokens = line.tokens
    return {
        "objective": None,
        "fitness_best": line.account.fitness.best,
        "tokens": float(tokens.prefill),
        "floor_tokens": float(tokens.floor),
        "seconds": line.seconds,
        "memo_share": tokens.memo_requests / tokens.requests if tokens.requests else None,
    }


def mean_of(rows: Sequence[SweepRow], name: str) -> Estimate | None:
    """Return the mean of a result over the runs that have it, or None; an accuracy's interval is
    cut where accuracies end.
    """
    values = column(rows, name)
    if not values:
        return None
    mean = mean_interval(values)
    if mean.low is not None and mean.high is not None and name in PROPORTIONS:
        return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))
    return mean


def mean_text(mean: Estimate | None) -> str:
    """Return a mean with its interval, where the values differ and are not too few for one; nothing
    where there is none.
    """
    if mean is None:
        return ""
    enough = mean.ends is not None and mean.num >= LEAST_INTERVAL
    interval = f" [{mean.ends[0]:.3f}, {mean.ends[1]:.3f}]" if enough and mean.ends else ""
    return f"{mean.value:.3f}{interval}"


def done(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Return the runs that ended well."""
    return [row for row in rows if row.is_done]


def groups(rows: Sequence[SweepRow]) -> list[list[SweepRow]]:
    """Return the runs in groups that differ in the seed alone, in order of their first."""
    found: dict[str, list[SweepRow]] = {}
    for row in rows:
        settings = {k: v for k, v in row.settings.items() if k != REPLICATES}
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    return list(found.values())


def best_group(rows: Sequence[SweepRow]) -> list[SweepRow] | None:
    """Return the group with the greatest mean objective, or None where no run ended well; the first
    of equals.

    Groups in which a run is missing are left out as long as there are others: a mean of fewer runs
    is the more often high by luck.
    """
    whole = [group for group in groups(rows) if all(row.is_done for row in group)]
    candidates = whole or [ended for group in groups(rows) if (ended := done(group))]
    return max(candidates, key=mean_objective, default=None)


def mean_objective(rows: Sequence[SweepRow]) -> float:
    """Return what groups of runs are ranked by; it does not depend on the order of the runs."""
    return fmean(column(rows, "objective"))


def column(rows: Sequence[SweepRow], name: str) -> list[float]:
    """Return a result of the runs that have it."""
    return [value for row in rows if (value := row.value(name)) is not None]


def by_level(rows: Sequence[SweepRow], axis: str, name: str) -> dict[str, list[float]]:
    """Return a result of the runs at each level of an axis, levels in order of appearance, or of
    size where they are numbers.
    """
    values = {level_of(row, axis): row.settings[axis] for row in rows}
    numbers = all(isinstance(v, int | float) for v in values.values())
    order = sorted(values, key=lambda level: values[level]) if numbers else list(values)
    return {
        level: column([row for row in rows if level_of(row, axis) == level], name)
        for level in order
    }


def level_of(row: SweepRow, axis: str) -> str:
    """Return a run's value of an axis as text that is equal for equal values only."""
    return json.dumps(row.settings[axis], sort_keys=True)


def csv_text(rows: Sequence[SweepRow], axes: Sequence[str]) -> str:
    """Return the table as `sweep.csv` has it: numbers in full, absent ones empty."""
    stream = io.StringIO()
    results = ["objective", *RESULTS, "memo_share"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["number", "folder", "status", *axes, *results, "reason"])
    for row in rows:
        settings = [
            v if isinstance(v := row.settings.get(a), str | int | float) else json.dumps(v)
            for a in axes
        ]
        writer.writerow(
            [
                row.number,
                row.folder,
                row.status,
                *settings,
                *(row.value(name) for name in results),
                row.reason,
            ]
        )
    return stream.getvalue()
