"""Parents by the examples on which they are best."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, Expectation, SimulatedScheme


class ParetoExamples(SimulatedScheme):
    """Draws in proportion to the number of examples on which a candidate is the best, or ties with
    it. Who is best nowhere where a fitter one is not as good is left out.

    Source: Agrawal et al. 2025 (GEPA), whose fronts of instances these are.
    """

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return one candidate for each slot, independently."""
        weights = front_counts(candidates).tolist()
        return random.choices(range(len(weights)), weights=weights, k=num)

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the closed form; slots are independent.

        Raises:
            ValueError: there is no candidate, or a fitness is NaN or infinite.
        """
        candidates.check()
        counts = front_counts(candidates)
        return Expectation(counts / counts.sum(), "closed form", None, "independent", num)


def front_counts(candidates: Candidates) -> NDArray[np.float64]:
    """Return on how many examples each candidate is among the best, shape (candidate,); 0 for one
    that has company on all of them, by candidates that are not left out themselves. The least fit
    are looked at first.
    """
    cases = candidates.case_fitness
    best = cases == cases.max(axis=0)  # (candidate, example)
    kept = best.any(axis=1)
    for index in np.argsort(candidates.fitness, kind="stable"):
        others = kept.copy()
        others[index] = False
        if kept[index] and best[others][:, best[index]].any(axis=0).all():
            kept[index] = False
    counts: NDArray[np.float64] = (best & kept[:, None]).sum(axis=1).astype(np.float64)
    return counts
