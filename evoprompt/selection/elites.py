"""Quality and diversity: a grid over traits, whose cells keep the fittest policy each (MAP-Elites).

The archive is the population itself, so that it stands in the lineage, parents are drawn from it,
and Price's equation holds. It is as large as the population may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.config.evolution import SelectionConfig
from evoprompt.errors import UserError
from evoprompt.selection.base import Candidates
from evoprompt.selection.replacement import RankedScheme, losers

#: Trait -> where its cells end, ascending: n bounds make n + 1 cells, the bound is in the upper.
Cells = Mapping[str, Sequence[float]]


class MapElites(RankedScheme):
    """The fittest of each cell stays, the incumbent of those that tie. Where there are more places
    than filled cells, the fittest others take them; where there are fewer, the fittest elites stay.

    Source: Mouret and Clune 2015.
    """

    def rank(self, candidates: Candidates, settings: SelectionConfig) -> NDArray[np.int64]:
        """Return 0 for the fittest of each cell, and 1 for the others.

        Raises:
            UserError: a trait of the grid is not one of the candidates'.
        """
        known = {"prompt_tokens": candidates.prompt_tokens, **candidates.traits}
        places = cells_of(known, settings.cells)
        shape = [len(bounds) + 1 for bounds in settings.cells.values()]
        return losers(np.ravel_multi_index(tuple(places.T), shape), candidates)


@dataclass(frozen=True, slots=True)
class Archive:
    """What the grid holds after a generation."""

    filled: int  #: cells in which there is a policy
    coverage: float  #: their share of all cells
    #: sum over the filled cells of what the fittest there is better than the worst founder, 0 where
    #: it is not, units of fitness
    qd_score: float


def cells_of(traits: Mapping[str, Floats], cells: Cells) -> NDArray[np.int64]:
    """Return the place of each policy in the grid, shape (policy, trait of the grid).

    Raises:
        UserError: a trait of the grid is not known.
    """
    for name in cells:
        if name not in traits:
            raise UserError(
                f"the grid of map_elites has the trait '{name}', which not every policy of this "
                f"run has; give `cells` of these: {', '.join(sorted(traits))}"
            )
    places = [np.digitize(traits[name], bounds) for name, bounds in cells.items()]
    return np.stack(places, axis=1)


def archive_of(traits: Mapping[str, Floats], cells: Cells, least: float) -> Archive:
    """Return what the grid holds of the selected policies; `least` is the fitness of the worst
    founder.
    """
    best = elites(traits, cells)
    size = prod(len(bounds) + 1 for bounds in cells.values())
    score = sum(max(0.0, fitness - least) for fitness in best.values())
    return Archive(len(best), len(best) / size, score)


def elites(traits: Mapping[str, Floats], cells: Cells) -> dict[tuple[int, ...], float]:
    """Return the fitness of the fittest in each filled cell, by its place."""
    best: dict[tuple[int, ...], float] = {}
    places = cells_of(traits, cells).tolist()
    for place, fitness in zip(map(tuple, places), traits["fitness"].tolist(), strict=True):
        best[place] = max(fitness, best.get(place, fitness))
    return best
