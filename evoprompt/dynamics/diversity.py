"""How much diversity the selected births of a generation have, and how much chance alone would have
left.

Knows policies' ids, founders and parentage. Does not know fitness, prompts or models.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Integers
from evoprompt.dynamics.population import Births

Indices = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Diversity:
    """Diversity among the M selected births of one generation.

    A neutral population keeps H_t = H_0 (1 - 1/M_t) / (1 - 1/M_0) prod (1 - c): for constant size
    H_0 prod (1 - 1/N_e). More is left than that where operators make new policies, less where
    success is inherited; of founders, no new ones come but immigrants.
    """

    generation: int
    num_selected: int  #: M
    num_policies: int
    #: H: probability that two draws with replacement are different policies, 1 - sum p^2
    difference: float
    #: H expected by chance alone from the first generation's; None after an undefined c
    neutral: float | None
    num_founders: int  #: founders and immigrants that the selected descend from
    #: H of founders: probability that two draws descend from different ones
    founder_difference: float
    #: c: probability that two distinct births meet in one parent; None with fewer than two that
    #: have parents
    meeting: float | None

    @property
    def effective_size(self) -> float | None:
        """Return N_e = 1 / c; None where c is undefined, or is 0 and the size infinite."""
        return 1 / self.meeting if self.meeting else None


def meeting_probability(births: Births) -> float | None:
    """Return c, the probability that two distinct selected births, each following one parent by its
    shares, follow the same.

    Of the M selected births that have parents, with shares A and w_i = sum_j A_ji: c = sum_i (w_i^2
    - sum_j A_ji^2) / (M (M - 1)). Its inverse is the inbreeding effective size of haploids; for
    single parents it is (N k - 1) / (k - 1 + V / k), k and V being the mean and the variance (ddof
    = 0) of the N parents' successes, and N on average where each birth draws its parent at random.
    None where M < 2.

    Source: Crow and Denniston 1988; Crow and Kimura 1970.
    """
    counted = births.selected[births.child]
    child, parent, share = births.child[counted], births.parent[counted], births.share[counted]
    num = int((births.has_parents & births.selected).sum())
    if num < 2:
        return None
    # two links between the same two are one
    _, pair = np.unique(child * (int(parent.max()) + 1) + parent, return_inverse=True)
    return float(
        (np.bincount(parent, share) ** 2).sum() - (np.bincount(pair, share) ** 2).sum()
    ) / (num * (num - 1))


def next_diversity(births: Births, founder: Indices, before: Diversity | None) -> Diversity:
    """Return the diversity of a generation.

    Args:
        births: the generation.
        founder: the founder that each birth descends from, shape (birth,).
        before: of the generation before; None for the first.
    """
    chosen = np.flatnonzero(births.selected)
    policies = np.fromiter(Counter(births.policy_ids[i] for i in chosen).values(), dtype=np.int64)
    founders = np.unique(founder[chosen], return_counts=True)[1]
    difference, num = probability_of_difference(policies), len(chosen)
    meeting = None if before is None else meeting_probability(births)
    neutral: float | None = difference
    if before is not None:
        neutral = _expected(before, meeting, num)
    return Diversity(
        births.generation,
        num,
        len(policies),
        difference,
        neutral,
        len(founders),
        probability_of_difference(founders),
        meeting,
    )


def probability_of_difference(counts: Integers) -> float:
    """Return the probability that two draws with replacement are of different kinds, 1 - sum p^2; 0
    where there is nothing to draw.
    """
    return 1 - float(((counts / counts.sum()) ** 2).sum()) if counts.size else 0.0


def _expected(before: Diversity, meeting: float | None, num: int) -> float | None:
    if min(num, before.num_selected) < 2:
        return 0.0  # one birth is no diversity
    if before.neutral is None or meeting is None:
        return None
    return before.neutral * (1 - meeting) * (1 - 1 / num) / (1 - 1 / before.num_selected)
