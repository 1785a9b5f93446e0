"""What a self-evaluation loop should measure in each round, with the uncertainty that a calibration
of finite size leaves.

    Calibration, Loop --draw laws, simulate--> Forecast by round

The loop is simulated as it goes: answers are accepted by its threshold or share, kept in its buffer
and chosen for its context by its rule (`context`). Knows numbers. Does not know what was measured
in the rounds: see `verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.random import Generator

from evoprompt.arrays import Floats, Integers
from evoprompt.recurrence.answers import AnswerLaws, JudgedAnswers
from evoprompt.recurrence.context import Pairs, Rules, accepted, kept, shown_wrong
from evoprompt.recurrence.imitation import (
    Imitation,
    ImitationFit,
    answer_error,
    draw_limits,
    partial_limits,
)

RULES = Rules()  #: of a loop about which nothing else is said
#: Simulated loops. With 2,000 an end of a 95 % interval has a standard error of about 0.06 standard
#: deviations.
NUM_DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured with gold labels before the first round, without context."""

    num_wrong: int  #: of the answers
    num_answers: int
    judged: JudgedAnswers  #: the same or others, with what the loop sees of them

    def __post_init__(self) -> None:
        if not 0 <= self.num_wrong <= self.num_answers:
            raise ValueError(
                f"Calibration({self.num_wrong} wrong of {self.num_answers} answers): expected 0 "
                f"<= wrong <= answers"
            )


@dataclass(frozen=True, slots=True)
class Loop:
    """What every round does."""

    #: K by round, the pairs that a context shows at most; where 0, the context stays as it is
    sizes: tuple[int, ...]
    num_answers: int  #: m, on which a round's error rate is measured
    #: by round, a number for each question that it answers: the same for the same question
    asked: tuple[tuple[int, ...], ...]
    rules: Rules = RULES
    #: the share of the answers that follow the context, or a floor and ceiling of the error rate,
    #: known or estimated
    imitation: Imitation | ImitationFit | float = 1.0

    def __post_init__(self) -> None:
        if (
            not len(self.sizes) == len(self.asked) >= 1
            or min(self.sizes) < 0
            or min(self.num_answers, *(len(questions) for questions in self.asked)) < 1
        ):
            raise ValueError(
                f"sizes {self.sizes}, {len(self.asked)} rounds of questions, {self.num_answers} "
                f"answers to measure: expected at least one round, a size of 0 or more and at "
                f"least one question for each, and one answer to measure"
            )

    @classmethod
    def alike(cls, num_rounds: int, size: int, num_answers: int, batch: int, **more: Any) -> Self:
        """Return a loop whose rounds show `size` pairs and ask `batch` new questions each."""
        asked = np.arange(num_rounds * batch).reshape(num_rounds, batch).tolist()
        return cls((size,) * num_rounds, num_answers, tuple(map(tuple, asked)), **more)

    @property
    def num_rounds(self) -> int:
        """Rounds of the loop."""
        return len(self.sizes)

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

    def draw_limits(self, error_rate: Floats, rng: Generator) -> tuple[Floats, Floats, Floats]:
        """Return floor, ceiling and deviation of single contexts as far as they are open, for
        initial error rates of shape (draw,).
        """
        if isinstance(self.imitation, ImitationFit):
            return draw_limits(self.imitation, len(error_rate), rng)
        return (*self.limits(error_rate), np.zeros_like(error_rate))


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

    Every draw takes e_0 from Beta(x + 1/2, n - x + 1/2) (the posterior under Jeffreys' prior) and
    the laws of right and wrong answers from the calibration (`answers.AnswerLaws`), and simulates
    the loop:

        each answer of round r is wrong with e_{r-1}, and is one of the law of its kind: with that
        one's log-odds, label, and whether it abstains; the loop's rules make of them a context of
        wrong share x_r;
        e_r = floor (1 - x_r) + ceiling x_r + b_r;   b_r ~ Normal(0, deviation)
        X_r ~ Binomial(m, e_r);   measured: X_r / m

    The interval's ends are values that can be measured, so it covers at least 1 - alpha of the
    draws. It holds for answers that are independent of the calibration's, whose log-odds say
    nothing but whether they are right and what they answer. Without right (or wrong) answers in the
    calibration the evaluator's rate is anywhere in (0, 1). An estimated floor, ceiling and
    deviation b of single contexts are drawn too (`imitation.draw_limits`); of known ones it is 0.

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
    measured = simulate(calibration, loop, rng, num_draws).measured
    mean, deviation = measured.mean(axis=0), measured.std(axis=0, ddof=0)
    low, median, high = np.quantile(
        measured, [alpha / 2, 0.5, 1 - alpha / 2], axis=0, method="inverted_cdf"
    )
    z = np.abs(measured - mean) / np.where(deviation > 0, deviation, np.inf)
    return Forecast(
        mean, median, low, high, deviation, float(np.quantile(z.max(axis=1), 1 - alpha)), alpha
    )


@dataclass(frozen=True, slots=True)
class Simulated:
    """Error rates of simulated loops."""

    initial: Floats  #: true, without context, shape (draw,)
    error_rates: Floats  #: true, after each round, shape (draw, round)
    measured: Floats  #: the same as so many answers measure them, shape (draw, round)


def simulate(calibration: Calibration, loop: Loop, rng: Generator, num_draws: int) -> Simulated:
    """Return loops that go as `predict` says, each with what the calibration leaves open drawn."""
    laws = AnswerLaws(calibration.judged, num_draws, rng)
    initial = draw_error_rates(calibration, num_draws, rng)
    floor, ceiling, deviation = loop.draw_limits(initial, rng)
    measured, true = np.empty((2, num_draws, loop.num_rounds))
    error, buffer = initial, Pairs.none(num_draws)
    for step, (size, asked) in enumerate(zip(loop.sizes, loop.asked, strict=True)):
        answers = _answers(laws, error, np.array(asked), rng)
        answers = replace(answers, present=accepted(answers, loop.rules))
        buffer = kept(buffer, answers, loop.rules)
        if size:
            wrong, shown = shown_wrong(buffer, loop.rules, size, laws.answers.distance)
            answered = answer_error(wrong / np.maximum(shown, 1), floor, ceiling)
            answered = np.clip(answered + deviation * rng.normal(size=num_draws), 0.0, 1.0)
            new = buffer.present.sum(axis=1) >= max(1, loop.rules.least)
            error = np.where(new, answered, error)
        true[:, step] = error
        measured[:, step] = rng.binomial(loop.num_answers, error) / loop.num_answers
    return Simulated(initial, true, measured)


def _answers(laws: AnswerLaws, error: Floats, asked: Integers, rng: Generator) -> Pairs:
    """Return a round's answers to these questions, those present that were given."""
    wrong = rng.random((len(error), len(asked))) < error[:, None]
    drawn, of = laws.draw(wrong, rng), laws.answers
    return Pairs(
        wrong,
        of.log_odds[drawn],
        of.label[drawn],
        drawn,
        np.broadcast_to(asked, drawn.shape),
        of.given[drawn],
    )


def draw_error_rates(calibration: Calibration, num_draws: int, rng: Generator) -> Floats:
    """Return error rates of the answers without context as far as the calibration leaves them open,
    shape (draw,).
    """
    wrong, num = calibration.num_wrong, calibration.num_answers
    return np.asarray(rng.beta(wrong + 0.5, num - wrong + 0.5, num_draws), dtype=np.float64)
