"""Lines of the run folder's files -> figures as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

#: Colours that people with colour-blindness can tell apart (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"

Line = Mapping[str, Any]


def fitness_figure(generations: Sequence[Line], lineage: Sequence[Line], kind: str) -> str:
    """Return best and mean fitness of the selected by generation, over a dot for every birth."""
    figure, axes = _axes()
    x = [g["generation"] for g in generations]
    births = [(b["generation"], b["fitness"]) for b in lineage if b["operator"] != "survive"]
    axes.scatter(*zip(*births, strict=True), s=10, color=GREY, alpha=0.5, linewidths=0, label="births")
    axes.plot(x, [g["fitness"]["mean"] for g in generations], color=ORANGE, marker=".", label="mean of the selected")
    axes.plot(x, [g["fitness"]["best"] for g in generations], color=BLUE, marker=".", label="best")
    return _finish(figure, axes, f"fitness ({kind}, nats)" if kind != "accuracy" else "fitness (accuracy)")


def price_figure(generations: Sequence[Line], trait: str) -> str:
    """Return the parts of the change of a trait's mean by generation, stacked, with their sum as a line."""
    figure, axes = _axes()
    rows = [g for g in generations if trait in g["price"]]
    x = np.array([g["generation"] for g in rows])
    parts = {
        "selection in reproduction": ([g["price"][trait]["reproduction"]["selection"] for g in rows], BLUE),
        "transmission by operators": ([g["price"][trait]["transmission"] for g in rows], ORANGE),
        "selection in survival": ([g["price"][trait]["survival"]["selection"] for g in rows], GREEN),
    }
    above, below = np.zeros(len(rows)), np.zeros(len(rows))
    for label, (values, color) in parts.items():
        height = np.array(values)
        axes.bar(x, height, bottom=np.where(height >= 0, above, below), color=color, width=0.7, label=label)
        above, below = above + np.maximum(height, 0), below + np.minimum(height, 0)
    axes.plot(x, [g["price"][trait]["change"] for g in rows], color="black", marker=".", linewidth=1, label="change (their sum)")
    axes.axhline(0, color="black", linewidth=0.6)
    return _finish(figure, axes, f"change of mean {trait.replace('_', ' ')}")


def operator_figure(effects: Mapping[str, Sequence[float]]) -> str:
    """Return each operator's mean effect on fitness over all of its births, with 95 % intervals (normal, +-1.96 standard errors)."""
    names = sorted(effects, key=lambda n: float(np.mean(effects[n])))
    figure, axes = _axes(height=0.35 * len(names) + 0.9)
    for row, name in enumerate(names):
        values = np.array(effects[name])
        half = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else None
        axes.errorbar(float(values.mean()), row, xerr=half, color=BLUE, marker="o", capsize=3, linestyle="none")
    axes.set_yticks(range(len(names)), [f"{n.replace('_', ' ')} ({len(effects[n])})" for n in names])
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel("mean of (birth's fitness - parents' mean fitness)")
    return _svg(figure)


def trait_figure(generations: Sequence[Line], trait: str) -> str:
    """Return the mean of a trait over the selected by generation."""
    figure, axes = _axes(width=3.1, height=1.9)
    axes.plot([g["generation"] for g in generations], [g["traits"][trait] for g in generations], color=BLUE, marker=".")
    axes.set_title(trait.replace("_", " "), fontsize=9, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure)


def _axes(width: float = 6.6, height: float = 3.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    return figure, axes


def _finish(figure: Figure, axes: Axes, label: str) -> str:
    axes.set_xlabel("generation")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
