"""Findings under changes -> a figure as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprompt.jobs.robustness.analysis import Effect
from evoprompt.jobs.robustness.tables import words_of
from evoprompt.report.plots import BLUE, GREY, ORANGE, legend_above, new_axes, svg

COLORS = (BLUE, ORANGE)


def drop_figure(effects: Sequence[Effect]) -> str | None:
    """Return the drop of accuracy by source, a row of points for each policy, with two standard
    errors; None where nothing is measured.
    """
    if not effects:
        return None
    sources = list(dict.fromkeys(effect.source for effect in effects))
    subjects = list(dict.fromkeys(effect.subject for effect in effects))
    figure, axes = new_axes(1.2 + 0.32 * len(sources), 0.2)
    for place, subject in enumerate(subjects):
        own = [effect for effect in effects if effect.subject == subject]
        y = [sources.index(e.source) + 0.18 * (place - (len(subjects) - 1) / 2) for e in own]
        x = 100 * np.array([e.drop.value for e in own])
        two = 200 * np.array([e.drop.error or 0.0 for e in own])
        color = COLORS[place % len(COLORS)]
        axes.errorbar(x, y, xerr=two, fmt="o", color=color, markersize=4, label=subject)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(sources)), [words_of(source) for source in sources])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy lost, percentage points")
    legend_above(figure, axes, 2)
    return svg(figure)
