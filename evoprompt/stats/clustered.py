"""The standard error of a mean of measurements that share examples and draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """A mean over draws and examples, with what each of them leaves uncertain."""

    value: float
    error_examples: float | None  #: clustered by example; None with fewer than two
    error_draws: float | None  #: clustered by draw; None with fewer than two
    error: float | None  #: by both; that of the examples where there is one draw


def clustered_mean(values: Floats) -> ClusteredMean:
    """Return the mean of values that were measured on the same examples in each draw.

    With x_de = m + a_d + b_e + noise on D draws and n examples, the mean squares of draws, examples
    and residuals, MS_a, MS_b and MS_r, give unbiased

        var(mean) = (MS_a + MS_b - MS_r) / (D n)

    where those clustered by one of them are MS_b / (D n), the variance of the examples' means over
    n, and MS_a / (D n). What is returned for both is never less than either.

    Args:
        values: shape (draw, example), all finite.

    Source: Cameron, Gelbach and Miller 2011.
    """
    num_draws, num_examples = values.shape
    by_draw, by_example = values.mean(axis=1), values.mean(axis=0)
    mean = float(values.mean())
    examples = float(by_example.var(ddof=1) / num_examples) if num_examples > 1 else None
    draws = float(by_draw.var(ddof=1) / num_draws) if num_draws > 1 else None
    both = examples
    if examples is not None and draws is not None:
        left = values - by_draw[:, None] - by_example + mean
        noise = float((left**2).sum()) / ((num_draws - 1) * (num_examples - 1))
        both = max(examples + draws - noise / values.size, examples, draws)
    return ClusteredMean(mean, _root(examples), _root(draws), _root(both))


def _root(variance: float | None) -> float | None:
    return None if variance is None else float(np.sqrt(variance))
