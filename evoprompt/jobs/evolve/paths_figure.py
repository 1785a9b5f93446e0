"""Likelihoods of moves -> heat lines over paths, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from evoprompt.report.plots import BLUE, new_axes, svg

#: Inches that a line takes.
LINE = 0.26
#: Nats from which on a move is as dark as can be.
DARKEST = -5.0
#: Moves at most that have room for an action beside its nats.
WORDED = 9
#: Letters of an action that have room.
LETTERS = 8


def heat_lines(lines: Sequence[tuple[str, Sequence[str], Sequence[float]]]) -> str:
    """Return a line of cells for each (name, actions, nats of each), a cell the darker the less
    likely its action is; where there is room, that is written there.
    """
    longest = max(len(values) for _, _, values in lines)
    cells = np.full((len(lines), longest), np.nan)
    for row, (_, _, values) in enumerate(lines):
        cells[row, : len(values)] = values
    figure, axes = new_axes(LINE * len(lines) + 0.7, left=0.09)
    colours = LinearSegmentedColormap.from_list("moves", [BLUE, "#E8F1F8"])
    axes.imshow(cells, cmap=colours, vmin=DARKEST, vmax=0.0, aspect="auto")
    for row, (_, actions, values) in enumerate(lines):
        for column, (action, value) in enumerate(zip(actions, values, strict=False)):
            ink = "#FEFEFE" if value < DARKEST / 2 else "#111111"
            words = f"{action[:LETTERS]} {value:.1f}" if longest <= WORDED else f"{value:.1f}"
            axes.text(column, row, words, ha="center", va="center", fontsize=5.5, color=ink)
    axes.grid(visible=False)
    axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    axes.set_xticks(range(longest), [str(n + 1) for n in range(longest)])
    axes.set_xlabel("move")
    return svg(figure)
