"""Rows of a sweep -> figures as SVG text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator

from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.tables import best_group, by_level, column, done, level_of
from evoprompt.report.plots import BLUE, GREY, ORANGE, plain, reach, svg
from evoprompt.stats.significance import mean_interval

#: Levels above which a factor of numbers is drawn as points over its values.
MOST_LEVELS = 8


def is_continuous(rows: Sequence[SweepRow], axis: str) -> bool:
    """Return whether an axis has numbers, and more of them than are levels."""
    values = [row.settings[axis] for row in rows]
    return (
        all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        and len(set(values)) > MOST_LEVELS
    )


def effect_figure(rows: Sequence[SweepRow], axis: str, measures: Sequence[tuple[str, str]]) -> str:
    """Return the effect of an axis on each measure (name, words): a point for every run; the mean
    at each level with its interval.
    """
    rows = done(rows)
    figure = Figure(figsize=(4.6 * len(measures), 2.7))
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.2, top=0.9, wspace=0.28)
    for place, (name, words) in enumerate(measures, 1):
        axes = figure.add_subplot(1, len(measures), place)
        axes.set_title(words, fontsize=9, loc="left")
        plain(axes)
        if is_continuous(rows, axis):
            kept = [row for row in rows if row.value(name) is not None]
            axes.scatter([row.settings[axis] for row in kept], column(kept, name), s=18, color=BLUE)
            axes.xaxis.set_major_locator(AutoLocator())
        else:
            _levels(axes, by_level(rows, axis, name))
        axes.set_xlabel(axis, fontsize=8)
    return svg(figure)


def interaction_figures(
    rows: Sequence[SweepRow], factors: Sequence[str], measure: tuple[str, str]
) -> list[str]:
    """Return a heat map of the mean of a measure for each pair of factors."""
    rows = done(rows)
    return [
        _heat_map(rows, first, second, measure)
        for first, second in itertools.combinations(factors, 2)
    ]


def parallel_figure(
    rows: Sequence[SweepRow], axes_keys: Sequence[str], measure: tuple[str, str]
) -> str:
    """Return parallel coordinates: an upright for each axis and one for the measure, a line for
    each run, the best ones in colour.
    """
    rows = [row for row in done(rows) if row.value(measure[0]) is not None]
    best = {row.number for row in best_group(rows) or []}
    figure = Figure(figsize=(9, 3.2))
    figure.subplots_adjust(left=0.06, right=0.93, bottom=0.12, top=0.95)
    axes = figure.add_subplot()
    heights = [_heights([row.settings[key] for row in rows]) for key in axes_keys] + [
        _heights(column(rows, measure[0]))
    ]
    for index, row in enumerate(rows):
        chosen = row.number in best
        axes.plot(
            range(len(heights)),
            [at[index] for at, _ in heights],
            color=ORANGE if chosen else GREY,
            linewidth=2 if chosen else 0.8,
            alpha=1 if chosen else 0.6,
            zorder=3 if chosen else 2,
        )
    for place, (_, marks) in enumerate(heights):
        axes.axvline(place, color="black", linewidth=0.6)
        for height, text in marks:
            axes.annotate(
                text, (place, height), textcoords="offset points", xytext=(4, -3), fontsize=7.5
            )
    axes.set_xticks(
        range(len(heights)), [*(key.split(".")[-1] for key in axes_keys), measure[1]], fontsize=8
    )
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return svg(figure)


def _levels(axes: Axes, levels: dict[str, list[float]]) -> None:
    for place, values in enumerate(levels.values()):
        if not values:
            continue
        mean = mean_interval(values)
        spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0.0]
        axes.scatter(
            place + np.array(spread) - 0.1, values, s=14, color=GREY, alpha=0.7, linewidths=0
        )
        ends = reach(mean, values)
        axes.errorbar(
            place + 0.15,
            mean.value,
            yerr=[[mean.value - ends[0]], [ends[1] - mean.value]] if ends else None,
            color=BLUE,
            marker="o",
            capsize=3,
            linestyle="none",
        )
    axes.set_xticks(range(len(levels)), [_text(level) for level in levels], fontsize=8)
    axes.set_xlim(-0.6, len(levels) - 0.4)


def _heat_map(rows: Sequence[SweepRow], first: str, second: str, measure: tuple[str, str]) -> str:
    down, across = list(by_level(rows, first, measure[0])), list(by_level(rows, second, measure[0]))
    cells = np.full((len(down), len(across)), np.nan)
    for i, j in np.ndindex(cells.shape):
        values = by_level(
            [r for r in rows if level_of(r, first) == down[i]],
            second,
            measure[0],
        ).get(across[j], [])
        if values:
            cells[i, j] = mean_interval(values).value
    figure = Figure(figsize=(1.6 + 0.9 * len(across), 1.1 + 0.45 * len(down)))
    axes = figure.add_subplot()
    axes.imshow(np.ma.masked_invalid(cells), cmap="cividis", aspect="auto")
    middle = float(np.nanmean(cells))
    for i, j in zip(*np.nonzero(np.isfinite(cells)), strict=True):
        axes.text(
            j,
            i,
            f"{cells[i, j]:.3f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if cells[i, j] < middle else "#111111",  # on a dark page too
        )
    axes.set_xticks(range(len(across)), [_text(level) for level in across], fontsize=8)
    axes.set_yticks(range(len(down)), [_text(level) for level in down], fontsize=8)
    axes.set_xlabel(second.split(".")[-1], fontsize=8)
    axes.set_ylabel(first.split(".")[-1], fontsize=8)
    axes.set_title(f"mean {measure[1]}", fontsize=9, loc="left")
    return svg(figure, tight=True)


def _heights(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return where each value is on an upright from 0 to 1, and the marks beside it."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min(values), max(values)
        marks = (
            [(0.5, f"{low:.4g}")] if low == high else [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]
        )
        return [0.5 if low == high else (v - low) / (high - low) for v in values], marks
    keys = [json.dumps(v, sort_keys=True) for v in values]
    order = list(dict.fromkeys(keys))
    at = {key: place / max(1, len(order) - 1) for place, key in enumerate(order)}
    return [at[key] for key in keys], [(height, _text(key)) for key, height in at.items()]


def _text(level: str) -> str:
    value = json.loads(level)
    return (
        value
        if isinstance(value, str)
        else " ".join(map(str, value.values()))
        if isinstance(value, dict)
        else level
    )[:22]
