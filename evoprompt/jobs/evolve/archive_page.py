"""A run's lines -> the section of its page that shows its archive: a grid of cells, and how good
the fittest policy in each is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.report.markup import section
from evoprompt.report.plots import new_axes, svg
from evoprompt.selection.elites import Cells, elites


def archive_sections(
    lines: Sequence[GenerationLine], lineage: Sequence[Mapping[str, Any]], cells: Cells
) -> list[str]:
    """Return the section; none where cells do not decide who survives."""
    if not lines or (last := lines[-1].archive) is None:
        return []
    traits = [
        row["traits"]
        for row in lineage
        if row["selected"] and row["generation"] == lines[-1].generation
    ]
    grid = best_by_cell(traits, cells)
    note = (
        f"The fitness of the fittest policy in each cell after the last generation: {last.filled} "
        f"cells are filled, {last.coverage:.0%} of all; after the founders it was "
        f"{lines[0].archive.filled if lines[0].archive else 0}."
    )
    if len(cells) > 2:
        note += " Of cells that differ in further traits the fittest is shown."
    return [section("Archive", _figure(grid, cells), note)]


def best_by_cell(traits: Sequence[Mapping[str, float]], cells: Cells) -> Floats:
    """Return the greatest fitness by cell of the first two traits, shape (cell of the first, cell
    of the second); NaN where there is no policy.
    """
    columns = {name: np.array([t[name] for t in traits]) for name in ("fitness", *cells)}
    shape = [len(bounds) + 1 for bounds in cells.values()][:2]
    grid: Floats = np.full([*shape, 1][:2], np.nan)
    for place, fitness in elites(columns, cells).items():
        at = (*place, 0)[:2]
        grid[at] = np.fmax(grid[at], fitness)
    return grid


def _figure(grid: Floats, cells: Cells) -> str:
    (first, bounds), *more = list(cells.items())[:2]
    figure, axes = new_axes(height=0.45 * len(grid) + 1.0, left=0.2)
    axes.imshow(grid, aspect="auto", origin="lower", cmap="cividis")
    middle = np.nanmean(grid)
    for (row, column), fitness in np.ndenumerate(grid):
        if np.isfinite(fitness):
            color = "black" if fitness > middle else "white"
            axes.text(column, row, f"{fitness:.3f}", ha="center", va="center", color=color)
    axes.grid(visible=False)
    axes.set_yticks(range(len(grid)), _ranges(bounds))
    axes.set_ylabel(first.replace("_", " "))
    axes.set_xticks(range(grid.shape[1]), _ranges(more[0][1]) if more else [""])
    axes.set_xlabel(more[0][0].replace("_", " ") if more else "")
    return svg(figure)


def _ranges(bounds: Sequence[float]) -> list[str]:
    inner = [f"{a:g} to {b:g}" for a, b in pairwise(bounds)]
    return [f"below {bounds[0]:g}", *inner, f"from {bounds[-1]:g}"]
