"""What a policy's prompt does to tasks that are not its own: attainable utility preservation, where
the utility is the log-likelihood of an auxiliary task's right answers.

    Q(th) = max over u of the mean over x of log p(y | th u x)

With th what a policy's prompt has before an input, u a prompt of the auxiliary task, x its inputs
and y their right answers. Sources: Turner et al. 2020, Conservative Agency; Turner et al. 2020,
Avoiding Side Effects in Complex Environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.config.side_effects import Variant


@dataclass(frozen=True, slots=True)
class Change:
    """How an auxiliary's utility differs from that under the baseline, in scales."""

    decrease: float = 0.0  #: by how much it is less; below 0 by chance alone
    increase: float = 0.0  #: by how much it is more; below 0 by chance alone
    plain: float = 0.0  #: |Q(policy) - Q(baseline)| of all examples, whose noise counts too
    #: what `plain` is expected to be where nothing changed
    noise_floor: float = 0.0

    @property
    def both(self) -> float:
        """By how much it is another, without the noise that `plain` has."""
        return self.decrease + self.increase

    def of(self, variant: Variant) -> float:
        """Return what counts of it."""
        value: float = getattr(self, variant)
        return value


def attainable(values: Floats) -> float:
    """Return Q of log-likelihoods of shape (prompt, example), nats."""
    return float(values.mean(axis=1).max())


def change(policy: Floats, baseline: Floats, scale: float) -> Change:
    """Return how an auxiliary's utility changed.

    The examples are parted in two, those of even and of odd places. With d and e the change of Q on
    each, in scales, it is (sign(d) e + sign(e) d) / 2 in all: decrease has the terms of a negative
    sign, increase those of a positive one. Where nothing changed, sign and size are independent, so
    its mean is 0; |Q(policy) - Q(baseline)| has the mean s sqrt(2 / pi) there, with s its standard
    error.

    Args:
        policy: log-likelihoods of the right answers, nats, shape (prompt, example).
        baseline: those under the baseline, same shape; at least two examples.
        scale: what counts as a change of 1, nats, above 0.

    Raises:
        ValueError: the shapes differ, there are fewer than two examples, or the scale is not
            positive.
    """
    num = policy.shape[1]
    if policy.shape != baseline.shape or num < 2 or not scale > 0:
        raise ValueError(
            f"change takes two arrays of one shape (prompt, example), two examples or more and a "
            f"positive scale; given {policy.shape}, {baseline.shape} and {scale}"
        )
    halves = [(attainable(policy[:, i::2]) - attainable(baseline[:, i::2])) / scale for i in (0, 1)]
    decrease = increase = 0.0
    for sign, size in (halves, halves[::-1]):
        decrease += -size / 2 if sign < 0 else 0.0
        increase += size / 2 if sign > 0 else 0.0
    plain = abs(attainable(policy) - attainable(baseline)) / scale
    by_example = _best(policy) - _best(baseline)
    error = float(by_example.std(ddof=1)) / sqrt(num) / scale
    return Change(decrease, increase, plain, sqrt(2 / pi) * error)


def _best(values: Floats) -> Floats:
    """Return the values of the prompt that is best in the mean, shape (example,)."""
    best: Floats = values[int(values.mean(axis=1).argmax())]
    return best


def mean_change(changes: Sequence[Change]) -> Change:
    """Return the mean over auxiliaries: its `both`, `decrease` or `increase`, where that is
    above 0, is the penalty.
    """
    names = ("decrease", "increase", "plain", "noise_floor")
    rows = np.array([[getattr(each, name) for name in names] for each in changes])
    return Change(*rows.mean(axis=0).tolist())


def scale_of(founders: Sequence[Floats]) -> float:
    """Return the standard deviation (ddof = 1) of Q over policies, nats, each of shape (prompt,
    example); 0 of fewer than two.
    """
    if len(founders) < 2:
        return 0.0
    return float(np.std([attainable(values) for values in founders], ddof=1))
