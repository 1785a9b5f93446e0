"""Intervals, exact rank tests and effect sizes for a handful of replicates.

Knows numbers only. Values that are equal within TIE_TOLERANCE of the greatest are ties; infinite
values (a target that was never reached) have ranks like others, and tie with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb, exp, inf, isfinite, lgamma, log, log1p, pi, sqrt
from statistics import NormalDist

import numpy as np

from evoprompt.arrays import Floats, Integers

#: Up to this many values a rank test is exact: every count stays below 2^53, so that the sums of
#: counts are exact too.
EXACT_LIMIT = 50
TIE_TOLERANCE = 1e-12
#: Replicates from which on an interval of their mean is shown: of fewer it is so wide that it tells
#: nothing, and leaves what is possible.
LEAST_INTERVAL = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of replicates; the ends of its interval are None where it is undefined (fewer than two
    values).
    """

    value: float
    low: float | None
    high: float | None
    num: int

    @property
    def ends(self) -> tuple[float, float] | None:
        """The ends of the interval, where it is defined and wider than rounding makes it."""
        if self.low is None or self.high is None:
            return None
        wide = self.high - self.low > TIE_TOLERANCE * max(abs(self.low), abs(self.high))
        return (self.low, self.high) if wide else None


@dataclass(frozen=True, slots=True)
class RankTest:
    """The outcome of a two-sided rank test."""

    p_value: float
    attainable: float  #: the least p-value that so many values can give
    exact: bool


def mean_interval(values: Sequence[float] | Floats, alpha: float = 0.05) -> Estimate:
    """Return the mean and Student's interval for it: mean -+ t(1 - alpha/2, n - 1) s / sqrt(n), s
    with ddof = 1.

    The interval is undefined for one value. Raises ValueError without values. Source: Student 1908.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("mean_interval: no values")
    mean = float(array.mean())
    if array.size == 1:
        return Estimate(mean, None, None, 1)
    half = t_quantile(1 - alpha / 2, array.size - 1) * float(array.std(ddof=1)) / sqrt(array.size)
    return Estimate(mean, mean - half, mean + half, array.size)


def difference_interval(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, alpha: float = 0.05
) -> Estimate:
    """Return the difference of two independent means, first - second, with Welch's interval; `num`
    counts both samples.

    With v = s^2/n of each sample: degrees of freedom (v1 + v2)^2 / (v1^2/(n1-1) + v2^2/(n2-1)). The
    interval is undefined where a sample has one value, and has no width where neither sample
    varies. Raises ValueError where a sample has none. Source: Welch 1947.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.size == 0 or b.size == 0:
        raise ValueError(
            f"difference_interval: {a.size} and {b.size} values; both samples need one"
        )
    value, num = float(a.mean() - b.mean()), a.size + b.size
    if min(a.size, b.size) == 1:
        return Estimate(value, None, None, num)
    va, vb = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    if va + vb == 0:
        return Estimate(value, value, value, num)
    degrees = 1 / ((va / (va + vb)) ** 2 / (a.size - 1) + (vb / (va + vb)) ** 2 / (b.size - 1))
    half = t_quantile(1 - alpha / 2, degrees) * sqrt(va + vb)
    return Estimate(value, value - half, value + half, num)


@cache
def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution, for a probability in [0.5, 1) and degrees of
    freedom above 0, whole or not.

    P(T > t) = I_x(degrees/2, 1/2) / 2 with x = degrees / (degrees + t^2). Its logarithm is concave
    in log t, so Newton's steps on these two end at the one solution, from above after the first.
    Raises ValueError outside these ranges. Source: Abramowitz and Stegun 1964, eq. 26.7.1 and
    26.5.27.
    """
    if not 0.5 <= probability < 1 or not degrees > 0:
        raise ValueError(
            f"t_quantile({probability}, {degrees}): expected a probability in [0.5, 1) and "
            f"degrees above 0"
        )
    if probability == 0.5:
        return 0.0
    half, t = degrees / 2, NormalDist().inv_cdf(probability)
    scale = lgamma(half + 0.5) - lgamma(half) - log(pi * degrees) / 2
    for _ in range(100):
        tail = _incomplete_beta(degrees / (degrees + t * t), half, 0.5) / 2
        if tail == 0:
            return inf  # of so few degrees that no number is as large
        density = exp(scale - (half + 0.5) * log1p(t * t / degrees))
        step = log(tail / (1 - probability)) * tail / (t * density)
        t *= exp(step)
        if abs(step) < 1e-10:
            break  # the next is its square
    return t


def signed_rank(differences: Sequence[float] | Floats) -> RankTest:
    """Return Wilcoxon's two-sided signed-rank test that paired differences are symmetric about 0.

    Differences of 0 are left out; ties have the mean of their ranks. Up to EXACT_LIMIT differences
    the p-value is exact, given the ties: all 2^n signs are equally likely. Beyond it is normal,
    with correction for ties and continuity. `attainable` is 2 / 2^n of all n differences. Raises
    ValueError without differences. Source: Wilcoxon 1945; Pratt and Gibbons 1981, section 3.3.
    """
    given = _settled(differences)
    if given.size == 0:
        raise ValueError("signed_rank: no differences")
    attainable = min(1.0, 2.0 ** (1 - given.size))
    kept = given[given != 0]
    num = kept.size
    if num == 0:
        return RankTest(1.0, attainable, True)
    ranks = _doubled_ranks(np.abs(kept))
    positive, total = int(ranks[kept > 0].sum()), int(ranks.sum())
    if num > EXACT_LIMIT:
        return RankTest(
            _normal_p(positive - total / 2, float((ranks**2).sum()) / 4, 1.0), attainable, False
        )
    counts = np.zeros(total + 1)
    counts[0] = 1
    for rank in ranks:
        counts[rank:] = counts[rank:] + counts[: total + 1 - rank]
    return RankTest(_two_sided(counts, positive), attainable, True)


def mann_whitney(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> RankTest:
    """Return the two-sided Mann-Whitney test that two independent samples come from one
    distribution.

    Ties have the mean of their ranks. Up to EXACT_LIMIT values in all the p-value is exact, given
    the ties: all ways to choose who is in the first sample are equally likely. Beyond it is normal,
    with correction for ties and continuity. `attainable` is 2 / C(n1 + n2, n1). Raises ValueError
    where a sample is empty. Source: Mann and Whitney 1947.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.size == 0 or b.size == 0:
        raise ValueError(f"mann_whitney: {a.size} and {b.size} values; both samples need one")
    num = a.size + b.size
    attainable = min(1.0, 2 / comb(num, a.size))
    ranks = _doubled_ranks(_settled(np.concatenate([a, b])))
    observed, total = int(ranks[: a.size].sum()), int(ranks.sum())
    if num > EXACT_LIMIT:
        variance = a.size * b.size / (num * (num - 1)) * float(((ranks - total / num) ** 2).sum())
        return RankTest(
            _normal_p(observed - a.size * total / num, variance, 1.0), attainable, False
        )
    counts = np.zeros((a.size + 1, total + 1))  # (chosen so far, doubled rank sum)
    counts[0, 0] = 1
    for rank in ranks:
        counts[1:, rank:] = counts[1:, rank:] + counts[:-1, : total + 1 - rank]
    return RankTest(_two_sided(counts[a.size], observed), attainable, True)


def superiority(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> float:
    """Return P(first > second) + P(equal) / 2 over all pairs: 1/2 where neither tends to be
    greater.

    Raises ValueError where a sample is empty. Source: Vargha and Delaney 2000, eq. 1 (A).
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.size == 0 or b.size == 0:
        raise ValueError(f"superiority: {a.size} and {b.size} values; both samples need one")
    values = _settled(np.concatenate([a, b]))
    left, right = values[: a.size, None], values[None, a.size :]
    return float((left > right).mean() + (left == right).mean() / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, so that all together have the error rate of one.

    The k-th smallest of m (k from 0) becomes max over j <= k of min(1, (m - j) p_j). Source: Holm
    1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def seeds_needed(alpha: float, num_tests: int, *, paired: bool) -> int:
    """Return how many replicates each group needs before Holm's least adjusted p-value can be
    `alpha` or less.

    Raises ValueError where alpha is not in (0, 1) or there is no test.
    """
    if not 0 < alpha < 1 or num_tests < 1:
        raise ValueError(
            f"seeds_needed({alpha}, {num_tests}): expected alpha in (0, 1) and at least one test"
        )
    num = 1
    while num_tests * 2 / (2**num if paired else comb(2 * num, num)) > alpha:
        num += 1
    return num


def mid_ranks(values: Sequence[float] | Floats) -> Floats:
    """Return ranks from 1, shape (value,); ties have the mean of theirs. Raises ValueError for
    NaN.
    """
    return _doubled_ranks(_settled(values)) / 2


def _settled(values: Sequence[float] | Floats) -> Floats:
    """Make equal what differs by rounding alone."""
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise ValueError("a rank test cannot order NaN; leave out what is undefined")
    finite = np.abs(array[np.isfinite(array)])
    scale = float(finite.max()) if finite.size else 0.0
    return np.round(array / scale / TIE_TOLERANCE) if scale > 0 else array


def _doubled_ranks(values: Floats) -> Integers:
    """Return twice the mid-ranks, from 2: whole numbers, ties or not."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((2 * np.cumsum(counts) - counts + 1)[inverse], dtype=np.int64)


def _two_sided(counts: Floats, observed: int) -> float:
    """Return twice the smaller tail, at most 1."""
    tail = min(float(counts[: observed + 1].sum()), float(counts[observed:].sum()))
    return min(1.0, 2 * tail / float(counts.sum()))


def _normal_p(deviation: float, variance: float, continuity: float) -> float:
    if variance == 0:
        return 1.0
    z = max(abs(deviation) - continuity, 0.0) / sqrt(variance)
    return min(1.0, 2 * NormalDist().cdf(-z))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b), the regularised incomplete beta function, by its continued fraction
    (Lentz's method).
    """
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x)) / a
    # upper: ratio of numerators, lower: that of denominators
    fraction, upper, lower = 1.0, inf, 1.0
    for step in range(1, 1000):
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1 / (1 + term * lower)
        upper = 1 + (term / upper if isfinite(upper) else 0.0)
        fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-16:
            break
    return front * fraction
