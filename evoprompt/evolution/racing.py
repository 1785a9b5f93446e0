"""Who of a brood goes on: births are measured on a few examples, then the better ones on more.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.config.evolution import RacingConfig
from evoprompt.fitness.base import Fitness
from evoprompt.stats.betting import Groups, log_capital

Kept = NDArray[np.bool_]
#: What fitness by example is: log-probabilities, 0 or 1, or any other numbers.
Scale = Literal["log_probability", "zero_one", "other"]
SCALES: Mapping[str, Scale] = {
    "label_normalized": "log_probability",
    "pmi": "log_probability",
    "accuracy": "zero_one",
}
#: Where the numbers have no bounds, differences beyond this count as this.
CLIP = 2.0
#: Means and errors that differ by less are equal.
ROUNDING = 1e-12


def rungs(first: int, num_examples: int) -> tuple[int, ...]:
    """Return on how many examples births are measured, ascending: the first number, doubled again
    and again, and at last all.
    """
    found: list[int] = []
    while first < num_examples:
        found.append(first)
        first *= 2
    return (*found, num_examples)


@dataclass(frozen=True, slots=True)
class Rule:
    """Decides after each number of examples which candidates are measured on more."""

    config: RacingConfig
    scale: Scale = "other"

    def rungs(self, num_examples: int) -> tuple[int, ...]:
        """Return on how many examples the births of a generation are measured, ascending; all at
        once where nobody races.
        """
        first = num_examples if self.config.method == "off" else self.config.first
        return rungs(first, num_examples)

    def keeps(
        self,
        cases: Floats,
        rival: Floats | None,
        num_examples: int,
        *,
        num_births: int | None = None,
        generation: int = 1,
        groups: Groups = None,
    ) -> Kept:
        """Return whether each candidate goes on, shape (candidate,).

        `halving` keeps the better half (`better_half`); `fast` of it all but those that are behind
        the rival beyond doubt (`behind`); `certified` all that are not refuted (`refuted`), at
        level alpha / (g (g + 1) births) in generation g, which sums to alpha over the births of all
        generations.

        Args:
            cases: fitness by example of those that are still in, shape (candidate, m).
            rival: that of the last parent that would survive, on the same examples, shape (m,);
                None where there is none, and then nobody is dropped for it.
            num_examples: n, with how many the generation ends.
            num_births: how many were in at first; None is as many as are still in.
            generation: g, from 1.
            groups: the label of each of the n examples in their order, where it follows from the
                labels; None where the order is a random one.
        """
        kept = np.ones(len(cases), dtype=np.bool_)
        if cases.size == 0:
            return kept
        if self.config.method in ("halving", "fast"):
            kept = better_half(cases)
        if rival is None:
            return kept
        if self.config.method == "fast":
            kept &= ~behind(cases, rival, num_examples, self.config.z)
        if self.config.method == "certified":
            births = len(cases) if num_births is None else num_births
            level = self.config.alpha / (generation * (generation + 1) * births)
            kept &= ~refuted(cases, rival, num_examples, level, self.scale, groups)
        return kept


def rule_of(config: RacingConfig, fitness: Fitness | None = None) -> Rule:
    """Return the configured rule for a run's fitness. What is weighed with something else is
    neither a probability nor 0 or 1.
    """
    if fitness is None or fitness.self_evaluation > 0 or fitness.prompt_token_penalty > 0:
        return Rule(config)
    return Rule(config, SCALES.get(fitness.name, "other"))


def going_on(config: RacingConfig, num: int) -> int:
    """Return how many of so many births go on at most, which a budget has to have room for."""
    return (num + 1) // 2 if config.method in ("halving", "fast") else num


def better_half(cases: Floats) -> Kept:
    """Return who is in the better half by mean, rounded up, or ties with the last of it.

    Of cases of shape (..., candidate, m), shape (..., candidate).

    Source: Jamieson and Talwalkar 2016.
    """
    means = cases.mean(axis=-1)
    last = np.sort(means, axis=-1)[..., means.shape[-1] // 2, None]
    return np.asarray(means >= last - ROUNDING)


def behind(cases: Floats, rival: Floats, num_examples: int, z: float) -> Kept:
    """Return who is behind the rival beyond doubt, shape (..., candidate).

        mean d + z s / sqrt(m) sqrt(1 - m / n) < 0

    With d the paired differences to the rival on the m examples, s their standard deviation (ddof =
    1) and z how many standard errors are doubt. It is cheap, and it looks after each number of
    examples as if it were the only one, so its errors are more than those of one look. Undefined
    for m < 2 or s = 0: then nobody is.
    """
    num = cases.shape[-1]
    if num < 2:
        return np.zeros(cases.shape[:-1], dtype=np.bool_)
    difference = cases - rival[..., None, :]
    error = difference.std(axis=-1, ddof=1) / np.sqrt(num)
    doubt = z * error * np.sqrt(max(0.0, 1 - num / num_examples))
    return np.asarray((error > ROUNDING) & (difference.mean(axis=-1) + doubt < -ROUNDING))


def refuted(
    cases: Floats,
    rival: Floats,
    num_examples: int,
    level: float,
    scale: Scale,
    groups: Groups = None,
) -> Kept:
    """Return of whom a bet refutes that its mean over all n examples is at least the rival's, shape
    (..., candidate). The chance to refute, after any number of examples, what is true is at most
    `level` (`stats.betting.log_capital`).

    This holds where the order of the examples is random for the two that are compared: drawn anew
    for the generation, or not what they were chosen by; and where the number of an example stays
    the same as more are measured. The means are those of `lead`.
    """
    capital = log_capital(lead(rival[..., None, :], cases, scale), num_examples, groups=groups)
    return np.asarray(capital.max(axis=-1) >= -np.log(level))


def lead(first: Floats, second: Floats, scale: Scale) -> Floats:
    """Return by how much the first is ahead of the second by example, from 0 over 1/2, level, to 1.

    Of log-probabilities the probabilities are compared, of 0 and 1 these. Of other numbers, which
    have no bounds, differences are clipped to [-2, 2], and what is said of their mean is said of
    the mean of the clipped ones.
    """
    if scale == "log_probability":
        first, second = np.exp(np.minimum(first, 0.0)), np.exp(np.minimum(second, 0.0))
    width = CLIP if scale == "other" else 1.0
    return np.asarray((np.clip((first - second) / width, -1, 1) + 1) / 2)
