"""What measurements of policies on shared examples say of each policy: an additive model with a
random effect of the policy.

Policies may be measured on different numbers of examples, also where that was decided by what was
measured so far, as a race decides it: the likelihood of all that was measured does not mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats

#: Where the greatest likelihood is looked for: ratios of the variance between policies to that of
#: the noise in a policy's mean; then in which steps of the logarithm, how often refined.
LEAST_RATIO, MOST_RATIO = 1e-4, 1e4
COARSE, REFINED = 13, 25


@dataclass(frozen=True, slots=True)
class TwoWay:
    """A fit of x_ie = b_e + u_i + noise, u_i ~ N(0, tau^2), noise ~ N(0, sigma^2)."""

    noise: float  #: sigma^2, of one case beside what policy and example make
    spread: float  #: tau^2, between policies
    difficulty: Floats  #: b_e, shape (example,); NaN where nothing was measured
    excess: Floats  #: mean of x_ie - b_e over each policy's own examples, shape (policy,)
    num_examples: Floats  #: m_i, of each policy, shape (policy,)


def side_by_side(rows: Sequence[Floats]) -> Floats:
    """Return cases of policies, each on its first m_i examples, as an array of shape (policy,
    example), NaN where a policy was not measured.
    """
    cases = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for place, row in enumerate(rows):
        cases[place, : len(row)] = row
    return cases


def two_way(cases: Floats) -> TwoWay | None:
    """Return the fit by restricted maximum likelihood (REML), the difficulties being fixed.

    With c_i = r / (1 + r m_i), r = tau^2 / sigma^2, M = diag(policies that met e) - sum_i c_i d_i
    d_i' (d_i: which examples i met), b = M^-1 (sum_i x_i - c_i d_i sum_e x_ie), y = x - b, and N
    cases on n examples:

        sigma^2 = (sum y^2 - sum_i c_i (sum_e y_ie)^2) / (N - n)
        -2 log L = (N - n) log sigma^2 + sum_i log(1 + r m_i) + log |M|, least over r >= 0

    Where all policies met all examples, sigma^2 is the residuals' sum of squares / ((K-1)(n-1)),
    and tau^2 = var(means) - sigma^2 / n (ddof 1), or 0 where that is negative. Undefined, None,
    for fewer than two policies or two examples.

    Args:
        cases: shape (policy, example), NaN where not measured; every policy has a case.

    Source: Patterson and Thompson 1971.
    """
    met = ~np.isnan(cases)
    columns = met.any(axis=0)
    d, x = met[:, columns].astype(np.float64), np.where(met, cases, 0.0)[:, columns]
    if len(cases) < 2 or d.shape[1] < 2 or d.sum() <= d.shape[1] + 1:
        return None
    ratio = _likeliest_ratio(d, x)
    noise, b = _given(d, x, ratio)[1:]
    difficulty = np.full(cases.shape[1], np.nan)
    difficulty[columns] = b
    m = d.sum(axis=1)
    return TwoWay(noise, ratio * noise, difficulty, ((x - b) * d).sum(axis=1) / m, m)


def adjusted_means(cases: Floats) -> Floats:
    """Return each policy's mean as if all had met the same examples, shape (policy,): a_i + mean of
    b of the least squares fit x_ie = a_i + b_e.

    Where all met all it is the mean of a policy's cases. Otherwise policies are compared on the
    examples that both met, each example with the weight of one, also by way of third policies; an
    example that only one policy met says nothing of how it compares. So nobody gains by having met
    easier examples. Where two met no example in common, nor by way of others, how these compare is
    not known, and each group has the same mean.

    Args:
        cases: shape (policy, example), NaN where not measured; every policy and example has a case.
    """
    met = ~np.isnan(cases)
    found: Floats
    if met.all():
        found = cases.mean(axis=1)
        return found
    d, x = met.astype(np.float64), np.where(met, cases, 0.0)
    each = d.sum(axis=0)
    matrix = np.diag(d.sum(axis=1)) - (d / each) @ d.T
    a = np.linalg.pinv(matrix, hermitian=True) @ (x.sum(axis=1) - d @ (x.sum(axis=0) / each))
    b = ((x - a[:, None]) * d).sum(axis=0) / each
    found = a + b.mean()
    return found


def _likeliest_ratio(d: Floats, x: Floats) -> float:
    """Return r: the best of a grid, then refined between its neighbours by golden section."""
    scale = len(d) / d.sum()  # of r: 1 / mean of m_i
    grid = np.log(np.geomspace(LEAST_RATIO, MOST_RATIO, COARSE) * scale)
    worth = [_unlikely(d, x, g) for g in grid]
    best = int(np.argmin(worth))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, COARSE - 1)]
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = _unlikely(d, x, left), _unlikely(d, x, right)
    for _ in range(REFINED):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = _unlikely(d, x, left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = _unlikely(d, x, right)
    ratio = float(np.exp((low + high) / 2))
    return ratio if _given(d, x, ratio)[0] < _given(d, x, 0.0)[0] else 0.0


def _unlikely(d: Floats, x: Floats, log_ratio: float) -> float:
    return _given(d, x, float(np.exp(log_ratio)))[0]


def _given(d: Floats, x: Floats, ratio: float) -> tuple[float, float, Floats]:
    """Return -2 log L, sigma^2 and b where tau^2 = `ratio` sigma^2."""
    m, n = d.sum(axis=1), d.shape[1]
    c = ratio / (1 + ratio * m)
    matrix = np.diag(d.sum(axis=0)) - (d.T * c) @ d
    b = np.linalg.solve(matrix, x.sum(axis=0) - d.T @ (c * x.sum(axis=1)))
    y = (x - b) * d
    degrees = float(d.sum()) - n
    noise = max(float((y**2).sum() - (c * y.sum(axis=1) ** 2).sum()) / degrees, 0.0)
    unlikely = degrees * np.log(max(noise, 1e-300)) + np.log1p(ratio * m).sum()
    return float(unlikely + np.linalg.slogdet(matrix)[1]), noise, b
