"""Price's equation: why the mean of a trait changed, exactly.

A generation is two stages that add up. Reproduction: the selected births of the generation before
-> every birth, survivors by the operator `survive`. Survival: every birth -> the selected ones,
which is selection alone. One equation over both at once is exact too, but it would judge each
operator by the children that survived.

Where births are measured on rungs, all on the first examples and some of them on more, the stage of
reproduction is on the first examples, of all births, and the parents are measured again there. On
the way to the last number of examples there are two terms more for each: who went on, which is
selection, and how the mean of those changed on more examples. Survival is among those that were
measured on the last.

Knows traits, parentage and operators. Does not know prompts, models, where a trait was measured, or
who logs the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.remeasured import remeasured_for
from evoprompt.dynamics.slots import slots_variance
from evoprompt.records import MIGRATE, SURVIVE


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
    #: the same weighted by reproductive success: selected luck that did not come again; where the
    #: new examples are some of the old ones in a random order, its mean is 0
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
class RungTerms:
    """The births that were measured on one number of examples, between reproduction and survival;
    with A those on this number, B on the one before and C on the next.
    """

    examples: int
    #: mean over A of what the trait is here less what it was on the number before, shape (trait,);
    #: None on the first number
    shift: Floats | None
    #: mean over C of the trait here less that over A; None on the last number, for that is survival
    selection: SelectionTerms | None

    @property
    def explained(self) -> Floats:
        """The sum of the parts."""
        chosen = None if self.selection is None else self.selection.total
        total: Floats = np.sum([p for p in (self.shift, chosen) if p is not None], axis=0)
        return total


@dataclass(frozen=True, slots=True)
class GenerationTerms:
    """The change of every trait's mean from the selected births of one generation to those of the
    next, in two stages, and on the rungs between them.
    """

    trait_names: tuple[str, ...]
    reproduction: ReproductionTerms
    survival: SelectionTerms
    change: Floats
    rungs: tuple[RungTerms, ...] = ()  #: ascending; none where all births were measured alike

    @property
    def residual(self) -> Floats:
        """What all parts leave unexplained: rounding only, about 1e-16 of the traits' size."""
        rest = self.change - self.reproduction.explained - self.survival.total
        return np.asarray(rest - np.sum([r.explained for r in self.rungs], axis=0))


def generation_terms(before: Births, births: Births) -> GenerationTerms:
    """Return the terms of every trait that both generations have, on all rungs and where the
    parents were measured again.

    Args:
        before: the generation before; those of it that were not selected are left out.
        births: all births of the next, survivors included.

    Raises:
        ValueError: a parent was not selected, no birth has parents (the stage is a restart,
            selection is undefined), none is selected, or the parents are not known on the examples
            that all births were measured on.
    """
    before = remeasured_for(before, births)
    names = _names(before, births)
    z, after = _columns(before, names), _columns(births, names)
    if not births.selected.any():
        raise ValueError(
            f"no birth of generation {births.generation} is selected, so survival is undefined"
        )
    reproduction = _reproduction(before, births, z, _columns(births.first, names), names)
    change = after[births.selected].mean(axis=0) - z[before.selected].mean(axis=0)
    survival, rungs = survival_terms(births, names), rung_terms(births, names)
    return GenerationTerms(names, reproduction, survival, change, rungs)


def restart_terms(before: Births, births: Births) -> GenerationTerms:
    """Return the terms of a generation none of whose births has parents: all that is new in them
    came in from outside, and nobody was selected to be a parent.

    Raises:
        ValueError: none is selected.
    """
    names = _names(before, births)
    z, zero = _columns(before, names)[before.selected].mean(axis=0), np.zeros(len(names))
    came = _columns(births.first, names).mean(axis=0) - z
    change = _columns(births, names)[births.selected].mean(axis=0) - z
    nobody = SelectionTerms(zero, zero, zero, 1)
    reproduction = ReproductionTerms(nobody, None, {}, came, came)
    survival, rungs = survival_terms(births, names), rung_terms(births, names)
    return GenerationTerms(names, reproduction, survival, change, rungs)


def survival_terms(births: Births, names: tuple[str, ...]) -> SelectionTerms:
    """Return the selection among the births that were measured on the greatest number of
    examples.
    """
    last, chances = births.last, births.survival_probability
    known = chances is not None and np.isfinite(chances[last]).all()
    return selection_terms(
        births.selected[last].astype(np.float64),
        _columns(births, names)[last],
        births.island[last],
        chances[last] if known and chances is not None else None,
    )


def rung_terms(births: Births, names: tuple[str, ...]) -> tuple[RungTerms, ...]:
    """Return the terms of each number of examples, ascending; none where there is only one."""
    if births.rungs is None:
        return ()
    columns = [births.trait_names.index(name) for name in names]
    traits, measured = births.rungs.traits[:, :, columns], births.rungs.measured
    found = []
    for r, number in enumerate(births.rungs.examples):
        here, shift, selection = measured[r], None, None
        if r > 0:
            shift = (traits[r] - traits[r - 1])[here].mean(axis=0)
        if r + 1 < len(measured):
            goes_on = measured[r + 1][here].astype(np.float64)
            selection = selection_terms(goes_on, traits[r][here], births.island[here])
        found.append(RungTerms(number, shift, selection))
    return tuple(found)


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

    A survivor is a birth of its own with certainty, and so is a migrant. The other births' shares
    are drawn with probabilities p: E[w] = survivors + p sum(shares). Drift is sum_s a_s x_s / |D|
    less its mean, over the slots, with the drawn shares a: its variance is `slots_variance` /
    |D|^2.
    """
    p = before.selection_probability
    if p is None:
        return None, None
    p = np.where(before.selected, p, 0.0)
    certain = births.is_operator(SURVIVE) | births.is_operator(MIGRATE)
    drawn = ~certain[births.child]
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
    return np.where(before.selected[:, None], again - z, 0.0)


def _names(before: Births, births: Births) -> tuple[str, ...]:
    """Return the traits that both generations have, on every rung and where the parents were
    measured again.
    """
    lacking: set[str] = set()
    if births.rungs is not None:
        gaps = np.isnan(births.rungs.traits) & births.rungs.measured[:, :, None]
        lacking |= _named(births, np.asarray(gaps.any(axis=(0, 1))))
    if before.remeasured is not None:
        known = np.isfinite(before.remeasured[before.selected])
        every, some = np.asarray(known.all(axis=0)), np.asarray(known.any(axis=0))
        if (some & ~every).any() or not some.any():
            raise ValueError(
                f"some parents of generation {before.generation} were measured again and others "
                "not: batch shift and transmission are confounded; measure all of them again or "
                "none"
            )
        lacking |= _named(before, ~some)
    return tuple(n for n in births.trait_names if n in before.trait_names and n not in lacking)


def _named(births: Births, which: NDArray[np.bool_]) -> set[str]:
    return {name for name, w in zip(births.trait_names, which, strict=True) if w}


def _columns(births: Births, names: tuple[str, ...]) -> Floats:
    return births.traits[:, [births.trait_names.index(name) for name in names]]
