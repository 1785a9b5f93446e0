"""How much diversity the selected births of a generation have, and how much chance alone would have
left.

Knows policies' ids, founders, parentage, and of fitness who is fitter. Does not know prompts or
models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
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


@dataclass(slots=True)
class Descent:
    """From which founder each birth of the last generation descends; two generations are known at
    a time, however many there were.
    """

    founder: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.int32))  #: by birth
    num_founders: int = 0  #: immigrants are founders too
    last: Diversity | None = None  #: of the last generation

    def add(self, births: Births, parent: Indices) -> Diversity:
        """Add the next generation; return its diversity.

        Args:
            births: all of the generation.
            parent: the place of the parent that each birth is followed back to, shape (birth,);
                -1 for founders and immigrants.
        """
        known = self.founder[parent] if self.founder.size else -1
        self.founder = np.where(parent < 0, -1, known).astype(np.int32)
        roots = np.flatnonzero(parent < 0)
        self.founder[roots] = self.num_founders + np.arange(len(roots))
        self.num_founders += len(roots)
        self.last = next_diversity(births, self.founder, self.last)
        return self.last

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        last = None if self.last is None else asdict(self.last)
        return {"founder": self.founder.tolist(), "num_founders": self.num_founders, "last": last}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Descent:
        """Return the descent of `to_dict`'s values."""
        last = values["last"]
        founder = np.array(values["founder"], dtype=np.int32)
        return cls(founder, values["num_founders"], None if last is None else Diversity(**last))


def followed(births: Births, parental: Floats) -> tuple[Indices, tuple[Indices, Indices, Floats]]:
    """Return the parent that each birth is followed back to, -1 where there is none, and the links
    of births with several, that one first: the one with the larger share, of equal shares the
    fitter, of equal fitness the first.

    Args:
        births: of one generation.
        parental: fitness of the generation before, shape (parent,).
    """
    order = np.lexsort(
        (
            np.arange(len(births.child)),
            -parental[births.parent],
            -np.round(births.share, 12),
            births.child,
        )
    )
    child, parent, share = (
        births.child[order].astype(np.int32),
        births.parent[order].astype(np.int32),
        births.share[order],
    )
    first = np.flatnonzero(np.diff(child, prepend=-1))
    own = np.full(len(births), -1, dtype=np.int32)
    own[child[first]] = parent[first]
    several = np.bincount(child, minlength=len(births))[child] > 1
    return own, (child[several], parent[several], share[several])


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
