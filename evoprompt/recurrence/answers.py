"""What a calibration knows of answers, and what it leaves open: judged answers with their gold
verdicts, and laws of right and wrong answers that are drawn from them.

Knows numbers and verdicts. Does not know what the answers say, or who judged them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.recurrence.evaluator import EvaluatorCounts

Bools = NDArray[np.bool_]

#: The label of an answer that equals no other one.
UNIQUE = -1
#: Answers that the prior of a law counts for. 1 would be Jeffreys' prior where half of all entries
#: are accepted; but where few are, each answer that the prior adds to them weighs more.
PRIOR = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class JudgedAnswers:
    """Answers with gold verdicts as a loop would meet them; shape (answer,) each."""

    is_right: Bools
    log_odds: Floats  #: that the answer is right, by its judge, nats; NaN where there are none
    label: Integers  #: the same for equal answers; `UNIQUE` for each that equals no other
    abstained: Bools
    count: Floats  #: how many answers an entry stands for
    #: how far the questions' words are from each other, shape (answer, answer); None: all as far
    distance: Floats | None = None

    def __post_init__(self) -> None:
        arrays = (self.is_right, self.log_odds, self.label, self.abstained, self.count)
        if len({np.shape(a) for a in arrays}) > 1 or self.is_right.ndim != 1 or not self.num:
            raise ValueError(
                f"judged answers of shapes {[np.shape(a) for a in arrays]}: expected one value of "
                f"each by answer, of at least one answer"
            )

    @property
    def num(self) -> int:
        """Number of entries."""
        return len(self.is_right)

    @classmethod
    def of_counts(cls, counts: EvaluatorCounts) -> Self:
        """Return answers of which only counts are known: log-odds 1 where they were accepted, -1
        where not, one label, none abstained.
        """
        right, accepted = np.array([1, 1, 0, 0], dtype=bool), np.array([1.0, -1.0, 1.0, -1.0])
        num = (
            counts.accepted_right,
            counts.num_right - counts.accepted_right,
            counts.accepted_wrong,
            counts.rejected_wrong,
        )
        none = np.zeros(4, dtype=np.int64)
        return cls(right, accepted, none, none.astype(bool), np.array(num, dtype=np.float64))

    @property
    def given(self) -> Bools:
        """Which did not abstain and could be judged, shape (answer,)."""
        return np.asarray(~self.abstained & ~np.isnan(self.log_odds), dtype=bool)

    def taken(self, which: Bools) -> JudgedAnswers:
        """Return some of the entries."""
        return JudgedAnswers(
            self.is_right[which],
            self.log_odds[which],
            self.label[which],
            self.abstained[which],
            self.count[which],
            None if self.distance is None else self.distance[np.ix_(which, which)],
        )

    def counts(self, accepted: Bools) -> EvaluatorCounts:
        """Return how many of each kind were given and accepted."""
        kinds = (self.is_right & self.given, ~self.is_right & self.given)
        (x, n), (y, m) = (
            (round(self.count[kind & accepted].sum()), round(self.count[kind].sum()))
            for kind in kinds
        )
        return EvaluatorCounts(x, n, y, m)


class AnswerLaws:
    """For each of many draws a law of right answers and one of wrong ones, over the entries of a
    calibration.

    Both are Dirichlet processes after the calibration's answers of that kind: with n of them,

        weights ~ Dirichlet(count_i [of the kind] + PRIOR / N),   N entries of both kinds

    so that P(log-odds > t) ~ Beta(x + PRIOR a, n - x + PRIOR (1 - a)), x of the n being above t and
    the share a of all entries. Of a kind that the calibration has not met everything is possible
    that an answer of the other kind did.

    Source: Ferguson 1973; without the prior it is the Bayesian bootstrap of Rubin 1981.
    """

    def __init__(self, answers: JudgedAnswers, num_draws: int, rng: Generator) -> None:
        self.answers = answers
        laws = [
            _cumulative(np.where(answers.is_right == kind, answers.count, 0.0), num_draws, rng)
            for kind in (True, False)
        ]
        self._num_draws = num_draws
        self._laws = np.concatenate([laws[0], laws[1] + num_draws])  # one ascending array

    def draw(self, wrong: Bools, rng: Generator) -> Integers:
        """Return an entry for each answer, of the law of wrong answers where `wrong` says so; shape
        (draw, answer), as `wrong`.
        """
        law = np.arange(len(wrong))[:, None] + self._num_draws * wrong
        found = np.searchsorted(self._laws, law + rng.random(wrong.shape))
        return np.asarray(found - law * self.answers.num, dtype=np.int64)


def _cumulative(count: Floats, num_draws: int, rng: Generator) -> Floats:
    """Return the distribution functions of each draw one above the other, shape (draw * entry,):
    those of draw d go up to d + 1.
    """
    weight = rng.gamma(count + PRIOR / len(count), size=(num_draws, len(count))).cumsum(axis=1)
    weight = weight / weight[:, -1:] + np.arange(num_draws)[:, None]
    return np.asarray(weight.ravel(), dtype=np.float64)
