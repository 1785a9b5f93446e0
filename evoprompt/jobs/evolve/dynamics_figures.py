"""A run's dynamics -> figures as SVG text: terms with their errors, what selection acts on,
diversity, descent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap

from evoprompt.dynamics.account import GenerationAccount, half_widths
from evoprompt.dynamics.genealogy import Tree
from evoprompt.records import SURVIVE
from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    MINT,
    ORANGE,
    PURPLE,
    YELLOW,
    finish,
    new_axes,
    svg,
)

#: Of fitness, without the ends that cannot be seen on a dark page or on a white one.
SCALE = ListedColormap(colormaps["viridis"](np.linspace(0.25, 0.9, 256)))
#: The parts of a run's change, by the name of the term; drift and expected selection are named
#: where they are known.
PARTS = {
    "reproduction/selection": ("selection in reproduction", BLUE),
    "transmission": ("transmission by operators", ORANGE),
    "racing/selection": ("selection in the race", MINT),
    "survival/selection": ("selection in survival", GREEN),
    "immigration": ("immigration", PURPLE),
    "batch_shift": ("other examples", "#56B4E9"),
    "racing/shift": ("more examples in the race", YELLOW),
    "noise_giveback": ("luck given back", "#E69F00"),
}


def totals_figure(total: Mapping[str, Any], trait: str) -> str:
    """Return a run's terms for one trait, operators below the whole, with 95 % intervals over
    examples where they are known.
    """
    halves = half_widths(total)
    operators = sorted(
        (n for n in total if n.startswith("transmission/") and n != f"transmission/{SURVIVE}"),
        key=lambda n: total[n],
    )
    names = ["change", *(n for n in PARTS if abs(total.get(n, 0.0)) > 1e-12), *operators]
    figure, axes = new_axes(height=0.27 * len(names) + 0.8, left=0.34)
    shown = names[::-1]
    axes.barh(
        range(len(shown)),
        [total[name] for name in shown],
        color=[_part_color(name) for name in shown],
        height=0.65,
        xerr=[halves.get(name, np.nan) for name in shown],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    labels = [
        PARTS[n][0] if n in PARTS else n.removeprefix("transmission/").replace("_", " ")
        for n in shown
    ]
    axes.set_yticks(range(len(names)), labels)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel(f"change of mean {trait.replace('_', ' ')} over the run")
    return svg(figure)


def _part_color(name: str) -> str:
    if name.startswith("transmission/"):
        return GREY
    return "black" if name == "change" else PARTS[name][1]


def drift_figure(lines: Sequence[GenerationAccount], trait: str = "fitness") -> str | None:
    """Return selection in reproduction by generation, realised and expected, with a band of 1.96
    standard deviations of drift; None if unknown.
    """
    stages = [
        (line.generation, line.price[trait].reproduction) for line in lines if trait in line.price
    ]
    rows = [
        (number, stage, stage.expected) for number, stage in stages if stage.expected is not None
    ]
    if not rows:
        return None
    figure, axes = new_axes()
    x, expected = np.array([number for number, _, _ in rows]), np.array([e for _, _, e in rows])
    variance = [v for _, stage, _ in rows if (v := stage.drift_variance) is not None]
    if len(variance) == len(rows):
        half = 1.96 * np.sqrt(variance)
        axes.fill_between(
            x,
            expected - half,
            expected + half,
            color=BLUE,
            alpha=0.3,
            linewidth=0,
            label="95 % of drift",
        )
    realised = [stage.selection for _, stage, _ in rows]
    axes.plot(x, expected, color=BLUE, marker=".", label="expected of the scheme")
    axes.plot(x, realised, color=ORANGE, marker=".", linestyle="none", label="realised")
    axes.axhline(0, color="black", linewidth=0.6)
    return finish(figure, axes, f"selection on {trait.replace('_', ' ')}")


def weights_figure(
    weights: Mapping[str, float], errors: Mapping[str, float] | None, label: str
) -> str:
    """Return one bar for each trait, the strongest on top."""
    names = sorted(weights, key=lambda n: abs(weights[n]))
    figure, axes = new_axes(height=0.24 * len(names) + 0.8, left=0.34)
    spread = [1.96 * errors[n] for n in names] if errors else None
    axes.barh(
        range(len(names)),
        [weights[n] for n in names],
        color=BLUE,
        height=0.65,
        xerr=spread,
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axes.set_yticks(range(len(names)), [n.replace("_", " ") for n in names])
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel(label)
    return svg(figure)


def diversity_figure(lines: Sequence[GenerationAccount]) -> str:
    """Return the probability that two of the selected differ, what chance alone would leave, and
    the same for the founders they descend from.
    """
    figure, axes = new_axes()
    x = [line.generation for line in lines]
    curves = (
        ("difference", "different policies", BLUE),
        ("founder_difference", "different founders", ORANGE),
        ("neutral", "by chance alone", GREY),
    )
    for key, label, color in curves:
        shares = (line.diversity[key] for line in lines)
        values = [np.nan if share is None else share for share in shares]
        axes.plot(
            x,
            values,
            color=color,
            marker=".",
            linestyle="--" if key == "neutral" else "-",
            label=label,
        )
    axes.set_ylim(-0.03, 1.03)
    return finish(figure, axes, "probability that two differ")


def tree_figure(tree: Tree) -> str:
    """Return the genealogy of the last selected births: a line for each policy's life, from its
    parent's; the fittest one's line is strong.
    """
    place = _places(tree)
    height = min(12.0, 0.16 * len(set(place.tolist())) + 1.2)
    figure, axes = new_axes(height=height)
    for node in range(len(tree.birth_ids)):
        strong = bool(tree.on_best_line[node])
        color, width = (ORANGE, 1.8) if strong else (GREY, 0.8)
        axes.plot(
            [tree.generation[node], tree.last_generation[node]],
            [place[node]] * 2,
            color=color,
            linewidth=width,
            zorder=2 + strong,
        )
        parent = int(tree.parent[node])
        if parent >= 0:
            born, above = tree.generation[node], tree.generation[node] - 1
            axes.plot(
                [above, born],
                [place[parent], place[node]],
                color=color,
                linewidth=width,
                zorder=2 + strong,
            )
    shown = axes.scatter(tree.generation, place, c=tree.fitness, s=20, cmap=SCALE, zorder=4)
    figure.colorbar(shown, ax=axes, label="fitness", pad=0.01)
    axes.set_yticks([])
    axes.set_xlabel("generation")
    return svg(figure)


def _places(tree: Tree) -> np.ndarray:
    """Return a row for each node: leaves one below the other in the order of a walk, the others at
    the mean of their children.
    """
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent.tolist()):
        children.setdefault(parent, []).append(node)
    place = np.zeros(len(tree.birth_ids))
    row = 0
    stack = [(root, False) for root in reversed(children.get(-1, []))]
    while stack:
        node, done = stack.pop()
        own = children.get(node, [])
        if not own:
            place[node], row = row, row + 1
        elif done:
            place[node] = float(np.mean([place[c] for c in own]))
        else:
            stack += [(node, True), *((c, False) for c in reversed(own))]
    return place
