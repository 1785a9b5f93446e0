"""What counts say about an evaluator: with gold labels its sensitivity and specificity, without
them next to nothing.

Knows counts. Does not know how an evaluator judges, or which threshold it uses: see `threshold`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from evoprompt.arrays import Floats
from evoprompt.stats.resampling import wilson_interval
from evoprompt.stats.significance import Estimate

#: A probability is kept this far from 0 and 1 where its log-odds stand for an evaluator's.
LEAST_PROBABILITY = 1e-9
#: A rate beyond 0 or 1 by less than this is at the end, but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class EvaluatorCounts:
    """How many answers with a gold verdict the evaluator accepted."""

    accepted_right: int
    num_right: int
    accepted_wrong: int
    num_wrong: int

    def __post_init__(self) -> None:
        if not (
            0 <= self.accepted_right <= self.num_right
            and 0 <= self.accepted_wrong <= self.num_wrong
        ):
            raise ValueError(
                f"{self}: expected at least 0 accepted answers of each kind, and no more than "
                f"there are"
            )

    def __add__(self, other: EvaluatorCounts) -> EvaluatorCounts:
        return EvaluatorCounts(
            self.accepted_right + other.accepted_right,
            self.num_right + other.num_right,
            self.accepted_wrong + other.accepted_wrong,
            self.num_wrong + other.num_wrong,
        )

    @property
    def rejected_wrong(self) -> int:
        """Wrong answers that were not accepted."""
        return self.num_wrong - self.accepted_wrong


@dataclass(frozen=True, slots=True)
class LogRatio:
    """An estimate of ln Lambda, nats: by how much a round lowers the log-odds of an error."""

    value: float
    standard_error: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the normal interval, which covers 1 - alpha approximately."""
        half = NormalDist().inv_cdf(1 - alpha / 2) * self.standard_error
        return self.value - half, self.value + half


@dataclass(frozen=True, slots=True)
class ModelIdentified:
    """An evaluator that acceptance rates determine only if the recurrence holds exactly.

    That is: perfect imitation of the latest buffer, and an evaluator that stays the same. The rates
    fit the mirror image as well, with s and 1 - c exchanged and 1 - error rate.
    """

    error_rate: float  #: before the first round
    sensitivity: float  #: chosen as the greater of the two acceptance probabilities
    specificity: float


@dataclass(frozen=True, slots=True)
class WithoutGold:
    """What is known where no answer has a gold verdict."""

    acceptance: tuple[Estimate, ...]  #: by round, with Wilson's interval
    #: None before three rounds, and where no evaluator fits their acceptance rates
    model_identified: ModelIdentified | None


def confidence_log_odds(probability: ArrayLike) -> Floats:
    """Return the log-odds of answers' own probabilities, where confidence is the evaluator; finite
    for certain ones too, of the same shape.
    """
    kept = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)


def sensitivity(counts: EvaluatorCounts, alpha: float = 0.05) -> Estimate | None:
    """Return the share of right answers that were accepted, with Wilson's interval, or None without
    right answers (undefined).
    """
    return proportion(counts.accepted_right, counts.num_right, alpha)


def specificity(counts: EvaluatorCounts, alpha: float = 0.05) -> Estimate | None:
    """Return the share of wrong answers that were rejected, with Wilson's interval, or None without
    wrong answers (undefined).
    """
    return proportion(counts.rejected_wrong, counts.num_wrong, alpha)


def log_likelihood_ratio(counts: EvaluatorCounts) -> LogRatio | None:
    """Return ln Lambda with its standard error, or None without right or without wrong answers
    (undefined).

    With x of n right answers accepted, and x' of n' wrong ones:

        ln Lambda = ln[(x + 1/2) / (n + 1/2)] - ln[(x' + 1/2) / (n' + 1/2)]
        variance  = 1/(x + 1/2) - 1/(n + 1/2) + 1/(x' + 1/2) - 1/(n' + 1/2)

    Finite for all counts. Where every answer was accepted both are 0: of that standard error
    nothing can be concluded.

    Source: Walter 1975.
    """
    if counts.num_right == 0 or counts.num_wrong == 0:
        return None
    x, n = counts.accepted_right + 0.5, counts.num_right + 0.5
    y, m = counts.accepted_wrong + 0.5, counts.num_wrong + 0.5
    return LogRatio(log(x / n) - log(y / m), sqrt(1 / x - 1 / n + 1 / y - 1 / m))


def without_gold(
    num_accepted: Sequence[int], num_judged: Sequence[int], alpha: float = 0.05
) -> WithoutGold:
    """Return what the numbers of accepted answers tell where no answer has a gold verdict.

    One round's acceptance rate a = e (1 - c) + (1 - e) s identifies nothing: every error rate e
    fits it, with s = 1 - c = a. Two rounds' leave a family of evaluators. Three rounds' fit one
    evaluator up to its mirror image, if the recurrence holds exactly; the first three are used.
    Name what comes of it "model-identified" wherever it is shown: with 1,000 answers a round it
    often has no solution, and e_0 has a standard deviation near 0.16. Without the recurrence it
    takes three evaluators that judge independently given the truth (Dawid and Skene 1979), or two
    of them on two populations (Hui and Walter 1980).

    Args:
        num_accepted: by round.
        num_judged: by round; a round in which nothing was judged is an error.
        alpha: of the intervals.

    Raises:
        ValueError: lengths differ, or counts are impossible.
    """
    if len(num_accepted) != len(num_judged):
        raise ValueError(
            f"without_gold: {len(num_accepted)} rounds of accepted answers and {len(num_judged)} "
            f"of judged ones"
        )
    rounds = [
        (x, n, wilson_interval(x, n, alpha)) for x, n in zip(num_accepted, num_judged, strict=True)
    ]
    acceptance = tuple(Estimate(x / n, low, high, n) for x, n, (low, high) in rounds)
    return WithoutGold(
        acceptance,
        two_point_solution(*(a.value for a in acceptance[:3])) if len(acceptance) > 2 else None,
    )


def two_point_solution(first: float, second: float, third: float) -> ModelIdentified | None:
    """Return the evaluator that three rounds' acceptance rates determine under the exact
    recurrence, or None where none fits.

    With acceptance rates a_0, a_1, a_2, the products m_1 = a_0, m_2 = a_0 a_1, m_3 = a_0 a_1 a_2
    are the moments of a law on the two points 1 - c and s, with weights e_0 and 1 - e_0: the share
    of answers that would be accepted so often in a row. With its variance v = m_2 - m_1^2 and skew
    k = (m_3 - 3 m_1 m_2 + 2 m_1^3) / v:

        s, 1 - c = m_1 + k/2 +- sqrt(k^2/4 + v),   e_0 = (s - m_1) / (s - (1 - c))

    Infeasible where v <= 0 (acceptance does not rise) or a point is not in [0, 1].

    Source: Prony 1795 for moments of few points.
    """
    m1, m2, m3 = first, first * second, first * second * third
    v = m2 - m1**2
    if not (v > 0 and isfinite(m3)):
        return None
    half = (m3 - 3 * m1 * m2 + 2 * m1**3) / v / 2
    root = sqrt(half**2 + v)
    low, high = m1 + half - root, m1 + half + root
    if low < -ROUNDING or high > 1 + ROUNDING:
        return None
    return ModelIdentified((high - m1) / (high - low), min(1.0, high), 1 - max(0.0, low))


def proportion(num_successes: int, num_trials: int, alpha: float = 0.05) -> Estimate | None:
    """Return a share with Wilson's interval, or None without trials (undefined)."""
    if num_trials == 0:
        return None
    low, high = wilson_interval(num_successes, num_trials, alpha)
    return Estimate(num_successes / num_trials, low, high, num_trials)
