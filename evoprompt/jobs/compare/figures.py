"""A comparison -> figures as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from evoprompt.dynamics.comparison import TERMS, band
from evoprompt.jobs.compare.comparison import Comparison, GroupResult
from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    legend_above,
    new_axes,
    plain,
    reach,
    svg,
)
from evoprompt.stats.significance import LEAST_INTERVAL, Estimate

#: Of groups, in their order; after the last the first comes again, dashed. Okabe and Ito 2008.
COLORS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000")
GRID_POINTS = 400
LABEL_CHARACTERS = 44
AXIS_LABELS = {
    "tokens": "tokens that the search needed",
    "evaluations": "policies scored",
    "generations": "generation",
    "seconds": "seconds",
}


def curves_figure(comparison: Comparison) -> str:
    """Return each group's mean curve over the common range with its interval band, and its single
    runs as thin lines to their own ends.
    """
    figure, axes = new_axes(height=3.8)
    low, high = comparison.range
    grid = np.linspace(low, high, GRID_POINTS)
    for place, result in enumerate(comparison.groups):
        curves = [run.curve for run in result.runs]
        color, style = _color(place), _style(place)
        if len(curves) > 1:
            for curve in curves:
                axes.plot(
                    curve.x, curve.y, drawstyle="steps-post", color=color, linewidth=0.6, alpha=0.45
                )
        mean, half = band(curves, grid, comparison.settings.alpha)
        axes.plot(
            grid,
            mean,
            drawstyle="steps-post",
            color=color,
            linestyle=style,
            linewidth=1.8,
            label=f"{_short(result)} ({len(curves)})",
        )
        if half is not None and len(curves) >= LEAST_INTERVAL:
            axes.fill_between(
                grid, mean - half, mean + half, step="post", color=color, alpha=0.14, linewidth=0
            )
    if comparison.settings.target is not None:
        axes.axhline(
            comparison.settings.target, color=GREY, linewidth=0.8, linestyle=":", label="target"
        )
    longest = max(float(run.curve.x[-1]) for result in comparison.groups for run in result.runs)
    if longest > high:
        axes.axvline(high, color=GREY, linewidth=0.8, label="end of the common range")
    values = [run.curve.y for result in comparison.groups for run in result.runs]
    bottom, top = float(min(v.min() for v in values)), float(max(v.max() for v in values))
    margin = 0.06 * (top - bottom) or 0.1
    # a wide band of few seeds must not flatten the curves
    axes.set_ylim(bottom - margin, top + margin)
    if comparison.settings.align == "tokens":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(AXIS_LABELS[str(comparison.settings.align)])
    axes.set_ylabel(comparison.curve_label)
    legend_above(figure, axes, 2)
    return svg(figure)


def points_figure(comparison: Comparison) -> str:
    """Return the mean height and the final value of every run as a dot, by group, with the mean and
    its interval.
    """
    num = len(comparison.groups)
    figure = Figure(figsize=(9, 0.42 * num + 1.0))
    figure.subplots_adjust(
        left=0.3, right=0.98, bottom=0.55 / (0.42 * num + 1.0), top=0.97, wspace=0.12
    )
    for place, (quantity, label) in enumerate(
        (("mean_height", "area under the curve / range"), ("final", "value at the range's end")), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        for row, result in enumerate(comparison.groups):
            values = [run.values[quantity] for run in result.runs]
            spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
            axes.scatter(
                values, row + 0.2 + 0.5 * spread, s=12, color=_color(row), alpha=0.55, linewidths=0
            )
            _interval(axes, result.estimates[quantity], values, row - 0.12, _color(row))
        _rows(axes, [_short(result) for result in comparison.groups] if place == 1 else [""] * num)
        axes.set_xlabel(label, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return svg(figure)


def terms_figure(comparison: Comparison) -> str:
    """Return Price's terms summed over generations by group, as bars with intervals; a term that is
    0 everywhere is left out.
    """
    return _bars(
        comparison,
        [(f"price/{term}", term) for term in TERMS],
        "part of the change of the mean, summed over generations",
    )


def operators_figure(comparison: Comparison) -> str | None:
    """Return transmission by operator, summed over generations, in the same way; None where no
    operator transmitted anything.
    """
    names = sorted(
        {
            name
            for result in comparison.groups
            for name in result.estimates
            if name.startswith("operator/")
        }
    )
    rows = [(name, name.removeprefix("operator/").replace("_", " ")) for name in names]
    rows = [row for row in rows if _matters(comparison.groups, row[0])]
    return _bars(comparison, rows, "transmission, summed over generations") if rows else None


def _bars(comparison: Comparison, rows: Sequence[tuple[str, str]], label: str) -> str:
    rows = [row for row in rows if _matters(comparison.groups, row[0])] or list(rows[:1])
    groups = comparison.groups
    height = len(rows) * (0.14 * len(groups) + 0.16) + 0.35 * len(groups) ** 0.5 + 0.7
    figure, axes = new_axes(height=height, left=0.26)
    thickness = 0.8 / len(groups)
    for place, result in enumerate(groups):
        for row, (name, _) in enumerate(rows):
            estimate = result.estimates.get(name) or Estimate(0.0, None, None, len(result.runs))
            y = row - 0.4 + (place + 0.5) * thickness
            axes.barh(
                y,
                estimate.value,
                thickness * 0.9,
                color=_color(place),
                alpha=0.8,
                label=_short(result) if row == 0 else None,
            )
            if (ends := reach(estimate, parts(result, name))) is not None:
                axes.plot(ends, [y, y], color="black", linewidth=0.9)
    axes.axvline(0, color="black", linewidth=0.6)
    _rows(axes, [text for _, text in rows])
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    legend_above(figure, axes, 2)
    return svg(figure)


def parts(result: GroupResult, name: str) -> list[float]:
    """Return a part of the change in each run of a group; it is 0 where a run does not have it."""
    kind, _, part = name.partition("/")
    totals = [run.price for run in result.runs]
    return [(p.terms if kind == "price" else p.operators).get(part, 0.0) for p in totals]


def _interval(
    axes: Axes, estimate: Estimate, values: Sequence[float], y: float, color: str
) -> None:
    axes.plot([estimate.value], [y], marker="o", color=color)
    if (ends := reach(estimate, values)) is not None:
        axes.plot(ends, [y, y], color=color, linewidth=1.5)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    plain(axes)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(labelsize=8)


def _matters(groups: Sequence[GroupResult], name: str) -> bool:
    return any(
        name in result.estimates and abs(result.estimates[name].value) > 1e-12 for result in groups
    )


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]


def _style(place: int) -> str:
    return "-" if place < len(COLORS) else "--"


def _short(result: GroupResult) -> str:
    name = result.group.name
    return name if len(name) <= LABEL_CHARACTERS else name[: LABEL_CHARACTERS - 3] + "..."
