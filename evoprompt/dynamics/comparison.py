"""Comparison of runs: curves by cost, what they reach and when, and which part of the evolution
makes the difference.

Knows curves, samples of replicates and Price's accounts. Does not know where runs are kept, or what
is done with the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, isfinite

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import PriceAccount
from evoprompt.stats.significance import (
    Estimate,
    difference_interval,
    holm,
    mann_whitney,
    mean_interval,
    signed_rank,
    superiority,
    t_quantile,
)

#: Price's terms, by the names that comparisons use. Together they are the change of the trait's
#: mean. Selection in survival is that of births, in the race for more examples too.
TERMS = (
    "reproduction selection",
    "transmission",
    "remeasurement",
    "immigration",
    "survival selection",
)

#: A replicate's key (its seed, where that is its own in the group) -> its value; infinite where a
#: target was never reached.
Sample = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A step function of cost: `y[i]` holds from `x[i]` until the next cost, and the last value at
    the last cost.

    Raises ValueError where costs are decreasing, shapes differ or there is no point.
    """

    x: Floats  #: cumulative cost, not decreasing, shape (generation,)
    y: Floats  #: shape (generation,)

    def __post_init__(self) -> None:
        if self.x.shape != self.y.shape or self.x.size == 0:
            raise ValueError(
                f"Curve: {self.x.size} costs and {self.y.size} values; expected as many of each, "
                f"at least one"
            )
        if (np.diff(self.x) < 0).any():
            raise ValueError("Curve: a cumulative cost decreases")

    def at(self, x: Floats) -> Floats:
        """Return the values at costs, shape of `x`. Raises ValueError outside the curve's range:
        nothing is extrapolated.
        """
        if x.size and (x.min() < self.x[0] or x.max() > self.x[-1]):
            raise ValueError(
                f"Curve.at: costs from {x.min():g} to {x.max():g} are not all within "
                f"{self.x[0]:g} to {self.x[-1]:g}"
            )
        values: Floats = self.y[np.searchsorted(self.x, x, side="right") - 1]
        return values


def common_range(curves: Iterable[Curve]) -> tuple[float, float] | None:
    """Return the costs that every curve covers, lowest and highest, or None where there are
    none.
    """
    ends = [(curve.x[0], curve.x[-1]) for curve in curves]
    low, high = float(max(e[0] for e in ends)), float(min(e[1] for e in ends))
    return (low, high) if low <= high else None


def mean_height(curve: Curve, low: float, high: float) -> float:
    """Return the area under the step function from `low` to `high`, divided by the length of that
    range; its height where that is 0.
    """
    inner = curve.x[(curve.x > low) & (curve.x < high)]
    edges = np.concatenate([[low], inner, [high]])
    heights = curve.at(edges[:-1])
    return (
        float(heights @ np.diff(edges) / (high - low))
        if high > low
        else float(curve.at(np.array([high]))[0])
    )


def time_to_target(curve: Curve, target: float, high: float) -> float | None:
    """Return the cost at which the curve first is at the target or above it, or None where it is
    not until `high` (right-censored).
    """
    reached = np.flatnonzero((curve.y >= target) & (curve.x <= high))
    return float(curve.x[reached[0]]) if reached.size else None


def band(
    curves: Sequence[Curve], grid: Floats, alpha: float = 0.05
) -> tuple[Floats, Floats | None]:
    """Return the mean of curves on a grid and the half width of Student's interval at each of its
    points; None for one curve.
    """
    heights = np.stack([curve.at(grid) for curve in curves])  # (curve, point)
    num = len(curves)
    if num == 1:
        return heights[0], None
    return heights.mean(axis=0), t_quantile(1 - alpha / 2, num - 1) * heights.std(
        axis=0, ddof=1
    ) / np.sqrt(num)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A group against the baseline in one quantity. Where a value is censored, the difference of
    means is absent and ranks remain.
    """

    group: str
    quantity: str
    difference: Estimate | None  #: group - baseline
    superiority: float  #: probability that the group's value is the greater, ties half
    p_value: float
    p_holm: float
    attainable: float  #: the least p-value that so many replicates can give, before Holm
    paired: bool  #: both groups have the same replicates, so they are compared pair by pair
    exact: bool
    num: tuple[int, int]  #: replicates of group and baseline


def contrasts(
    samples: Mapping[str, Mapping[str, Sample]], baseline: str, alpha: float = 0.05
) -> list[Contrast]:
    """Return every other group against the baseline, in every quantity that both have; Holm's
    adjustment is over all that are returned.

    Paired by key, with Wilcoxon's signed-rank test and the interval of the mean difference, where
    both groups have the same keys; else Mann-Whitney and Welch.

    Args:
        samples: group -> quantity -> sample. A quantity that a group has no value of is absent or
            empty.
        baseline: one of the groups.
        alpha: intervals cover 1 - alpha.
    """
    found = [
        _contrast(group, quantity, sample, samples[baseline][quantity], alpha)
        for group, quantities in samples.items()
        if group != baseline
        for quantity, sample in quantities.items()
        if sample and samples[baseline].get(quantity)
    ]
    adjusted = holm([c.p_value for c in found])
    return [replace(c, p_holm=p) for c, p in zip(found, adjusted, strict=True)]


def _contrast(group: str, quantity: str, sample: Sample, base: Sample, alpha: float) -> Contrast:
    paired = sample.keys() == base.keys()
    a = np.array([sample[k] for k in sample])
    b = np.array([base[k] for k in (sample if paired else base)])
    whole = bool(np.isfinite(a).all() and np.isfinite(b).all())
    difference: Estimate | None = None
    if whole:
        difference = mean_interval(a - b, alpha) if paired else difference_interval(a, b, alpha)
    test = signed_rank(_differences(a, b)) if paired else mann_whitney(a, b)
    return Contrast(
        group,
        quantity,
        difference,
        superiority(a, b),
        test.p_value,
        test.p_value,
        test.attainable,
        paired,
        test.exact,
        (a.size, b.size),
    )


def _differences(a: Floats, b: Floats) -> Floats:
    """Return a - b, where two that are both infinite do not differ; rounding of equal values is no
    difference.
    """
    same = np.isclose(a, b, rtol=1e-12, atol=0)
    return np.array([0.0 if s else x - y for x, y, s in zip(a, b, same, strict=True)])


@dataclass(frozen=True, slots=True)
class PriceTotals:
    """Price's terms of a trait's mean, summed over generations; the terms add up to `change`, the
    operators to `transmission`.
    """

    terms: Mapping[str, float]  #: by the names of TERMS
    operators: Mapping[str, float]  #: transmission by operator
    change: float

    @property
    def residual(self) -> float:
        """What the terms leave unexplained: rounding only."""
        return self.change - fsum(self.terms.values())


def price_totals(accounts: Iterable[PriceAccount]) -> PriceTotals:
    """Return the sums over generations of one trait's accounts.

    The change of a mean over several generations is the sum of its changes, so the identity of each
    generation gives that of the sum.
    """
    rows = list(accounts)
    columns = {
        "reproduction selection": [a.reproduction.selection for a in rows],
        "transmission": [a.transmission for a in rows],
        "remeasurement": [a.remeasurement for a in rows],
        "immigration": [a.immigration for a in rows],
        "survival selection": [a.racing + a.survival.selection for a in rows],
    }
    operators = dict.fromkeys(name for a in rows for name in a.transmission_by_operator)
    return PriceTotals(
        {name: fsum(values) for name, values in columns.items()},
        {name: fsum(a.transmission_by_operator.get(name, 0.0) for a in rows) for name in operators},
        fsum(a.change for a in rows),
    )


def median(values: Iterable[float]) -> float | None:
    """Return the median of times, or None where half of them or more are censored (infinite), so
    that it is not known.
    """
    result = float(np.median(sorted(values)))
    return result if isfinite(result) else None
