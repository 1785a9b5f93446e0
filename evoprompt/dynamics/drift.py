"""The self-test of a selection operator: does it leave as much to chance as its probabilities say?

Drift is what selection did beyond its expectation. Its variance is known before it happens, see
`slots`, so over generations sum(drift^2 / variance) tells an operator that does what its name says
from one that does not: a tournament of three that calls itself one of two, an order of candidates
that leaks in, a generator that repeats itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import erfc, exp, fsum, inf, lgamma, log, sqrt

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.price import GenerationTerms

#: Generations from which on too small a statistic counts too. Before, that all drift is 0 or nearly
#: so is likely: parents are few and whole.
SEVERAL = 8
#: In units of the trait. A smaller standard deviation of drift is rounding: all that could be
#: selected have one and the same trait.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class DriftTest:
    """The test over all generations, and each generation's part of it."""

    statistic: float  #: sum of drift^2 / variance
    degrees: int  #: generations whose drift has a variance
    #: two-sided: with several generations too small a statistic is as wrong as too large a one
    p_value: float
    #: drift / sqrt(variance) by generation; None where the variance is 0 or drift is not known
    drift_z: tuple[float | None, ...]
    #: generations that drifted though their variance is 0; the probabilities rule that out, so that
    #: p is 0
    num_impossible: int


def drift_test(drift: Floats, variance: Floats) -> DriftTest | None:
    """Return the test of drift against its closed-form variance, or None where the variance is 0 in
    all generations.

    If the probabilities are right, E[drift^2] = variance in every generation whatever happened
    before, so that the statistic has the mean `degrees` exactly, and approximately the distribution
    chi-square with `degrees`: the more slots are filled by chance, the closer. Slots that are
    spaced or a set leave less to chance, so that the statistic spreads less and a right scheme is
    rejected at 0.05 in 1 to 5 % of the runs. Where nearly all slots are certain to go to one
    individual, as by softmax weights at a temperature far below the spread of fitness, drift is
    nearly always 0 and rarely large: then p means nothing. Simulated probabilities, from B draws,
    add about V_p (sum of drawn shares / births)^2 / B to the variance and so make p too small.

    Args:
        drift: of one trait, shape (generation,).
        variance: of drift, by how the slots were filled, shape (generation,). 0 where nothing is
            left to chance, as a set without ties for children of equal shares: that is no evidence.

    Raises:
        ValueError: shapes differ, a number is not finite, or a variance is negative.
    """
    drift, variance = np.asarray(drift, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if drift.ndim != 1 or drift.shape != variance.shape:
        raise ValueError(
            f"drift_test: drift of shape {drift.shape} and variance of shape {variance.shape}; "
            f"expected (generation,) for both"
        )
    if not (np.isfinite(drift).all() and np.isfinite(variance).all() and (variance >= 0).all()):
        raise ValueError(
            "drift_test: expected finite drift and finite variance that is not negative"
        )
    defined = np.sqrt(variance) > ROUNDING
    impossible = int((~defined & (np.abs(drift) > ROUNDING)).sum())
    degrees = int(defined.sum())
    if degrees + impossible == 0:
        return None
    z = tuple(
        float(d / sqrt(v)) if known else None
        for d, v, known in zip(drift, variance, defined, strict=True)
    )
    statistic = fsum(value * value for value in z if value is not None)
    upper = chi_square_survival(statistic, degrees) if degrees else 1.0
    lower = 1 - upper if degrees >= SEVERAL else 1.0
    p_value = min(1.0, 2 * min(upper, lower))
    return DriftTest(statistic, degrees, 0.0 if impossible else p_value, z, impossible)


def reproduction_drift_test(terms: Iterable[GenerationTerms], trait: str) -> DriftTest | None:
    """Return the test of the parent selection by one trait over generations, or None where no
    generation's drift is known and variable.
    """
    pairs = [_drift(t, trait) for t in terms]
    return drift_test(np.array([d for d, _ in pairs]), np.array([v for _, v in pairs]))


def chi_square_survival(value: float, degrees: int) -> float:
    """Return P(chi-square with `degrees` > value).

    With h = value / 2 and n = degrees, by parts from n = 2 or n = 1 upwards, which is exact for
    whole n:

        even: sum_{a=0,1,...,n/2-1} h^a e^-h / Gamma(a+1); odd: erfc(sqrt h) +
        sum_{a=1/2,3/2,...,n/2-1} h^a e^-h / Gamma(a+1)

    Raises:
        ValueError: a negative or infinite value, or less than one degree of freedom.

    Source: Abramowitz and Stegun 1964, eq. 26.4.4 and 26.4.5.
    """
    if degrees < 1 or not 0 <= value < inf:
        raise ValueError(
            f"chi_square_survival({value}, {degrees}): expected a finite value of at least 0 and "
            f"at least one degree of freedom"
        )
    half = value / 2
    if half == 0:
        return 1.0
    odd = degrees % 2
    terms = [
        exp(a * log(half) - half - lgamma(a + 1))
        for a in (i + odd / 2 for i in range(degrees // 2))
    ]
    return min(1.0, fsum([erfc(sqrt(half)) if odd else 0.0, *terms]))


def _drift(terms: GenerationTerms, trait: str) -> tuple[float, float]:
    """One generation's drift and variance; both 0, which is no evidence, where they are not
    known.
    """
    selection = terms.reproduction.selection
    if (
        trait not in terms.trait_names
        or selection.drift is None
        or selection.drift_variance is None
    ):
        return 0.0, 0.0
    column = terms.trait_names.index(trait)
    return float(selection.drift[column]), float(selection.drift_variance[column])
