"""Price's equation: why the mean of a trait changed, exactly.

A generation is two stages that add up. Reproduction: the selected births of the generation before
-> every birth, survivors by the operator `survive`. Survival: every birth -> the selected ones,
which is selection alone. One equation over both at once is exact too, but it would judge each
operator by the children that survived.

Knows traits, parentage and operators. Does not know prompts, models, where a trait was measured, or
who logs the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.slots import slots_variance
from evoprompt.records import SURVIVE


@dataclass(frozen=True, slots=True)
class SelectionTerms:
    """One stage's selection and its parts, each of shape (trait,): `total` = `expected` + `drift` =
    `between` + `within` islands.
    """

    total: Floats
    between: Floats
    within: Floats
    num_islands: int
    expected: Floats | None = None  #: None where the scheme's probabilities are not known
    drift: Floats | None = None
    #: of `drift`; None where it is not known how the slots are filled
    drift_variance: Floats | None = None


@dataclass(frozen=True, slots=True)
class Remeasurement:
    """What scoring the parents again brought to light, each of shape (trait,); both are zero where
    nothing was measured again.
    """

    shift: Floats  #: mean change of the parents' trait: the new examples are easier or harder
    #: the same weighted by reproductive success: selected luck that did not come again
    giveback: Floats


@dataclass(frozen=True, slots=True)
class ReproductionTerms:
    """The selected births of one generation -> all births of the next, each of shape (trait,)."""

    selection: SelectionTerms
    remeasurement: Remeasurement | None
    transmission: Mapping[str, Floats]  #: by operator
    immigration: Floats
    change: Floats

    @property
    def explained(self) -> Floats:
        """The sum of the parts."""
        parts = [self.selection.total, *self.transmission.values(), self.immigration]
        if self.remeasurement is not None:
            parts += [self.remeasurement.shift, self.remeasurement.giveback]
        total: Floats = np.sum(parts, axis=0)
        return total


@dataclass(frozen=True, slots=True)
class GenerationTerms:
    """The change of every trait's mean from the selected births of one generation to those of the
    next, in two stages.
    """

    trait_names: tuple[str, ...]
    reproduction: ReproductionTerms
    survival: SelectionTerms
    change: Floats

    @property
    def residual(self) -> Floats:
        """What both stages leave unexplained: rounding only, about 1e-16 of the traits' size."""
        return self.change - self.reproduction.explained - self.survival.total


def generation_terms(before: Births, births: Births) -> GenerationTerms:
    """Return the terms of every trait that both generations have.

    Args:
        before: the generation before; those of it that were not selected are left out.
        births: all births of the next, survivors included.

    Raises:
        ValueError: a parent was not selected, no birth has parents (the stage is a restart,
            selection is undefined), or none is selected.
    """
    names = tuple(name for name in births.trait_names if name in before.trait_names)
    z, after = _columns(before, names), _columns(births, names)
    if not births.selected.any():
        raise ValueError(
            f"no birth of generation {births.generation} is selected, so survival is undefined"
        )
    survival = selection_terms(
        births.selected.astype(np.float64), after, births.island, births.survival_probability
    )
    change = after[births.selected].mean(axis=0) - z[before.selected].mean(axis=0)
    return GenerationTerms(names, _reproduction(before, births, z, after, names), survival, change)


def _reproduction(
    before: Births, births: Births, z: Floats, after: Floats, names: tuple[str, ...]
) -> ReproductionTerms:
    """Split the change of the means over reproduction.

    With z the parents' trait, d what measuring it again adds, w their reproductive success (the
    column sums of the shares A), z' the births' trait, D the births that have parents and m the
    fraction that have none:

        mean(z') - mean(z) = (1-m) [ cov(w, z) / mean(w) + mean(d) + cov(w, d) / mean(w)
                                     + mean_D(z' - A (z + d)) ]
                             + m [ mean_immigrants(z') - mean(z) ]

    The covariance is that of the whole population (ddof = 0): with ddof = 1 the identity fails by N
    / (N - 1).

    Source: Price 1970 and 1972; split by operator after Potter, Bassett and De Jong 2003; members
    without ancestors after Kerr and Godfrey-Smith 2009.
    """
    _check_parents(before, births)
    has_parents, chosen = births.has_parents, before.selected
    native, success = float(has_parents.mean()), births.success(len(before))
    again = _again(before, z, names)
    parental = z if again is None else z + again
    effect = (after - births.mid_parent(parental))[has_parents]  # (native birth, trait)

    expected, variance = _expected(before, births, z)
    terms = selection_terms(
        success[chosen],
        z[chosen],
        before.island[chosen],
        None if expected is None else expected[chosen],
    )
    remeasurement = None
    if again is not None:
        giveback = selection_terms(success[chosen], again[chosen], before.island[chosen]).total
        remeasurement = Remeasurement(native * again[chosen].mean(axis=0), native * giveback)
    mean = z[chosen].mean(axis=0)
    immigration = (
        (1 - native) * (after[~has_parents].mean(axis=0) - mean)
        if native < 1
        else np.zeros(len(names))
    )
    return ReproductionTerms(
        _scaled(terms, native, variance),
        remeasurement,
        _by_operator(births, effect, native),
        immigration,
        after.mean(axis=0) - mean,
    )


def _check_parents(before: Births, births: Births) -> None:
    if not births.has_parents.any():
        raise ValueError(
            f"no birth of generation {births.generation} has parents, so selection is undefined; "
            f"it is a restart"
        )
    dead = np.flatnonzero(~before.selected[births.parent])
    if dead.size:
        child = births.birth_ids[births.child[dead[0]]]
        parent = before.birth_ids[births.parent[dead[0]]]
        raise ValueError(
            f"birth {child} names the parent {parent}, which was not selected: only selected "
            f"births are parents"
        )


def _by_operator(births: Births, effect: Floats, native: float) -> dict[str, Floats]:
    """Return transmission, shape (trait,), by operator; `effect` is that of the births that have
    parents.
    """
    operator = births.operator[births.has_parents]
    share = native / len(effect)
    return {
        name: share * effect[operator == i].sum(axis=0)
        for i, name in enumerate(births.operator_names)
        if (operator == i).any()
    }


def selection_terms(
    weight: Floats, traits: Floats, island: Integers, expected: Floats | None = None
) -> SelectionTerms:
    """Return the change of the traits' means by weights alone, and its parts.

    With W = weight / sum(weight), N cov(W, z) = sum W z - mean z (ddof = 0). With q_g the share of
    island g in the population, W_g its share of the weight and Z_g its mean trait: between = sum_g
    (W_g - q_g) Z_g, within = the rest. With E the expected weight in the same way, expected = N
    cov(E, z) and drift = N cov(W - E, z), whose mean over repeated selection is 0 (shares are used
    since E[w / mean w] is not E[w] / E[mean w]).

    Args:
        weight: shape (individual,), not negative, not all zero.
        traits: shape (individual, trait).
        island: of each individual; islands without individuals do not count.
        expected: expected weight, shape (individual,).

    Source: Price 1972 (levels); Rice 2008 (expected part and drift).
    """
    share, deviation = weight / weight.sum(), traits - traits.mean(axis=0)
    total = share @ deviation
    _, group = np.unique(island, return_inverse=True)
    size = np.bincount(group).astype(np.float64)
    means = (
        np.stack(
            [np.bincount(group, deviation[:, t]) / size for t in range(traits.shape[1])], axis=1
        )
        if traits.shape[1]
        else deviation[:0]
    )
    between = (np.bincount(group, share) - size / size.sum()) @ means if traits.shape[1] else total
    if expected is None:
        return SelectionTerms(total, between, total - between, len(size))
    hoped = (expected / expected.sum()) @ deviation
    return SelectionTerms(total, between, total - between, len(size), hoped, total - hoped)


def _scaled(terms: SelectionTerms, native: float, variance: Floats | None) -> SelectionTerms:
    """Return selection among the parents as a part of the change among all births, of which
    `native` have parents.
    """
    return SelectionTerms(
        native * terms.total,
        native * terms.between,
        native * terms.within,
        terms.num_islands,
        None if terms.expected is None else native * terms.expected,
        None if terms.drift is None else native * terms.drift,
        None if variance is None else native**2 * variance,
    )


def _expected(before: Births, births: Births, z: Floats) -> tuple[Floats | None, Floats | None]:
    """Return expected reproductive success, shape (parent,), and the variance of drift, shape
    (trait,); None for what is not known.

    A survivor is a birth of its own with certainty. The other births' shares are drawn with
    probabilities p: E[w] = survivors + p sum(shares). Drift is sum_s a_s x_s / |D| less its mean,
    over the slots, with the drawn shares a: its variance is `slots_variance` / |D|^2.
    """
    p = before.selection_probability
    if p is None:
        return None, None
    p = np.where(before.selected, p, 0.0)
    drawn = ~births.is_operator(SURVIVE)[births.child]
    survivors = np.bincount(births.parent[~drawn], births.share[~drawn], len(before))
    expected = survivors + p * births.share[drawn].sum()
    if before.filling is None:
        return expected, None
    variance = slots_variance(p, z, births.share[drawn], before.filling, before.num_slots)
    return expected, variance / int(births.has_parents.sum()) ** 2


def _again(before: Births, z: Floats, names: tuple[str, ...]) -> Floats | None:
    """Return what measuring the parents again adds to their traits, or None where they were not
    measured again.
    """
    if before.remeasured is None:
        return None
    again = before.remeasured[:, [before.trait_names.index(name) for name in names]]
    if not np.isfinite(again[before.selected]).all():
        raise ValueError(
            f"some parents of generation {before.generation} were measured again and others not: "
            f"batch shift and transmission are confounded; "
            "measure all of them again or none"
        )
    return np.where(before.selected[:, None], again - z, 0.0)


def _columns(births: Births, names: tuple[str, ...]) -> Floats:
    return births.traits[:, [births.trait_names.index(name) for name in names]]
