"""Price's equation: why the mean of a trait changed, exactly.

A generation is two stages that add up. Reproduction: the selected births of the generation before -> every birth, survivors by
the operator `survive`. Survival: every birth -> the selected ones, which is selection alone. One equation over both at once is exact too,
but it would judge each operator by the children that survived.

Knows traits, parentage and operators. Does not know prompts, models, where a trait was measured, or who logs the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import LineageEntry

#: Parentage shares of a birth must sum to 1 within this; more is an error in the lineage, not rounding.
SHARE_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """The parts of the change of one trait's mean over one stage, in the trait's own unit; they add up to `change`."""

    selection: float
    transmission: Mapping[str, float]  #: by operator
    immigration: float
    change: float

    @property
    def residual(self) -> float:
        """What the parts leave unexplained: rounding only, about 1e-16 of the traits' size."""
        return self.change - fsum([self.selection, *self.transmission.values(), self.immigration])


def price_terms(
    parent_traits: NDArray[np.float64],
    birth_traits: NDArray[np.float64],
    shares: NDArray[np.float64],
    operators: Sequence[str],
) -> PriceTerms:
    """Split the change of a trait's mean into selection, transmission by operator, and immigration.

    With z the parents' trait, w their reproductive success (the column sums of the shares A), z' the births' trait, D the
    births that have parents and m the fraction that have none:

        mean(z') - mean(z) = (1-m) [ cov(w, z) / mean(w) + mean_D(z' - A z) ] + m [ mean_immigrants(z') - mean(z) ]

    The covariance is that of the whole population (ddof = 0): with ddof = 1 the identity fails by N / (N - 1).

    Args:
        parent_traits: z, shape (parent,).
        birth_traits: z', shape (birth,).
        shares: A, shape (birth, parent), each row the parents' shares in a birth: it sums to 1, or to 0 for an immigrant.
        operators: the name of each birth's operator, length birth.

    Raises:
        ValueError: a trait is not finite, shapes disagree, a row of shares sums to neither 0 nor 1, or no birth has parents
            (selection is then undefined).

    Source: Price 1970 and 1972; split by operator after Potter, Bassett and De Jong 2003; members without ancestors after
    Kerr and Godfrey-Smith 2009.
    """
    has_parents = _check(parent_traits, birth_traits, shares, operators)
    native = float(has_parents.mean())  # 1 - m
    success = shares.sum(axis=0)  # (parent,)
    parent_mean = parent_traits.mean()
    effect = (birth_traits - shares @ parent_traits)[has_parents]  # (native birth,)

    deviation = (success - success.mean()) * (parent_traits - parent_mean)
    selection = native * float(deviation.mean() / success.mean())
    names = np.asarray(operators)[has_parents]
    transmission = {str(name): native * float(effect[names == name].sum() / effect.size) for name in dict.fromkeys(names)}
    newcomers = birth_traits[~has_parents]
    immigration = (1 - native) * float(newcomers.mean() - parent_mean) if newcomers.size else 0.0
    return PriceTerms(selection, transmission, immigration, float(birth_traits.mean() - parent_mean))


@dataclass(frozen=True, slots=True)
class GenerationTerms:
    """The change of one trait's mean from the selected births of one generation to those of the next, in two stages."""

    reproduction: PriceTerms
    survival: float  #: selection among all births: mean of the selected ones - mean of all
    change: float

    @property
    def residual(self) -> float:
        """What both stages leave unexplained."""
        stage = self.reproduction
        return self.change - fsum([stage.selection, *stage.transmission.values(), stage.immigration, self.survival])


def generation_terms(parents: Sequence[LineageEntry], births: Sequence[LineageEntry]) -> dict[str, GenerationTerms]:
    """Return the terms of every trait that all entries have, by name.

    Args:
        parents: the selected births of one generation (others are left out).
        births: all births of the next, survivors included.

    Raises:
        ValueError: a parent is missing, no birth is selected, or as `price_terms`.
    """
    parents = [p for p in parents if p.selected]
    index = {p.member.birth.birth_id: i for i, p in enumerate(parents)}
    shares = np.zeros((len(births), len(parents)))
    for row, entry in enumerate(births):
        for parent_id, share in zip(entry.member.birth.parent_ids, entry.member.birth.shares, strict=True):
            if parent_id not in index:
                raise ValueError(
                    f"birth {entry.member.birth.birth_id} names the parent {parent_id}, which is not among the selected births before it"
                )
            shares[row, index[parent_id]] += share
    operators = [b.member.birth.operator for b in births]
    selected = np.array([b.selected for b in births])
    if not selected.any():
        raise ValueError("no birth is selected, so survival is undefined")
    names = [n for n in births[0].member.evaluation.traits if all(n in e.member.evaluation.traits for e in (*parents, *births))]
    terms = {}
    for name in names:
        before = np.array([p.member.evaluation.traits[name] for p in parents])
        after = np.array([b.member.evaluation.traits[name] for b in births])
        survival = float(after[selected].mean() - after.mean())
        change = float(after[selected].mean() - before.mean())
        terms[name] = GenerationTerms(price_terms(before, after, shares, operators), survival, change)
    return terms


def _check(
    parent_traits: NDArray[np.float64], birth_traits: NDArray[np.float64], shares: NDArray[np.float64], operators: Sequence[str]
) -> NDArray[np.bool_]:
    expected = (len(birth_traits), len(parent_traits))
    if shares.shape != expected or len(operators) != len(birth_traits):
        raise ValueError(
            f"shares has shape {shares.shape} and operators length {len(operators)}; expected {expected} (birth, parent) and {expected[0]}"
        )
    if not (np.isfinite(parent_traits).all() and np.isfinite(birth_traits).all()):
        raise ValueError("a trait is NaN or infinite: leave failed evaluations out of the lineage before asking for its Price terms")
    totals = shares.sum(axis=1)
    has_parents: NDArray[np.bool_] = totals != 0
    off = np.flatnonzero(has_parents & (np.abs(totals - 1) > SHARE_TOLERANCE))
    if off.size:
        raise ValueError(f"the shares of birth {off[0]} sum to {totals[off[0]]:.12g}; a birth's shares sum to 1, an immigrant's to 0")
    if not has_parents.any():
        raise ValueError("no birth has parents, so selection is undefined; log the stage as a restart instead")
    return has_parents
