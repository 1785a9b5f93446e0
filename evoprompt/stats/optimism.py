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
from evoprompt.stats.two_way import TwoWay, two_way

#: Random halves that `split_half_optimism` takes the mean of.
NUM_SPLITS = 100
#: Values that a true mean may have, and steps towards the shape of their spread; with more of these
#: the estimate follows chance.
GRID, STEPS = 121, 100


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

    Its mean over its m_i examples, their difficulty b_e taken off, less what is expected of it:

        y_i - E[u_i | y],  y_i = mean_e (x_ie - b_e) = u_i + N(0, sigma^2 / m_i)

    How the true u_i are spread is estimated too: from the normal of `two_way` on by `STEPS` steps
    of the EM algorithm for a spread of any shape, on a grid. Populations are seldom normal: where
    half of the policies are hopeless and the others alike, the normal one finds half of the luck.
    All is luck where the policies do not differ, tau^2 = 0.

    Each policy has the standard error of its own number of examples. How the m_i came about does
    not matter as long as it followed from what was measured, so it holds for races too, where the
    formula of `analytic_optimism` does not. Simulated (8 or 50 policies; normal, in two groups, at
    a ceiling; a race) it is within a fifth of the true mean luck for 50, within a quarter for 8,
    mostly below it. Undefined, None, for one policy or fewer than two examples.

    Args:
        cases: shape (policy, example), NaN where not measured.
        winner: index of the policy; None is the one with the greatest mean among those that met
            the most examples.

    Source: Efron 2011 (selection does not bias what is expected given all data); Laird 1978 (a
    spread of any shape).
    """
    found = two_way(cases)
    if found is None:
        return None
    if winner is None:
        means = np.where(found.num_examples == found.num_examples.max(), found.excess, -np.inf)
        winner = int(np.argmax(means))
    values, chances = _true_value(found, winner)
    mean = float(values @ chances)
    error = sqrt(float((values - mean) ** 2 @ chances))
    return Optimism(float(found.excess[winner]) - mean, error, len(cases))


def _true_value(found: TwoWay, policy: int) -> tuple[Floats, Floats]:
    """Return what a policy's u_i may be, and how likely each is given all that was measured, shape
    (grid,) each.
    """
    y = found.excess
    if found.spread == 0 or found.noise == 0:
        return np.array([0.0 if found.spread == 0 else y[policy]]), np.ones(1)
    grid = np.linspace(y.min(), y.max(), GRID)
    distance = (y[:, None] - grid) ** 2 * found.num_examples[:, None] / found.noise
    # the nearest value has likelihood 1: no row is 0 throughout
    likelihood = np.exp(-0.5 * (distance - distance.min(axis=1, keepdims=True)))
    spread = np.exp(-0.5 * grid**2 / found.spread)
    for _ in range(STEPS):
        chances = likelihood * spread
        spread = (chances / chances.sum(axis=1, keepdims=True)).mean(axis=0)
    own = likelihood[policy] * spread
    return grid, own / own.sum()


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
