"""How often an operator's child beats its parents, and by how much: over all that were born, never
over those that survived.

Knows traits, parentage and operators. Does not know prompts or models.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.clusters import ClusterSums, Pair, common_traits, root_variance, varied
from evoprompt.dynamics.population import Births
from evoprompt.stats.resampling import wilson_interval


@dataclass(frozen=True, slots=True)
class Evolvability:
    """How one operator's children compare with their parents, all that were born being counted."""

    num_children: int
    num_better: int  #: strictly better than the best parent
    num_clusters: int  #: parents, or groups of them where there are more than `MAX_CLUSTERS`
    mean_effect: float  #: mean of child minus mid-parent
    #: of `mean_effect`, clustered on parents; None with fewer than `MIN_CLUSTERS`
    standard_error: float | None

    @property
    def share_better(self) -> float:
        """Return the share of children that are strictly better than their best parent."""
        return self.num_better / self.num_children

    def confidence_interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return Wilson's interval for `share_better`; it takes children as independent, and is too
        narrow where siblings are alike.
        """
        return wilson_interval(self.num_better, self.num_children, alpha)


@dataclass(frozen=True, slots=True)
class Gain:
    """A birth by an operator, on the examples that all births of its generation were measured on
    first.
    """

    operator: str
    policy_id: str
    parent_ids: tuple[str, ...]  #: its parents' policy ids
    gain: float  #: its fitness less that of its best parent
    examples: int | None  #: their number; None where it is not told


def paired_gains(before: Births, births: Births, fitness: str = "fitness") -> tuple[Gain, ...]:
    """Return what each birth that has parents gained, but survivors, in the order of the lineage.

    Args:
        before: the generation of the parents, and `births`, on one measurement
            (`remeasured.on_one_measurement`).
        births: those that were born, survivors or not.
        fitness: the trait.

    Raises:
        ValueError: as `common_traits`.
    """
    _, z, after = common_traits(before, births, (fitness,))
    gain = after[:, 0] - _best_parent(births, z[:, 0])
    parents: list[list[str]] = [[] for _ in births.policy_ids]
    for child, parent in zip(births.child.tolist(), births.parent.tolist(), strict=True):
        parents[child].append(before.policy_ids[parent])
    return tuple(
        Gain(
            births.operator_names[births.operator[i]],
            births.policy_ids[i],
            tuple(parents[i]),
            float(gain[i]),
            births.examples,
        )
        for i in varied(births).tolist()
    )


def _best_parent(births: Births, parental: Floats) -> Floats:
    """Return the trait of each birth's best parent, shape (birth,); -inf without parents."""
    best = np.full(len(births), -np.inf)
    np.maximum.at(best, births.child, parental[births.parent])
    return best


def evolvability(pairs: Iterable[Pair], fitness: str = "fitness") -> dict[str, Evolvability]:
    """Return by operator how children compare with their parents in fitness, pooled over the pairs,
    which may be a stream.

    All births that have parents count, but survivors. An operator without children is absent.

    Raises:
        ValueError: as `common_traits`.

    Source: Altenberg 1994 (share of offspring better than their parents).
    """
    counts = EvolvabilityCounts(fitness)
    for before, births in pairs:
        counts.add(before, births)
    return counts.result()


class EvolvabilityCounts:
    """`evolvability`, pair by pair."""

    def __init__(self, fitness: str = "fitness") -> None:
        self._fitness = fitness
        self._sums, self._better = ClusterSums(), dict[str, int]()

    def add(self, before: Births, births: Births) -> None:
        """Add the next pair."""
        _, z, after = common_traits(before, births, (self._fitness,))
        children = varied(births)
        effect = after[children] - births.mid_parent(z)[children]
        self._sums.add(before, births, children, np.stack([np.ones_like(effect), effect], axis=2))
        best = _best_parent(births, z[:, 0])
        wins = births.operator[children[after[children, 0] > best[children]]]
        for operator, count in zip(
            births.operator_names,
            np.bincount(wins, minlength=len(births.operator_names)).tolist(),
            strict=True,
        ):
            self._better[operator] = self._better.get(operator, 0) + count

    def result(self) -> dict[str, Evolvability]:
        """Return the comparison of all pairs so far."""
        result = {}
        for operator, own in self._sums:
            n, mean = int(own.total[0, 0]), float(_mean(own.total)[0])
            error = root_variance(own.variance(_mean)[0], own.num_clusters)
            result[operator] = Evolvability(
                n, self._better[operator], own.num_clusters, mean, error
            )
        return result


def _mean(sums: Floats) -> Floats:
    n, total = np.moveaxis(sums, -1, 0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
