"""The rows of a sweep -> the numbers that its tables and figures show. Pure.

A row is a run as `sweep.json` has it: `number`, `folder`, `settings` (dotted key to value),
`status`, `reason`, `result` or None.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

from evoprompt.stats.significance import t_quantile

Row = Mapping[str, Any]
REPLICATES = "seed"  #: the key whose values make runs replicates of each other

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


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with the interval for it; `ci` is None where the values have no spread, as a single
    one has none.
    """

    value: float
    ci: tuple[float, float] | None
    num: int

    def __str__(self) -> str:
        return f"{self.value:.3f}" + (f" [{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else "")


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


def mean_interval(values: Sequence[float], alpha: float = 0.05) -> Mean:
    """Return the mean with Student's interval m -+ t s / sqrt(n), s with ddof=1; it covers 1 -
    alpha where values are normal.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("mean_interval: no values")
    n, mean = len(values), fsum(values) / len(values)
    if min(values) == max(values):
        return Mean(mean, None, n)
    half = t_quantile(1 - alpha / 2, n - 1) * sqrt(
        fsum((v - mean) ** 2 for v in values) / (n - 1) / n
    )
    return Mean(mean, (mean - half, mean + half), n)


def mean_of(rows: Sequence[Row], name: str) -> Mean | None:
    """Return the mean of a result over the runs that have it, or None; an accuracy's interval is
    cut where accuracies end.
    """
    values = column(rows, name)
    if not values:
        return None
    mean = mean_interval(values)
    if mean.ci and name in ("accuracy_before", "accuracy_after"):
        return Mean(mean.value, (max(0.0, mean.ci[0]), min(1.0, mean.ci[1])), mean.num)
    return mean


def done(rows: Sequence[Row]) -> list[Row]:
    """Return the runs that ended well."""
    return [row for row in rows if row["status"] == "done"]


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the runs in groups that differ in the seed alone, in order of their first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        settings = {k: v for k, v in row["settings"].items() if k != REPLICATES}
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    return list(found.values())


def best_group(rows: Sequence[Row]) -> list[Row] | None:
    """Return the group with the greatest mean objective, or None where no run ended well; the first
    of equals.

    Groups in which a run is missing are left out as long as there are others: a mean of fewer runs
    is the more often high by luck.
    """
    whole = [group for group in groups(rows) if all(row["status"] == "done" for row in group)]
    candidates = whole or [ended for group in groups(rows) if (ended := done(group))]
    return max(
        candidates, key=lambda group: mean_interval(column(group, "objective")).value, default=None
    )


def column(rows: Sequence[Row], name: str) -> list[float]:
    """Return a result of the runs that have it."""
    return [
        row["result"][name] for row in rows if row["result"] and row["result"][name] is not None
    ]


def by_level(rows: Sequence[Row], axis: str, name: str) -> dict[str, list[float]]:
    """Return a result of the runs at each level of an axis, levels in order of appearance, or of
    size where they are numbers.
    """
    values = {
        json.dumps(row["settings"][axis], sort_keys=True): row["settings"][axis] for row in rows
    }
    numbers = all(isinstance(v, int | float) for v in values.values())
    order = sorted(values, key=lambda level: values[level]) if numbers else list(values)
    return {
        level: column(
            [r for r in rows if json.dumps(r["settings"][axis], sort_keys=True) == level], name
        )
        for level in order
    }


def csv_text(rows: Sequence[Row], axes: Sequence[str]) -> str:
    """Return the table as `sweep.csv` has it: numbers in full, absent ones empty."""
    stream = io.StringIO()
    results = ["objective", *RESULTS, "memo_share"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["number", "folder", "status", *axes, *results, "reason"])
    for row in rows:
        settings = [
            v if isinstance(v := row["settings"].get(a), str | int | float) else json.dumps(v)
            for a in axes
        ]
        writer.writerow(
            [
                row["number"],
                row["folder"],
                row["status"],
                *settings,
                *((row["result"] or {}).get(r) for r in results),
                row["reason"],
            ]
        )
    return stream.getvalue()
