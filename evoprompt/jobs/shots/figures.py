"""Curves by number of demonstrations -> figures as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import AutoLocator

from evoprompt.jobs.shots.analysis import Curve
from evoprompt.jobs.shots.tables import name_of, words_of
from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    MINT,
    ORANGE,
    PURPLE,
    YELLOW,
    legend_above,
    new_axes,
    svg,
)

#: Of models; of contexts.
COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY, MINT, YELLOW)
STYLES = {"random": "-", "balanced": "--", "best_of": "-.", "evolved": ":"}


def curve_figure(curves: Sequence[Curve], name: str, label: str) -> str | None:
    """Return a quantity by number of demonstrations, a line for each model and context, in bands of
    two standard errors; None where no curve has it.

    Args:
        curves: of one task.
        name: of `analysis.QUANTITIES`.
        label: of the axis.
    """
    shown = [c for c in curves if any(name in point.means for point in c.points)]
    if not shown:
        return None
    figure, axes = new_axes(3.4)
    numbers = sorted({point.number for curve in shown for point in curve.points})
    models = list(dict.fromkeys(curve.model for curve in shown))
    for curve in shown:
        points = [point for point in curve.points if name in point.means]
        x = [numbers.index(point.number) for point in points]
        means = [point.means[name] for point in points]
        y = np.array([mean.value for mean in means])
        two = 2 * np.array([mean.error or 0.0 for mean in means])
        low, high = y - two, y + two
        if "accuracy" in name:
            low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
        color = COLORS[models.index(curve.model) % len(COLORS)]
        title = f"{name_of(curve.model)}, {words_of(curve.context)}"
        axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
        style = STYLES.get(curve.context, "-")
        axes.plot(x, y, color=color, linestyle=style, marker="o", markersize=3, label=title)
    chance = {curve.chance for curve in shown}
    if "accuracy" in name and len(chance) == 1 and (level := chance.pop()) is not None:
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":", label="chance")
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.yaxis.set_major_locator(AutoLocator())
    axes.set_xlabel("demonstrations")
    axes.set_ylabel(label)
    legend_above(figure, axes, 2)
    return svg(figure)
