"""Sums over children by operator, and what they are without the children of one parent, over as
many generations as there are.

Children of one parent are alike beyond what its measured trait says, for they share the error of
its measurement. A standard error that takes them as independent is too small. The sums kept here
are few, so a lineage may be longer than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.population import Births
from evoprompt.records import SURVIVE

#: Parents beyond this number share clusters, in turn; the standard error from 64 clusters has
#: itself a relative error of about 9 %.
MAX_CLUSTERS = 64
#: Fewer clusters of siblings give no standard error: the quantile of an interval would be a guess.
MIN_CLUSTERS = 4


Pair = tuple[Births, Births]  #: a generation and the next


@dataclass(frozen=True, slots=True)
class OperatorSums:
    """Sums of rows over one operator's children. A family is the children whose parents are in the
    same clusters.
    """

    total: Floats  #: over all children, shape (trait, column)
    #: over the children with a parent in the cluster, shape (cluster, trait, column)
    cluster: Floats
    family: Floats  #: shape (family, trait, column)
    num_parents: Integers  #: clusters that a family's parents are in, shape (family,)

    @property
    def num_clusters(self) -> int:
        """How many clusters there are: the parents, or `MAX_CLUSTERS` where there are more."""
        return len(self.cluster)

    def variance(self, estimate: Callable[[Floats], Floats]) -> Floats:
        """Return the jackknife's variance of an estimate from sums, shape (trait,); NaN where it
        needs one cluster's children to exist.

        With D_a the change of the estimate when cluster a's children are left out, D_f when family
        f's are, and k_f the clusters of its parents:

            (G-1)/G max( sum_a D_a^2 - sum_f (k_f - 1) D_f^2, sum_f D_f^2 )

        The subtraction counts each family once; two families that share one of their parents still
        count as related. For children of one parent it is the plain jackknife. For more than two
        parents it is approximate.

        Args:
            estimate: from sums of shape (..., trait, column) to values of shape (..., trait).

        Source: Cameron, Gelbach and Miller 2011, and Aronow, Samii and Assenova 2015 (overlapping
        clusters); Bell and McCaffrey 2002 (jackknife).
        """
        whole = estimate(self.total)
        by_cluster = (estimate(self.total - self.cluster) - whole) ** 2
        by_family = (estimate(self.total - self.family) - whole) ** 2
        counted = by_cluster.sum(axis=0) - ((self.num_parents - 1)[:, None] * by_family).sum(axis=0)
        return np.asarray(
            (1 - 1 / self.num_clusters) * np.maximum(counted, by_family.sum(axis=0)),
            dtype=np.float64,
        )


class ClusterSums:
    """Adds generation after generation. A parent that survives stays in its cluster for its whole
    life.
    """

    def __init__(self) -> None:
        # clusters and families: keys, sums
        self._sums: dict[str, tuple[tuple[Integers, Floats], tuple[Integers, Floats]]] = {}
        # of every birth of the generation added last; -1: it has none yet
        self._cluster = np.zeros(0, dtype=np.int64)
        self._ids: tuple[str, ...] = ()
        self._num_seen = 0

    def __iter__(self) -> Iterator[tuple[str, OperatorSums]]:
        for operator, ((_, cluster), (key, family)) in self._sums.items():
            yield operator, OperatorSums(family.sum(axis=0), cluster, family, key % MAX_CLUSTERS)

    def add(self, before: Births, births: Births, children: Integers, rows: Floats) -> None:
        """Add some children of a generation.

        Args:
            before: the generation of their parents. Where it is not the generation added last, a
                new lineage begins.
            births: the generation of the children.
            children: their indices, shape (child,).
            rows: shape (child, trait, column).
        """
        if before.birth_ids != self._ids:
            self._cluster = np.full(len(before), -1)
        place = np.full(len(births), -1)
        place[children] = np.arange(len(children))
        kept = place[births.child] >= 0
        child, parent = place[births.child[kept]], births.parent[kept]
        self._name_clusters(parent)
        # a child is in each cluster once
        link = np.unique(child * MAX_CLUSTERS + self._cluster[parent])
        child, cluster = link // MAX_CLUSTERS, link % MAX_CLUSTERS
        first = np.flatnonzero(np.diff(child, prepend=-1))
        num_parents = np.diff(first, append=len(child))
        family = (
            cluster[first] * MAX_CLUSTERS + cluster[first + num_parents - 1]
        ) * MAX_CLUSTERS + np.minimum(num_parents, MAX_CLUSTERS - 1)
        operator = births.operator[children]
        for i in np.unique(operator):
            own = operator[child] == i
            clusters, families = (
                _grouped(cluster[own], rows[child[own]]),
                _grouped(family[operator == i], rows[operator == i]),
            )
            old = self._sums.get(births.operator_names[i])
            self._sums[births.operator_names[i]] = (
                (clusters, families)
                if old is None
                else (_merged(old[0], clusters), _merged(old[1], families))
            )
        self._follow_survivors(births)

    def _name_clusters(self, parent: Integers) -> None:
        new = np.unique(parent[self._cluster[parent] < 0])
        self._cluster[new] = (self._num_seen + np.arange(len(new))) % MAX_CLUSTERS
        self._num_seen += len(new)

    def _follow_survivors(self, births: Births) -> None:
        survived = births.is_operator(SURVIVE)[births.child]
        following = np.full(len(births), -1)
        following[births.child[survived]] = self._cluster[births.parent[survived]]
        self._cluster, self._ids = following, births.birth_ids


def varied(births: Births) -> Integers:
    """Return which births an operator made of parents: neither survivors nor immigrants; indices,
    shape (child,).
    """
    return np.flatnonzero(births.has_parents & ~births.is_operator(SURVIVE))


def common_traits(
    before: Births, births: Births, names: Sequence[str] | None
) -> tuple[tuple[str, ...], Floats, Floats]:
    """Return names and values, (parent, trait) and (birth, trait), of the traits that a pair has in
    common, or of those named.

    Raises:
        ValueError: no birth has parents, a parent was not selected, or a named trait is missing.
    """
    if not births.child.size:
        raise ValueError(
            f"no birth of generation {births.generation} has parents, so selection is undefined; "
            f"it is a restart"
        )
    if not before.selected[births.parent].all():
        raise ValueError(
            f"a parent of generation {births.generation} was not selected: only selected births "
            f"are parents"
        )
    names = (
        tuple(name for name in births.trait_names if name in before.trait_names)
        if names is None
        else tuple(names)
    )
    missing = [
        name for name in names if name not in births.trait_names or name not in before.trait_names
    ]
    if missing:
        raise ValueError(
            f"generation {before.generation} or {births.generation} has no trait {missing[0]!r}; "
            f"name traits that all generations have"
        )
    z, after = (
        b.traits[:, [b.trait_names.index(name) for name in names]] for b in (before, births)
    )
    return names, z, after


def root_variance(variance: float, num_clusters: int) -> float | None:
    """Return the standard error, or None where there are fewer than `MIN_CLUSTERS` or the variance
    is NaN.
    """
    return sqrt(variance) if num_clusters >= MIN_CLUSTERS and variance >= 0 else None


def _merged(old: tuple[Integers, Floats], new: tuple[Integers, Floats]) -> tuple[Integers, Floats]:
    """Add new sums to old ones, both sorted by key; the old ones are changed in place where they
    have all keys.
    """
    place = np.minimum(np.searchsorted(old[0], new[0]), len(old[0]) - 1)
    known = old[0][place] == new[0]
    old[1][place[known]] += new[1][known]
    if known.all():
        return old
    key = np.concatenate([old[0], new[0][~known]])
    order = np.argsort(key)
    return key[order], np.concatenate([old[1], new[1][~known]])[order]


def _grouped(key: Integers, rows: Floats) -> tuple[Integers, Floats]:
    """Add up the rows of each key; keys come back sorted."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return key[first], np.asarray(np.add.reduceat(rows[order], first, axis=0), dtype=np.float64)
