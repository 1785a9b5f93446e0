"""Lines of a run's files -> figures as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
from matplotlib.axes import Axes

from evoprompt.dynamics.account import GenerationAccount, PriceAccount
from evoprompt.records import SURVIVE
from evoprompt.report.panels import panels
from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    MINT,
    ORANGE,
    PURPLE,
    Line,
    finish,
    new_axes,
)


def fitness_figure(
    generations: Sequence[GenerationAccount], lineage: Sequence[Line], kind: str
) -> str:
    """Return best and mean fitness of the selected by generation, over a dot for every birth; what
    lies outside of `zoomed` is not drawn.
    """
    figure, axes = new_axes()
    births = [(b["generation"], b["fitness"]) for b in lineage if b["operator"] != SURVIVE]
    axes.scatter(
        [g for g, _ in births],
        [f for _, f in births],
        s=10,
        color=GREY,
        alpha=0.5,
        linewidths=0,
        label="births",
    )
    x = [g.generation for g in generations]
    mean, best = [g.fitness.mean for g in generations], [g.fitness.best for g in generations]
    axes.plot(x, mean, color=ORANGE, marker=".", label="mean of the selected")
    axes.plot(x, best, color=BLUE, marker=".", label="best")
    axes.set_ylim(*zoomed(generations))
    return finish(
        figure, axes, f"fitness ({kind}, nats)" if kind != "accuracy" else "fitness (accuracy)"
    )


def zoomed(generations: Sequence[GenerationAccount]) -> tuple[float, float]:
    """Return the fitness between which the selected are, with room for as much again below: births
    that failed by far do not flatten what was selected.
    """
    low = min(g.fitness.mean for g in generations)
    high = max(g.fitness.best for g in generations)
    room = (high - low) or max(abs(high), 1.0) * 0.1
    return low - room, high + 0.1 * room


def price_figure(generations: Sequence[GenerationAccount], trait: str) -> str:
    """Return the parts of the change of a trait's mean by generation, stacked, with their sum as a
    line and its 95 % intervals over examples.
    """
    figure, axes = new_axes()
    rows = [(g.generation, g.price[trait]) for g in generations if trait in g.price]
    x, accounts = np.array([number for number, _ in rows]), [account for _, account in rows]
    _stack(axes, x, price_parts(accounts))
    errors = [(a.standard_error or {}).get("change") for a in accounts]
    known = [1.96 * error for error in errors if error is not None]
    axes.errorbar(
        x,
        [account.change for account in accounts],
        yerr=known if len(known) == len(errors) else None,
        color="black",
        marker=".",
        linewidth=1,
        elinewidth=1,
        capsize=2,
        label="change (their sum)",
    )
    axes.axhline(0, color="black", linewidth=0.6)
    return finish(figure, axes, f"change of mean {trait.replace('_', ' ')}")


def price_parts(accounts: Sequence[PriceAccount]) -> dict[str, tuple[str, list[float]]]:
    """Return each part's color and its values by generation; the rare ones only where there are
    any.
    """
    parts = {
        "selection in reproduction": (BLUE, [a.reproduction.selection for a in accounts]),
        "transmission by operators": (ORANGE, [a.transmission for a in accounts]),
        "selection in survival": (GREEN, [a.survival.selection for a in accounts]),
    }
    rare = {
        "immigration": (PURPLE, [a.immigration for a in accounts]),
        "selection in the race": (MINT, [a.racing for a in accounts]),
        "measuring again": (GREY, [a.remeasurement for a in accounts]),
    }
    return parts | {label: part for label, part in rare.items() if any(part[1])}


def _stack(axes: Axes, x: np.ndarray, parts: Mapping[str, tuple[str, list[float]]]) -> None:
    """Draw parts as bars that stand on each other, those below 0 downwards."""
    above, below = np.zeros(len(x)), np.zeros(len(x))
    for label, (color, values) in parts.items():
        height = np.array(values)
        bottom = np.where(height >= 0, above, below)
        axes.bar(x, height, bottom=bottom, color=color, width=0.7, label=label)
        above, below = above + np.maximum(height, 0), below + np.minimum(height, 0)


def trait_figure(generations: Sequence[GenerationAccount]) -> str:
    """Return the mean of every trait over the selected by generation, a small panel each, with
    gaps where a generation does not have it.
    """
    names = dict.fromkeys(name for g in generations for name in g.traits)
    curves = {n.replace("_", " "): [g.traits.get(n, nan) for g in generations] for n in names}
    return panels([g.generation for g in generations], curves, BLUE)
