"""What a self-evaluation loop should measure in each round, with the uncertainty that a calibration
of finite size leaves.

    Calibration, Loop --draw rates, simulate--> Forecast by round

Knows counts. Does not know what was measured in the rounds: see `verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from evoprompt.arrays import Floats
from evoprompt.recurrence.error_rate import impurity
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.imitation import (
    CONTEXTS,
    Imitation,
    ImitationFit,
    answer_error,
    check_buffer,
    draw_limits,
    partial_limits,
)

#: Simulated loops. With 4,000 an end of a 95 % interval has a standard error of about 0.05 standard
#: deviations.
NUM_DRAWS = 4_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured with gold labels before the first round, without context."""

    num_wrong: int  #: of the answers
    num_answers: int
    evaluator: EvaluatorCounts

    def __post_init__(self) -> None:
        if not 0 <= self.num_wrong <= self.num_answers:
            raise ValueError(
                f"Calibration({self.num_wrong} wrong of {self.num_answers} answers): expected 0 "
                f"<= wrong <= answers"
            )


@dataclass(frozen=True, slots=True)
class Loop:
    """What every round does."""

    num_rounds: int
    buffer_size: int  #: K, the accepted pairs that a round puts into the context
    num_answers: int  #: m, on which a round's error rate is measured
    buffer: str = "replace"  #: a name of `imitation.CONTEXTS`
    #: the share of the answers that follow the context, or a floor and ceiling of the error rate,
    #: known or estimated
    imitation: Imitation | ImitationFit | float = 1.0

    def __post_init__(self) -> None:
        check_buffer(self.buffer)
        if min(self.num_rounds, self.buffer_size, self.num_answers) < 1:
            raise ValueError(
                f"{self}: expected at least one round, one pair in the buffer and one answer to "
                f"measure"
            )

    def limits(self, error_rate: Floats) -> tuple[Floats, Floats]:
        """Return floor and ceiling of the answers' error rate for initial error rates of any shape,
        at their estimates.
        """
        if isinstance(self.imitation, float | int):
            return partial_limits(error_rate, self.imitation)
        line = (
            self.imitation.imitation if isinstance(self.imitation, ImitationFit) else self.imitation
        )
        return np.full_like(error_rate, line.floor), np.full_like(error_rate, line.ceiling)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The measured error rate of each round as predicted before the first; shape (round,) each, the
    first after one round.
    """

    mean: Floats
    median: Floats
    low: Floats  #: of the interval of this round alone, which covers 1 - alpha
    high: Floats
    standard_deviation: Floats  #: ddof = 0
    #: the greatest |measured - mean| / standard_deviation over all rounds stays below this with
    #: probability 1 - alpha: for all rounds together
    greatest_z: float
    alpha: float


def predict(
    calibration: Calibration,
    loop: Loop,
    rng: Generator,
    *,
    num_draws: int = NUM_DRAWS,
    alpha: float = 0.05,
) -> Forecast:
    """Return the predicted distribution of the measured error rates.

    Every draw takes e_0, s and c from Beta(x + 1/2, n - x + 1/2) of their counts (posteriors under
    Jeffreys' prior) and simulates the loop:

        F_r ~ Binomial(K, h(e_{r-1})); x_r = F_r / K, or the mean of F_1 / K, ..., F_r / K if the
        buffer accumulates;
        e_r = floor (1 - x_r) + ceiling x_r;   X_r ~ Binomial(m, e_r);   measured: X_r / m

    The interval's ends are values that can be measured, so it covers at least 1 - alpha of the
    draws. It holds for answers that are independent of the calibration's. Without right (or wrong)
    answers in the calibration the evaluator's rate is anywhere in (0, 1). An estimated floor and
    ceiling are drawn too (`imitation.draw_limits`).

    Args:
        calibration: counts with gold labels.
        loop: what every round does.
        rng: of the simulation.
        num_draws: simulated loops.
        alpha: one minus the coverage.

    Raises:
        ValueError: an alpha outside (0, 1), or no draws.

    Source of the prior: Brown, Cai and DasGupta 2001.
    """
    if not 0 < alpha < 1 or num_draws < 1:
        raise ValueError(
            f"predict(alpha={alpha}, num_draws={num_draws}): expected an alpha in (0, 1) and at "
            f"least one draw"
        )
    measured = _simulate(calibration, loop, rng, num_draws)
    mean, deviation = measured.mean(axis=0), measured.std(axis=0, ddof=0)
    low, median, high = np.quantile(
        measured, [alpha / 2, 0.5, 1 - alpha / 2], axis=0, method="inverted_cdf"
    )
    z = np.abs(measured - mean) / np.where(deviation > 0, deviation, np.inf)
    return Forecast(
        mean, median, low, high, deviation, float(np.quantile(z.max(axis=1), 1 - alpha)), alpha
    )


def _simulate(calibration: Calibration, loop: Loop, rng: Generator, num_draws: int) -> Floats:
    """Return measured error rates of simulated loops, shape (draw, round)."""
    counts = calibration.evaluator
    initial = _draw(calibration.num_wrong, calibration.num_answers, num_draws, rng)
    s = _draw(counts.accepted_right, counts.num_right, num_draws, rng)
    c = _draw(counts.rejected_wrong, counts.num_wrong, num_draws, rng)
    floor, ceiling = (
        draw_limits(loop.imitation, num_draws, rng)
        if isinstance(loop.imitation, ImitationFit)
        else loop.limits(initial)
    )
    measured = np.empty((num_draws, loop.num_rounds))
    error, context = initial, np.zeros(num_draws)
    for step in range(loop.num_rounds):
        accepted = rng.binomial(loop.buffer_size, impurity(error, s, c)) / loop.buffer_size
        context = CONTEXTS[loop.buffer](context, accepted, step)
        error = answer_error(context, floor, ceiling)
        measured[:, step] = rng.binomial(loop.num_answers, error) / loop.num_answers
    return measured


def _draw(num_successes: int, num_trials: int, num_draws: int, rng: Generator) -> Floats:
    """Return draws of a proportion, kept inside (0, 1) where rounding would leave it: something is
    always accepted.
    """
    return np.clip(
        rng.beta(num_successes + 0.5, num_trials - num_successes + 0.5, num_draws), 1e-12, 1 - 1e-12
    )
