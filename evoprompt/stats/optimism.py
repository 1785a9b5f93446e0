"""The winner's curse: by how much the best of K measured policies looks better than it is.

A policy's mean over the examples is its true mean plus luck, and the best of many has more luck
than others. What all policies share, the examples' difficulty, favours none, and is left out: the
luck is that of a policy's own residuals (`stats.two_way`). K counts every policy that was ever
measured, whether it was selected or not.

A bootstrap of the examples that picks the winner again in each resample finds too little, since the
luck of the examples at hand stays in every resample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.stats.two_way import two_way

#: Random halves that `split_half_optimism` takes the mean of.
NUM_SPLITS = 100


@dataclass(frozen=True, slots=True)
class Optimism:
    """How much of a policy's mean is luck, in units of the cases."""

    value: float
    standard_error: float  #: of the luck about this value
    num: int  #: policies that were measured


@cache
def expected_maximum(num: int) -> float:
    """Return m_K, the expected greatest of K independent standard normals: 0 for K = 1.

    9 less the integral of Phi(x)^K over [-9, 9], by the trapezoidal rule (error below 1e-5). Raises
    ValueError for K < 1.
    """
    if num < 1:
        raise ValueError(f"expected_maximum({num}): expected at least one")
    x = np.linspace(-9, 9, 3601)
    below = np.array([NormalDist().cdf(v) for v in x]) ** num
    return 9 - float(np.trapezoid(below, x))


def analytic_optimism(cases: Floats) -> float | None:
    """Return the luck to be expected of the best of K policies that met the same examples.

        sigma^2 / sqrt(sigma^2 + tau^2) m_K

    sigma^2 is the variance of the luck in a policy's mean (of the two-way residuals, over n),
    tau^2 that between the policies' true means, both normal. Undefined, None, for one policy or
    fewer than two examples, and where policies met different examples.

    Args:
        cases: shape (policy, example).
    """
    found = two_way(cases) if not np.isnan(cases).any() else None
    if found is None:
        return None
    luck = found.noise / cases.shape[1]
    total = luck + found.spread
    return luck / sqrt(total) * expected_maximum(len(cases)) if total > 0 else 0.0


def shrinkage_optimism(cases: Floats, winner: int | None = None) -> Optimism | None:
    """Return how much of one policy's mean is luck, given everything that was measured.

        (1 - tau^2 / (tau^2 + sigma^2 / m_i)) (mean over its m_i examples of x_ie - b_e)

    Each policy has the standard error of its own number of examples m_i. How the m_i came about
    does not matter as long as it followed from what was measured, so it holds for races too, where
    the formula of `analytic_optimism` does not. Undefined, None, for one policy or fewer than two
    examples.

    Args:
        cases: shape (policy, example), NaN where not measured.
        winner: index of the policy; None is the one with the greatest mean among those that met
            the most examples.

    Source: Efron 2011 (selection does not bias what is expected given all data).
    """
    found = two_way(cases)
    if found is None:
        return None
    if winner is None:
        means = np.where(found.num_examples == found.num_examples.max(), found.excess, -np.inf)
        winner = int(np.argmax(means))
    luck = found.excess[winner] - found.expected[winner]
    return Optimism(float(luck), float(found.standard_error[winner]), len(cases))


def split_half_optimism(cases: Floats, rng: np.random.Generator) -> float | None:
    """Return the luck of the best on random halves of the examples, as the other halves show it,
    over sqrt(2): the mean over `NUM_SPLITS`.

    The winner of n/2 examples is the winner of noise that is sqrt(2) times as great; where policies
    differ truly, the rest is still somewhat too much. Undefined, None, for one policy or fewer than
    four examples, and where policies met different examples.

    Args:
        cases: shape (policy, example).
        rng: draws the halves.
    """
    num, examples = cases.shape
    if num < 2 or examples < 4 or np.isnan(cases).any():
        return None
    centered = cases - cases.mean(axis=0)
    found = []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(examples)
        first = centered[:, order[: examples // 2]].mean(axis=1)
        second = centered[:, order[examples // 2 : 2 * (examples // 2)]].mean(axis=1)
        best = int(np.argmax(first))
        found.append(first[best] - second[best])
    return float(np.mean(found)) / sqrt(2)
