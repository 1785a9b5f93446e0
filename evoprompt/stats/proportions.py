"""Exact tests of proportions, and the binomial distribution that they need.

Knows counts only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evoprompt.arrays import Floats

#: Outcomes whose probabilities differ by less than this part are equally likely: rounding must not
#: decide which are as extreme.
ROUNDING = 1e-7


def binomial_probabilities(num_trials: int, probability: ArrayLike) -> Floats:
    """Return P(k successes) for k = 0, ..., num_trials, shape (*shape of probability, num_trials +
    1).

    Exactly 1 for the certain outcome where the probability is 0 or 1. Raises ValueError for a
    probability outside [0, 1] or negative trials.
    """
    p = np.asarray(probability, dtype=np.float64)[..., None]
    if num_trials < 0 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"binomial_probabilities({num_trials}, {p[..., 0]}): expected 0 or more trials and "
            f"probabilities in [0, 1]"
        )
    k = np.arange(num_trials + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(k == 0, 0.0, k * np.log(p))
        misses = np.where(k == num_trials, 0.0, (num_trials - k) * np.log1p(-p))
    return np.asarray(np.exp(_log_choose(num_trials) + hits + misses), dtype=np.float64)


def binomial_test(num_successes: int, num_trials: int, probability: ArrayLike) -> float:
    """Return the exact two-sided p-value that successes come with this probability, or with one of
    several that are equally likely.

    The probability of all counts that are no more likely than the one observed. It is 1 without
    trials. Raises ValueError for impossible counts or a probability outside [0, 1].
    """
    _check(num_successes, num_trials)
    several = np.unique(np.asarray(probability, dtype=np.float64), return_counts=True)
    likely = binomial_probabilities(num_trials, several[0])
    return _no_more_likely(several[1] @ likely / several[1].sum(), num_successes)


def same_proportion_test(
    first_successes: int, first_trials: int, second_successes: int, second_trials: int
) -> float:
    """Return the exact two-sided p-value that two samples have one proportion, given their
    successes together.

    The probability of all tables with the same margins that are no more likely than the one
    observed (hypergeometric). Its rate of false alarms is at most its level, for any size of
    samples, and below it for small ones. It is 1 where a sample has no trials.

    Raises ValueError for impossible counts. Source: Fisher 1935.
    """
    _check(first_successes, first_trials)
    _check(second_successes, second_trials)
    together = first_successes + second_successes
    least, most = max(0, together - second_trials), min(first_trials, together)
    k = np.arange(least, most + 1)
    log_probability = _log_choose(first_trials)[k] + _log_choose(second_trials)[together - k]
    probability = np.exp(log_probability - log_probability.max())
    return _no_more_likely(probability / probability.sum(), first_successes - least)


def _no_more_likely(probability: Floats, observed: int) -> float:
    """Return the sum of the probabilities that are at most that of the observed outcome, at
    most 1.
    """
    return min(1.0, float(probability[probability <= probability[observed] * (1 + ROUNDING)].sum()))


def _log_choose(n: int) -> Floats:
    """Return ln C(n, k) for k = 0, ..., n."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(log_factorial[n] - log_factorial - log_factorial[::-1], dtype=np.float64)


def _check(num_successes: int, num_trials: int) -> None:
    if not 0 <= num_successes <= num_trials:
        raise ValueError(
            f"{num_successes} successes of {num_trials} trials: expected 0 <= successes <= trials"
        )
