"""Lines of a run's files -> figures as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Line,
    finish,
    new_axes,
    plain,
    svg,
)


def fitness_figure(generations: Sequence[Line], lineage: Sequence[Line], kind: str) -> str:
    """Return best and mean fitness of the selected by generation, over a dot for every birth."""
    figure, axes = new_axes()
    x = [g["generation"] for g in generations]
    births = [(b["generation"], b["fitness"]) for b in lineage if b["operator"] != "survive"]
    axes.scatter(
        [g for g, _ in births],
        [f for _, f in births],
        s=10,
        color=GREY,
        alpha=0.5,
        linewidths=0,
        label="births",
    )
    axes.plot(
        x,
        [g["fitness"]["mean"] for g in generations],
        color=ORANGE,
        marker=".",
        label="mean of the selected",
    )
    axes.plot(x, [g["fitness"]["best"] for g in generations], color=BLUE, marker=".", label="best")
    return finish(
        figure, axes, f"fitness ({kind}, nats)" if kind != "accuracy" else "fitness (accuracy)"
    )


def price_figure(generations: Sequence[Line], trait: str) -> str:
    """Return the parts of the change of a trait's mean by generation, stacked, with their sum as a
    line and its 95 % intervals over examples.
    """
    figure, axes = new_axes()
    rows = [g for g in generations if trait in g["price"]]
    x = np.array([g["generation"] for g in rows])
    parts = {
        "selection in reproduction": (
            [g["price"][trait]["reproduction"]["selection"] for g in rows],
            BLUE,
        ),
        "transmission by operators": ([g["price"][trait]["transmission"] for g in rows], ORANGE),
        "selection in survival": (
            [g["price"][trait]["survival"]["selection"] for g in rows],
            GREEN,
        ),
        "immigration": ([g["price"][trait]["immigration"] for g in rows], PURPLE),
        "measuring again": ([remeasurement(g["price"][trait]) for g in rows], GREY),
    }
    parts = {
        label: part
        for label, part in parts.items()
        if label not in ("immigration", "measuring again") or any(part[0])
    }
    above, below = np.zeros(len(rows)), np.zeros(len(rows))
    for label, (values, color) in parts.items():
        height = np.array(values)
        axes.bar(
            x,
            height,
            bottom=np.where(height >= 0, above, below),
            color=color,
            width=0.7,
            label=label,
        )
        above, below = above + np.maximum(height, 0), below + np.minimum(height, 0)
    errors = [g["price"][trait].get("standard_error", {}).get("change") for g in rows]
    spread = [1.96 * e for e in errors] if all(e is not None for e in errors) else None
    change = [g["price"][trait]["change"] for g in rows]
    axes.errorbar(
        x,
        change,
        yerr=spread,
        color="black",
        marker=".",
        linewidth=1,
        elinewidth=1,
        capsize=2,
        label="change (their sum)",
    )
    axes.axhline(0, color="black", linewidth=0.6)
    return finish(figure, axes, f"change of mean {trait.replace('_', ' ')}")


def remeasurement(account: Line) -> float:
    """Return what scoring the parents again added to a trait's mean: batch shift and noise given
    back; 0 where they were not.
    """
    return float(account.get("batch_shift", 0.0) + account.get("noise_giveback", 0.0))


def trait_figure(generations: Sequence[Line]) -> str:
    """Return the mean of every trait over the selected by generation, a small panel each."""
    names = list(generations[-1]["traits"])
    rows = -(-len(names) // 3)
    figure = Figure(figsize=(9, 1.7 * rows))
    figure.subplots_adjust(
        left=0.06, right=0.99, bottom=0.28 / rows, top=1 - 0.2 / rows, hspace=0.55, wspace=0.22
    )
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, 3, place)
        axes.plot(
            [g["generation"] for g in generations],
            [g["traits"][name] for g in generations],
            color=BLUE,
            marker=".",
        )
        axes.set_title(name.replace("_", " "), fontsize=9, loc="left")
        plain(axes)
    return svg(figure)
