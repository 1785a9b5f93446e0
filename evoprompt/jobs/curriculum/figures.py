"""The rounds of a curriculum -> figures as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.ticker import AutoLocator, MaxNLocator

from evoprompt.jobs.curriculum.record import RoundLine, Values
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

#: Of regions, in their order, over and over.
COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY, MINT, YELLOW)


def region_figure(
    names: Sequence[str],
    lines: Sequence[RoundLine],
    read: Callable[[RoundLine], Values],
    label: str,
    level: float | None = None,
) -> str | None:
    """Return what regions have by round, a line for each; None where none has anything.

    Args:
        names: of the regions.
        lines: of the rounds.
        read: what is shown of a round, by region.
        label: of the axis.
        level: that a dotted line marks.
    """
    figure, axes = new_axes(3.4)
    is_empty = True
    for place, name in enumerate(names):
        points = [(line.round, v) for line in lines if (v := read(line)[place]) is not None]
        if points:
            is_empty = False
            x, y = zip(*points, strict=True)
            color = COLORS[place % len(COLORS)]
            axes.plot(x, y, color=color, marker="o", markersize=2.5, label=name)
    if is_empty:
        return None
    if level is not None:
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(AutoLocator())
    axes.set_xlabel("round")
    axes.set_ylabel(label)
    legend_above(figure, axes, 4)
    return svg(figure)


def gap_figure(lines: Sequence[RoundLine]) -> str | None:
    """Return the duality gap and the minimax regret of the members by round; None where they are
    not known.
    """
    names = ("duality gap", "minimax regret")

    def both(line: RoundLine) -> Values:
        return line.duality_gap, line.minimax_regret

    return region_figure(names, lines, both, "probability", 0.0)
