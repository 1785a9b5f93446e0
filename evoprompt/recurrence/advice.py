"""Whether a loop that learns from its own answers can lower the error rate, told before its first
round.

    Calibration, Loop with a measured imitation --simulate--> error rates --compare--> Advice

What decides is the floor: with right pairs alone in its context a model is still wrong as often as
that. Where the floor is not below the error rate without context, no judge helps. Knows numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.random import Generator

from evoprompt.recurrence.forecast import NUM_DRAWS, Calibration, Loop, simulate
from evoprompt.recurrence.imitation import ImitationFit

#: The least chance of a lower error rate at which a loop is said to pay, and the greatest at which
#: it is said not to.
SURE, UNLIKELY = 0.9, 0.5


class Answer(StrEnum):
    """Whether learning from its own answers can pay."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Advice:
    """What a loop is expected to do to the true error rate, in its last round against before it."""

    chance: float  #: that it is lower, as far as the calibration leaves it open
    change: float  #: of the error rate, mean
    low: float  #: of the change's interval, which covers 1 - alpha
    high: float
    #: the change that a judge without mistakes would bring: the floor less the error rate before
    at_best: float

    @property
    def answer(self) -> Answer:
        """What to say: yes from a chance of 0.9 on, no up to one half."""
        if self.chance >= SURE:
            return Answer.YES
        return Answer.NO if self.chance <= UNLIKELY else Answer.UNKNOWN

    @property
    def pays(self) -> bool:
        """Whether a loop is to be begun."""
        return self.answer is Answer.YES

    def to_dict(self) -> dict[str, float | str | bool]:
        """Return it as `recurrence.jsonl` has it."""
        names = ("chance", "change", "low", "high", "at_best")
        return {name: getattr(self, name) for name in names} | {"answer": self.answer.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the advice of `to_dict`'s values."""
        return cls(**{name: value for name, value in values.items() if name != "answer"})


def advise(
    calibration: Calibration,
    loop: Loop,
    rng: Generator,
    *,
    num_draws: int = NUM_DRAWS,
    alpha: float = 0.05,
) -> Advice:
    """Return what a loop is expected to do, by loops simulated as for its forecast.

    In every draw d the error rate e_0, the laws of the answers, the floor and the ceiling are drawn
    as far as the calibration leaves them open (`forecast.predict`), and the loop ends at e_n:

        chance = P(e_n < e_0) + P(e_n = e_0) / 2,   change = mean(e_n - e_0)

    of true error rates, so that how many answers measure the end is no part of it. e_0 and the
    floor are drawn independently; where they were counted on the same examples their difference is
    surer than is said, and the advice more careful than it need be.

    Args:
        calibration: counts with gold labels, without context.
        loop: what every round would do, with an imitation that was measured.
        rng: of the simulation.
        num_draws: simulated loops.
        alpha: one minus the coverage of the change's interval.

    Raises:
        ValueError: the imitation was not measured.
    """
    if not isinstance(loop.imitation, ImitationFit):
        raise ValueError("advise: the loop's imitation was not measured, so its floor is not known")
    drawn = simulate(calibration, loop, rng, num_draws)
    change = drawn.error_rates[:, -1] - drawn.initial
    low, high = np.quantile(change, [alpha / 2, 1 - alpha / 2])
    lower = float(np.mean(change < 0) + np.mean(change == 0) / 2)
    before = calibration.num_wrong / calibration.num_answers
    at_best = loop.imitation.imitation.floor - before
    return Advice(lower, float(change.mean()), float(low), float(high), at_best)
