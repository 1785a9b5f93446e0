"""A curriculum -> tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.jobs.curriculum.record import RoundLine
from evoprompt.report.table import Cell, Table, new_table


def round_table(names: Sequence[str], lines: Sequence[RoundLine]) -> Table:
    """Return the weight of each region by round, and its regret where there are two populations."""
    is_played = any(r is not None for line in lines for r in line.regret)
    regrets = [f"regret: {name}" for name in names] if is_played else []
    heads = (
        *("round", *(f"weight: {name}" for name in names), *regrets),
        *(["duality gap"] if is_played else []),
        *("fitness", "tokens"),
    )
    rows: list[list[Cell | str]] = []
    for line in lines:
        regret = [_number(r, e) for r, e in zip(line.regret, line.regret_error, strict=True)]
        played = [*regret, _number(line.duality_gap)] if is_played else []
        shown = [str(line.round), *(f"{weight:.3f}" for weight in line.weights), *played]
        rows.append([*shown, f"{line.best_fitness:.3f}", f"{line.logical_tokens:,}"])
    return new_table(heads, rows, title="Rounds")


def test_table(summary: Mapping[str, Any]) -> Table:
    """Return what the baseline and the champion do on the test examples of each region, and how far
    the champion is behind the best member of either population there.
    """
    test, weights = summary["test"], summary["weights"]
    shown = [*zip((r["region"] for r in test["regions"]), test["regions"], weights, strict=True)]
    is_played = any("regret" in row for _, row, _ in shown)
    rows: list[list[Cell | str]] = []
    for name, row, weight in [*shown, ("all", test, None)]:
        cells = [_estimate(row[key]) for key in ("baseline", "champion", "difference")]
        regret = [_estimate(row["regret"]) if "regret" in row else Cell("")] if is_played else []
        rows.append([name, "" if weight is None else f"{weight:.3f}", *cells, *regret])
    heads = ("region", "weight", "before", "after", "difference")
    return new_table(
        (*heads, *(["regret"] if is_played else [])), rows, align="l", title="Test examples"
    )


def _number(value: float | None, error: float | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if error is None else f" ±{error:.3f}")


def _estimate(told: Mapping[str, Any]) -> Cell:
    ends = told["ci"]
    below = "" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"
    return Cell(f"{told['value']:.3f}", below)
