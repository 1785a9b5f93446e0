"""Where to draw the line between accepted and rejected answers, and what abstaining buys.

    log-odds of the judge, gold verdicts --> operating points along the ROC curve --> threshold

An answer is accepted where its log-odds are above the threshold. Thresholds lie half-way between
neighbouring log-odds of the sample, the lowest (which accepts all) one nat below them. Knows
numbers and verdicts; does not know how log-odds were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers

Verdicts = NDArray[np.bool_]

#: Gains that differ by less than this are ties; nats.
TIE_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What an evaluator with this threshold does to the sample."""

    threshold: float
    sensitivity: float
    specificity: float
    acceptance: float  #: share of all answers
    #: ln Lambda times acceptance, nats: K / acceptance judged answers fill a buffer of K, for a
    #: gain of ln Lambda
    log_odds_gain: float


@dataclass(frozen=True, slots=True)
class RocCurve:
    """The evaluator at every threshold that makes a difference, from the lowest (which accepts all)
    to the highest; shape (threshold,) each.
    """

    threshold: Floats
    sensitivity: Floats
    specificity: Floats
    acceptance: Floats
    log_likelihood_ratio: Floats  #: ln Lambda, nats, with 1/2 added to the counts as in `evaluator`

    @property
    def log_odds_gain(self) -> Floats:
        """The gain ln Lambda(t) a(t), nats, shape (threshold,)."""
        return self.log_likelihood_ratio * self.acceptance


@dataclass(frozen=True, slots=True)
class CoverageCurve:
    """Error among the k most confident answers, for k = 1, ..., n; shape (answer,) each. The last
    point is all answers.
    """

    coverage: Floats  #: k / n
    #: among these k; equally confident answers are taken in random order, and this is the mean over
    #: the orders
    error_rate: Floats

    @property
    def area(self) -> float:
        """Mean of the error rate over k: lower is better, and confidence that says nothing has all
        answers' error rate.

        Source: Geifman, Uziel and El-Yaniv 2019 (AURC).
        """
        return float(self.error_rate.mean())


def roc_curve(log_odds: Floats, is_right: Verdicts) -> RocCurve | None:
    """Return the evaluator along its thresholds, one below each distinct log-odds; None without
    right or without wrong answers (undefined).

    With x(t) of n right answers and x'(t) of n' wrong ones above t: s = x / n, 1 - c = x' / n', and
    ln Lambda = ln[(x + 1/2) / (n + 1/2)] - ln[(x' + 1/2) / (n' + 1/2)]. Equal log-odds are accepted
    together.

    Args:
        log_odds: of the judge that the answer is right, nats, shape (answer,).
        is_right: the gold verdict, shape (answer,).

    Raises:
        ValueError: shapes differ, or log-odds are not finite.
    """
    log_odds, is_right = _finite(log_odds), np.asarray(is_right, dtype=bool)
    if log_odds.shape != is_right.shape:
        raise ValueError(
            f"log-odds of shape {log_odds.shape} and verdicts of shape {is_right.shape}; "
            f"expected one of each by answer"
        )
    num_right = int(is_right.sum())
    num_wrong = len(is_right) - num_right
    if num_right == 0 or num_wrong == 0:
        return None
    values, group = np.unique(log_odds, return_inverse=True)
    right = _at_or_above(group[is_right], len(values))
    wrong = _at_or_above(group[~is_right], len(values))
    log_ratio = np.log((right + 0.5) / (num_right + 0.5)) - np.log(
        (wrong + 0.5) / (num_wrong + 0.5)
    )
    return RocCurve(
        _below(values),
        right / num_right,
        1 - wrong / num_wrong,
        (right + wrong) / len(is_right),
        log_ratio,
    )


def best_threshold(log_odds: Floats, is_right: Verdicts) -> OperatingPoint | None:
    """Return the threshold that gains most log-odds for each judged answer, max_t ln Lambda(t)
    a(t); None as `roc_curve`.

    A strict evaluator gains more with every accepted answer but needs more answers for a full
    buffer. Of equal gains the lowest threshold wins. A gain of 0 at the lowest threshold says that
    no threshold beats accepting everything. s, c and the gain are those of the sample that chose
    the threshold, so they are too good: measure them on other answers.

    Raises ValueError as `roc_curve`.
    """
    curve = roc_curve(log_odds, is_right)
    if curve is None:
        return None
    gain = curve.log_odds_gain
    i = int(np.flatnonzero(gain >= gain.max() - TIE_TOLERANCE)[0])
    values = (
        float(a[i])
        for a in (curve.threshold, curve.sensitivity, curve.specificity, curve.acceptance, gain)
    )
    return OperatingPoint(*values)


def share_threshold(log_odds: Floats, share: float = 0.5) -> float:
    """Return the highest threshold that accepts at least this share of the answers; needs no gold
    verdicts.

    The median by default. Equal log-odds are accepted together, so that more than the share may be.
    It fixes how many are accepted, not how many of them are right.

    Raises:
        ValueError: no answers, log-odds that are not finite, or a share outside (0, 1].
    """
    log_odds = _finite(log_odds)
    if log_odds.size == 0 or not 0 < share <= 1:
        raise ValueError(
            f"share_threshold: {log_odds.size} answers, share {share}; expected at least one "
            f"answer and a share in (0, 1]"
        )
    values, group = np.unique(log_odds, return_inverse=True)
    enough = _at_or_above(group, len(values)) >= share * log_odds.size - 1e-9
    return float(_below(values)[enough][-1])


def coverage_curve(confidence: Floats, is_right: Verdicts) -> CoverageCurve:
    """Return the error rate among the most confident answers against their share of all.

    Args:
        confidence: greater is surer, shape (answer,).
        is_right: the gold verdict, shape (answer,).

    Raises:
        ValueError: no answers, shapes differ, or confidence is NaN.
    """
    confidence, is_right = (
        np.asarray(confidence, dtype=np.float64),
        np.asarray(is_right, dtype=bool),
    )
    if (
        confidence.ndim != 1
        or confidence.shape != is_right.shape
        or confidence.size == 0
        or np.isnan(confidence).any()
    ):
        raise ValueError(
            f"confidence of shape {confidence.shape} and verdicts of shape {is_right.shape}; "
            f"expected one of each by answer, at least one, no NaN"
        )
    _, group = np.unique(-confidence, return_inverse=True)
    tied = np.bincount(group)
    expected = np.bincount(group, ~is_right) / tied  # (distinct confidence,)
    num = np.arange(1, len(is_right) + 1)
    return CoverageCurve(
        num / len(is_right),
        np.asarray(np.cumsum(np.repeat(expected, tied)) / num, dtype=np.float64),
    )


def _at_or_above(group: Integers, num_groups: int) -> Integers:
    """Return how many are in each group or a later one, shape (group,)."""
    return np.asarray(np.bincount(group, minlength=num_groups)[::-1].cumsum()[::-1], dtype=np.int64)


def _below(values: Floats) -> Floats:
    """Return a threshold below each of ascending distinct values and not below the one before,
    shape (value,).
    """
    middle = values[:-1] / 2 + values[1:] / 2
    return np.concatenate([values[:1] - 1, np.minimum(middle, np.nextafter(values[1:], -np.inf))])


def _finite(log_odds: Floats) -> Floats:
    log_odds = np.asarray(log_odds, dtype=np.float64)
    if log_odds.ndim != 1 or not np.isfinite(log_odds).all():
        raise ValueError(
            f"log-odds of shape {log_odds.shape}: expected finite numbers, shape (answer,)"
        )
    return log_odds
