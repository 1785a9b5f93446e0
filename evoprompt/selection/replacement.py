"""Schemes by what a candidate is: who was there before, who is new, and whose place a newcomer
takes. They leave nothing to chance, and are meant for survival; where nobody is new, the fittest
come first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, Expectation


class RankedScheme(ABC):
    """Takes the first candidates of an order, of which a subclass has the first part of the key;
    those that tie are ordered by fitness, then as they stand.
    """

    chooses_set: ClassVar[bool] = True

    @abstractmethod
    def rank(self, candidates: Candidates, settings: SelectionConfig) -> NDArray[np.int64]:
        """Return a number for each candidate, shape (candidate,); the least come first."""

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the first, everybody as often as fits first."""
        rank = self.rank(candidates, settings)
        order = np.lexsort((-candidates.fitness, rank)).tolist()
        rounds, rest = divmod(num, len(order))
        return [int(i) for i in order * rounds + order[:rest]]

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return what one call gives; slots are filled as a set."""
        return Expectation(
            self._counts(candidates, num, settings) / num, "closed form", None, "set", num
        )

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return what one call gives."""
        return Expectation(self._counts(candidates, num, settings), "closed form", None, "set", num)

    def _counts(
        self, candidates: Candidates, num: int, settings: SelectionConfig
    ) -> NDArray[np.float64]:
        drawn = self.draw(candidates, num, settings)
        return np.bincount(drawn, minlength=len(candidates.fitness)).astype(np.float64)


class Incumbents(RankedScheme):
    """Who was there before stays; the fittest newcomers take the places that are left. With as many
    founders as places every child is a founder's, so that the search is random.
    """

    def rank(self, candidates: Candidates, settings: SelectionConfig) -> NDArray[np.int64]:
        """Return 0 for incumbents, and 1 for newcomers."""
        return candidates.is_new.astype(np.int64)


class Newcomers(RankedScheme):
    """Newcomers stay, and take the places of the worst who were there before: the replacement of a
    steady state.
    """

    def rank(self, candidates: Candidates, settings: SelectionConfig) -> NDArray[np.int64]:
        """Return 0 for newcomers, and 1 for incumbents."""
        return 1 - candidates.is_new.astype(np.int64)


class OneToOne(RankedScheme):
    """A newcomer takes the place of its first parent if it is fitter, as in differential evolution
    and deterministic crowding. Where there are more places than families, the fittest others take
    them; where there are fewer, the fittest families stay.

    Source: Storn and Price 1997; Mahfoud 1995.
    """

    def rank(self, candidates: Candidates, settings: SelectionConfig) -> NDArray[np.int64]:
        """Return 0 for the fittest of each family, the incumbent of those that tie, and 1 for the
        others.
        """
        size = len(candidates.fitness)
        place = np.arange(size) if candidates.replaces is None else candidates.replaces
        # a newcomer whose parent is not among them is a family by itself
        family = np.where(place < 0, size + np.arange(size), place)
        return losers(family, candidates)


def losers(group: NDArray[np.int64], candidates: Candidates) -> NDArray[np.int64]:
    """Return 0 for the fittest of each group, the incumbent of those that tie, and 1 for the
    others; both of shape (candidate,).
    """
    size = len(group)
    order = np.lexsort((np.arange(size), candidates.is_new, -candidates.fitness))
    _, first = np.unique(group[order], return_index=True)
    rank = np.ones(size, dtype=np.int64)
    rank[order[first]] = 0
    return rank
