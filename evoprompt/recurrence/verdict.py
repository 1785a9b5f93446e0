"""Whether a round of a self-evaluation loop did as predicted, and which assumption failed if it did
not.

    RoundCounts, Forecast --> Verdict

Knows counts. The forecast rests on three assumptions that a round's counts can refute: the
evaluator is that of the calibration, the answers are wrong as often as their context makes them,
and every round brings a new context. How the loop chooses its context is none of them: the forecast
is made for the loop's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from evoprompt.arrays import Floats
from evoprompt.recurrence.answers import AnswerLaws, JudgedAnswers
from evoprompt.recurrence.context import Rules
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.forecast import (
    NUM_DRAWS,
    Calibration,
    Forecast,
    Loop,
    draw_error_rates,
)
from evoprompt.recurrence.imitation import answer_error
from evoprompt.stats.proportions import binomial_test, same_proportion_test


class Assumption(StrEnum):
    """What can fail."""

    EVALUATOR = "evaluator changed"
    IMITATION = "imitation partial"
    BUFFER = "buffer saturated"


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """What a round measured, with gold labels that the loop itself does not see."""

    round: int  #: from 1
    #: of the answers by which the round's error rate is measured, given in its context
    num_wrong: int
    num_answers: int
    context_wrong: int  #: of all pairs in that context
    context_size: int
    #: of the answers from which that context's newest pairs were accepted
    evaluator: EvaluatorCounts
    num_accepted: int  #: pairs that were accepted for it
    context_changed: bool  #: whether it differs from the context before

    def __post_init__(self) -> None:
        if not (
            0 <= self.num_wrong <= self.num_answers
            and 0 <= self.context_wrong <= self.context_size
            and min(self.round, self.num_answers) >= 1
        ):
            raise ValueError(
                f"{self}: expected a round from 1, at least one answer, and no more wrong ones "
                f"than there are"
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a round against its forecast."""

    inside: bool  #: whether the measured error rate is in the forecast's interval
    #: values of `Assumption`; empty where inside, or where the counts refute none
    failed: tuple[str, ...]
    #: (measured - mean) / standard deviation of the forecast; None where the forecast leaves no
    #: spread
    surprise_z: float | None


def verdict(
    counts: RoundCounts,
    calibration: Calibration,
    loop: Loop,
    forecast: Forecast,
    rng: Generator,
    alpha: float = 0.05,
) -> Verdict:
    """Return whether a round's error rate is as predicted, and where it is not, every assumption
    that its counts refute.

    - "evaluator changed": where a threshold accepts, sensitivity or specificity differ from the
      calibration's, Fisher's exact test of each at alpha / 2; where a share is accepted, both move
      with the error rate, and the number of wrong answers among those accepted is no longer what
      the calibration's laws of right and wrong answers lead to, at alpha (`accepted_wrong_test`);
    - "imitation partial", only if the evaluator did not change: the error rate differs from what
      the context's measured impurity should lead to (under perfect imitation: from the impurity;
      where imitation was estimated: from the line, as far as it is known), binomial test at alpha;
    - "buffer saturated": no pair was accepted, or the context is the one before.

    An error rate outside the interval with nothing refuted is chance, or too few counts to tell.
    Without a context imitation is not tested.

    Args:
        counts: of the round.
        calibration: that the forecast was made from.
        loop: that the forecast was made for.
        forecast: of all rounds.
        rng: of what the tests simulate.
        alpha: of the tests.

    Raises:
        ValueError: the forecast has no such round, or was made for another number of answers.
    """
    if counts.round > len(forecast.mean) or counts.num_answers != loop.num_answers:
        raise ValueError(
            f"round {counts.round} with {counts.num_answers} answers: the forecast is of "
            f"{len(forecast.mean)} rounds with {loop.num_answers} each"
        )
    step, measured = counts.round - 1, counts.num_wrong / counts.num_answers
    inside = bool(forecast.low[step] <= measured <= forecast.high[step])
    deviation = float(forecast.standard_deviation[step])
    surprise = (measured - float(forecast.mean[step])) / deviation if deviation > 0 else None
    failed = () if inside else failed_assumptions(counts, calibration, loop, rng, alpha)
    return Verdict(inside, failed, surprise)


def failed_assumptions(
    counts: RoundCounts,
    calibration: Calibration,
    loop: Loop,
    rng: Generator,
    alpha: float = 0.05,
) -> tuple[str, ...]:
    """Return every assumption that a round's counts refute, whether or not its error rate was as
    predicted: see `verdict`.
    """
    failed: list[str] = []
    if _evaluator_changed(counts.evaluator, calibration.judged, loop.rules, rng, alpha):
        failed.append(Assumption.EVALUATOR.value)
    elif (
        counts.context_size
        and binomial_test(
            counts.num_wrong, counts.num_answers, _expected_errors(counts, calibration, loop, rng)
        )
        < alpha
    ):
        failed.append(Assumption.IMITATION.value)
    if counts.num_accepted == 0 or not counts.context_changed:
        failed.append(Assumption.BUFFER.value)
    return tuple(failed)


def accepted_wrong_test(
    now: EvaluatorCounts, judged: JudgedAnswers, rng: Generator, num_draws: int = NUM_DRAWS
) -> float:
    """Return the two-sided p-value that so many of the answers accepted are wrong, where the surest
    are accepted and right and wrong answers are those of the calibration.

    Given how many answers were right, wrong and accepted, it depends only on how the judge ranks
    them, not on the scale of its log-odds. Simulated from the laws that the calibration leaves open
    (`answers.AnswerLaws`), so it is exact but for their prior and the number of draws.

    Args:
        now: of the round.
        judged: the calibration.
        rng: of the simulation.
        num_draws: of it.
    """
    given = judged.given
    if min(now.num_right, now.num_wrong) == 0 or not given.any():
        return 1.0
    laws = AnswerLaws(judged.taken(given), num_draws, rng)
    wrong = np.zeros((num_draws, now.num_right + now.num_wrong), dtype=bool)
    wrong[:, : now.num_wrong] = True
    log_odds = laws.answers.log_odds[laws.draw(wrong, rng)]
    order = np.lexsort((rng.random(wrong.shape), -log_odds), axis=1)
    num_accepted = now.accepted_right + now.accepted_wrong
    passed = np.take_along_axis(wrong, order, axis=1)[:, :num_accepted].sum(axis=1)
    fewer, more = np.mean(passed <= now.accepted_wrong), np.mean(passed >= now.accepted_wrong)
    return min(1.0, 2 * float(min(fewer, more)))


def _evaluator_changed(
    now: EvaluatorCounts, judged: JudgedAnswers, rules: Rules, rng: Generator, alpha: float
) -> bool:
    """Return whether the evaluator differs from that of the calibration, at alpha."""
    if rules.threshold is None:
        return accepted_wrong_test(now, judged, rng) < alpha
    before = judged.counts(judged.log_odds > rules.threshold)
    right = same_proportion_test(
        now.accepted_right, now.num_right, before.accepted_right, before.num_right
    )
    wrong = same_proportion_test(
        now.accepted_wrong, now.num_wrong, before.accepted_wrong, before.num_wrong
    )
    return min(right, wrong) < alpha / 2


def _expected_errors(
    counts: RoundCounts, calibration: Calibration, loop: Loop, rng: Generator
) -> Floats:
    """Return the error rates to which the context's impurity may lead, shape (draw,)."""
    initial = draw_error_rates(calibration, NUM_DRAWS, rng)
    floor, ceiling, deviation = loop.draw_limits(initial, rng)
    line = answer_error(counts.context_wrong / counts.context_size, floor, ceiling)
    found = np.clip(line + deviation * rng.normal(size=NUM_DRAWS), 0.0, 1.0)
    return np.asarray(found, dtype=np.float64)
