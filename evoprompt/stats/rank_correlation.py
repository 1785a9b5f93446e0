"""Whether one number ranks policies as another does."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh
from statistics import NormalDist

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.stats.significance import mid_ranks

NUM_SUBSETS = 200  #: of the examples, for the standard error


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """The rank correlation of two numbers over the same policies, each a mean over examples."""

    value: float  #: Spearman's
    ci: tuple[float, float] | None  #: over examples; None where it is undefined
    kendall: float  #: Kendall's tau-b, which counts pairs
    num_policies: int
    num_examples: int


def spearman(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rank correlation: Pearson's of the ranks, ties having the mean of theirs.

    Undefined, None, for fewer than three pairs, and where one of the two does not vary. Source:
    Spearman 1904.
    """
    if len(first) < 3:
        return None
    a, b = mid_ranks(first), mid_ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = sqrt(float((a**2).sum() * (b**2).sum()))
    return max(-1.0, min(1.0, float((a * b).sum()) / scale)) if scale > 0 else None


def kendall(first: Floats, second: Floats) -> float | None:
    """Return Kendall's tau-b: pairs in one order less pairs in opposite orders, over
    sqrt(pairs untied in the first * pairs untied in the second).

    Undefined, None, as `spearman`. Source: Kendall 1945.
    """
    if len(first) < 3:
        return None
    ranks = mid_ranks(first), mid_ranks(second)
    a, b = (np.sign(np.subtract.outer(r, r)) for r in ranks)
    scale = sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None


def rank_correlation(
    first: Floats, second: Floats, rng: np.random.Generator, alpha: float = 0.05
) -> RankCorrelation | None:
    """Return the rank correlation of two numbers' means over the examples.

    With r Spearman's, z the normal quantile at 1 - alpha/2 and s the standard error of r by the
    jackknife that leaves d = n/4 examples out, s^2 = (n - d)/d times the variance of r over
    `NUM_SUBSETS` random ones, the interval is tanh(atanh r -+ z s / (1 - r^2)). It is about other
    examples, for these policies; it is undefined for fewer than four examples and where r is -1
    or 1. The whole is undefined, None, for fewer than three policies, and where one of the two
    does not vary.

    Args:
        first: shape (policy, example).
        second: of the same policies on the same examples.
        rng: draws the examples that are left out.
        alpha: the interval covers 1 - alpha approximately.

    Source: Shao and Wu 1989 (one example at a time fails where ranks have ties).
    """
    value = spearman(first.mean(axis=1), second.mean(axis=1))
    pairs = kendall(first.mean(axis=1), second.mean(axis=1))
    if value is None or pairs is None:
        return None
    num, ends = first.shape[1], None
    if num >= 4 and abs(value) < 1:
        error = _standard_error(first, second, rng)
        half = NormalDist().inv_cdf(1 - alpha / 2) * error / (1 - value**2)
        ends = (tanh(atanh(value) - half), tanh(atanh(value) + half))
    return RankCorrelation(value, ends, pairs, *first.shape)


def _standard_error(first: Floats, second: Floats, rng: np.random.Generator) -> float:
    """Return Spearman's standard error over examples; a subset in which one of the two does not
    vary counts as 0.
    """
    num = first.shape[1]
    left_out, found = num // 4, []
    for _ in range(NUM_SUBSETS):
        kept = rng.permutation(num)[left_out:]
        found.append(spearman(first[:, kept].mean(axis=1), second[:, kept].mean(axis=1)) or 0.0)
    return sqrt((num - left_out) / left_out * float(np.var(found)))
