"""How much selection leaves to chance: the variance of the parents' mean trait, in closed form, by
how the parent slots are filled.

A slot is one place for one parent. Filling decides how often each individual comes; then the slots
are dealt to the children at random, and each has its parent's share in a child. Both are chance;
where filling leaves none, dealing still does if shares differ. Knows numbers only: no scheme, no
operators.
"""

from __future__ import annotations

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.population import Filling

#: An expected number of slots this near to a whole number is that number: probabilities are such a
#: number after a division.
WHOLE = 1e-9


def slots_variance(
    probability: Floats,
    traits: Floats,
    shares: Floats,
    filling: Filling,
    num_slots: int | None = None,
) -> Floats:
    """Return the variance of sum_s a_s x_s over repeated selection, shape (trait,), in the traits'
    unit squared.

    With p the `probability` of each individual to fill a slot, z the `traits`, a_s the `shares`
    (slot s has the parent whose trait is x_s), L the slots, V_p = sum p z^2 - (sum p z)^2, T =
    sum_s x_s the total over the slots, and m_a = sum(a) / L:

        independent:  var = V_p sum a^2
        otherwise:    var = m_a^2 var(T) + sum (a - m_a)^2 (L V_p - var(T) / L) / (L - 1)

    The second is the variance of how often each comes, and what dealing the slots in random order
    adds: the sample variance (ddof = 1) of the L traits has the mean (L V_p - var(T) / L) / (L -
    1). With var(T) = L V_p it is the first. var(T) is that of `spaced_total_variance` or
    `set_total_variance`.

    The shares are taken as given. An engine that makes a child from one slot the more often where
    both have the same parent drifts a little less than this says: 0 to 9 % less in populations of
    six with the default operators, by scheme.

    Args:
        probability: shape (individual,); sums to 1.
        traits: shape (individual, trait).
        shares: of the filled slots, shape (slot,).
        filling: see `Filling`.
        num_slots: where more slots were filled than have a share: a child that was made from the
            first of its two parents alone leaves one. None: as many as there are shares.

    Raises:
        ValueError: there are more shares than slots; or as `set_total_variance`.

    Source: Cochran 1977, chapter 2 (the order of a finite population at random).
    """
    num = len(shares) if num_slots is None else num_slots
    if num < len(shares):
        raise ValueError(
            f"slots_variance(num_slots={num}): {len(shares)} parents have a share in a child; "
            f"expected at least as many slots"
        )
    spread: Floats = probability @ (traits - probability @ traits) ** 2
    if filling == "independent" or not len(shares):
        return np.asarray(spread * (shares**2).sum())
    of_total = (spaced_total_variance if filling == "spaced" else set_total_variance)(
        probability, traits, num
    )
    mean = shares.sum() / num
    unequal = ((shares - mean) ** 2).sum() + (num - len(shares)) * mean**2
    # of a single slot `unequal` is 0
    within = np.maximum(num * spread - of_total / num, 0.0) / max(num - 1, 1)
    return np.asarray(mean**2 * of_total + unequal * within)


def spaced_total_variance(probability: Floats, traits: Floats, num_slots: int) -> Floats:
    """Return var(T) of stochastic universal sampling, shape (trait,): the points (u + k) / L, k =
    0..L-1, have one uniform offset u.

    In descending order of p, equals as they come, with C_i = L (p_1 + ... + p_i) and f_i = C_i -
    floor(C_i) for i < N:

        T(u) = const + sum_i (z_i - z_{i+1}) [u <= f_i]

    since floor(C_i) + [u <= f_i] points lie up to i. T has one value between any two neighbours of
    the sorted f, so that the integral over u is a sum. O(N log N).

    Args:
        probability: p, shape (individual,); the order of equals is that in which sampling meets
            them.
        traits: z, shape (individual, trait).
        num_slots: L.

    Source: Baker 1987 (the sampling).
    """
    order = np.argsort(-probability, kind="stable")
    upto = num_slots * np.cumsum(probability[order])[:-1]
    fraction = _fraction(upto, num_slots * len(order) * np.finfo(np.float64).eps)
    steps = -np.diff(traits[order], axis=0)
    by_fraction = np.argsort(fraction)
    totals = np.concatenate(
        [np.cumsum(steps[by_fraction[::-1]], axis=0)[::-1], np.zeros((1, traits.shape[1]))]
    )
    lengths = np.diff(fraction[by_fraction], prepend=0.0, append=1.0)
    return np.asarray(lengths @ (totals - lengths @ totals) ** 2)


def set_total_variance(probability: Floats, traits: Floats, num_slots: int) -> Floats:
    """Return var(T) where everybody comes floor(L p) times, and m of the g others whose L p is not
    whole once more, all sets equally likely.

        var(T) = m (g - m) / (g - 1) var_g(z) var_g with ddof = 0 over these g; 0 where there are
        none

    They are the individuals that are equal to the last that has a slot. Without such ties the set
    is certain.

    Args:
        probability: p, shape (individual,).
        traits: z, shape (individual, trait).
        num_slots: L.

    Raises:
        ValueError: the fractions of L p differ, or do not sum to a whole number: the slots were
            filled otherwise.

    Source: Cochran 1977, chapter 2 (the total of a simple random sample).
    """
    fraction = _fraction(num_slots * probability, WHOLE)
    tied = fraction > 0
    size, chosen = int(tied.sum()), round(float(fraction.sum()))
    if not size:
        return np.zeros(traits.shape[1])
    if np.ptp(fraction[tied]) > WHOLE or abs(float(fraction.sum()) - chosen) > WHOLE * size:
        raise ValueError(
            f"set_total_variance: {num_slots} slots times the probabilities leave "
            f"{fraction[tied]}; a set leaves equals, m of g each"
        )
    return np.asarray(chosen * (size - chosen) / (size - 1) * traits[tied].var(axis=0))


def _fraction(values: Floats, tolerance: float) -> Floats:
    """Return what is left above the next lower whole number, 0 where the nearest one is within the
    tolerance.
    """
    return np.where(np.abs(values - np.rint(values)) <= tolerance, 0.0, values - np.floor(values))
