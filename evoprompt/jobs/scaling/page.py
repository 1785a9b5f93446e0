"""A scaling analysis -> `scaling.html`, one file that needs nothing else, and `scaling.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator

from evoprompt.arrays import Floats
from evoprompt.jobs.scaling.analysis import PFDAY, PUBLISHED, Scaling, Series, loss_at
from evoprompt.jobs.scaling.tables import (
    curve_table,
    numbers,
    reach_table,
    sentences,
    verdict_table,
)
from evoprompt.report.markup import page, paragraph, section
from evoprompt.report.plots import BLUE, GREY, ORANGE, legend_above, new_axes, plain, svg
from evoprompt.report.table import to_html

PAGE, NUMBERS = "scaling.html", "scaling.json"
#: Budgets that the figure has lines for, dollars, with their names.
BUDGETS = ((1e9, "$1B"), (1e12, "$1T"))
#: Losses that a curve is drawn at.
STEPS = 200

CURVE_NOTE = (
    "Performance is 0 at chance and 1 at the best possible. The logistic curve is 1 / (1 + exp(k "
    "(L - m))) of the loss L, with steepness k and middle m; misfit is the root of the mean "
    "squared residual, held out what curves through all other models predict for the best one, "
    "less what it has."
)
REACH_NOTE = (
    "The interval draws the categories again, with all models kept. Laws of the loss: that of "
    "Brown et al. 2020; one fitted to these models; one with a loss that no compute gets below. "
    "Parameters are by a law of these models, tokens are FLOP / (6 parameters). Beyond the "
    "models of the table, all of it is extrapolation."
)
VERDICT_NOTE = (
    "No trend: tau, Kendall's rank correlation of performance with a lower loss, is not shown to "
    "differ from 0. Steeper, shallower: a curve with the median steepness leaves more than its own "
    "(F test). Both by Holm's adjustment over the benchmarks."
)


def write_scaling(found: Scaling, folder: Path, notes: Sequence[str], dollars: float) -> Path:
    """Write both files into an existing folder and return the page's path."""
    text = json.dumps(numbers(found), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    file = folder / PAGE
    sections = list(_sections(found, notes, dollars))
    file.write_text(page(folder.name, sections), encoding="utf-8")
    return file


def _sections(found: Scaling, notes: Sequence[str], dollars: float) -> Iterator[str]:
    yield "<h1>Performance against loss</h1>"
    for sentence in sentences(found):
        yield paragraph(sentence)
    for note in notes:
        yield paragraph(f"Note: {note}.", "muted")
    yield section("The mean of the categories", _mean_figure(found, dollars))
    yield section("Each category", _category_figure(found))
    yield section("Curves", to_html(curve_table(found)), CURVE_NOTE)
    if found.reaches:
        reaches = reach_table(found)
        yield section(reaches.title, to_html(reaches), REACH_NOTE)
    strange = verdict_table(found)
    if strange.rows:
        yield section(strange.title, to_html(strange), VERDICT_NOTE)


def _mean_figure(found: Scaling, dollars: float) -> str:
    """Return the mean with both curves, their bands, and what budgets buy by the published law."""
    figure, axes = new_axes(3.6)
    loss, y = found.models.loss, found.mean.performance
    ends = [loss_at(c, found.target) for c in (found.mean.linear, found.mean.logistic)]
    ahead = [e for e in ends if 0 < e < loss.min()]
    x = np.linspace(min([loss.min(), *ahead]), loss.max(), STEPS)
    for curve, color in ((found.mean.linear, ORANGE), (found.mean.logistic, BLUE)):
        low, high = (np.clip(part, -0.05, 1.05) for part in curve.band(x))
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        name = "line" if curve.form == "linear" else "logistic curve"
        axes.plot(x, np.clip(curve.at(x), -0.05, 1.05), color=color, label=name)
    axes.plot(loss, y, "o", color=GREY, label="models")
    axes.axhline(found.target, color=GREY, linewidth=0.8, linestyle=":")
    for budget, name in BUDGETS if found.laws else ():
        at = float(PUBLISHED.at(np.array([budget / dollars / PFDAY]))[0])
        if x.min() < at < x.max():
            axes.axvline(at, color=GREY, linewidth=0.8)
            axes.text(at, 0.02, f" {name}", fontsize=8, color=GREY)
    return _finished(figure, axes)


def _category_figure(found: Scaling) -> str:
    figure, axes = new_axes(3.6)
    colors = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for place, series in enumerate(found.categories):
        _draw(axes, found.models.loss, series, colors[place % len(colors)])
    return _finished(figure, axes)


def _draw(axes: Axes, loss: Floats, series: Series, color: object) -> None:
    x = np.linspace(loss.min(), loss.max(), STEPS)
    axes.plot(x, series.logistic.at(x), color=color, linewidth=1, label=series.name)
    axes.plot(loss, series.performance, "o", markersize=3, color=color)


def _finished(figure: Figure, axes: Axes) -> str:
    plain(axes)
    axes.xaxis.set_major_locator(AutoLocator())
    axes.invert_xaxis()
    axes.set_xlabel("loss, nats per token (better to the right)")
    axes.set_ylabel("performance")
    legend_above(figure, axes, 3)
    return svg(figure)
