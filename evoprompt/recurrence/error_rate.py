"""The error rate of a loop that learns from the answers that it accepted itself, as a recurrence.

    error rate e --answer and judge--> impurity h(e) of the buffer --answer like the buffer--> error
    rate of the next round

In each round a model answers unlabelled queries, wrong with probability e. An evaluator accepts a
right answer with probability s (sensitivity) and a wrong one with probability 1 - c (c:
specificity). The accepted pairs are the context of the next round. Here the answers of a round are
wrong as often as its context (perfect imitation of the latest buffer), and buffers are so large
that chance does not matter. `imitation` relaxes the first, `buffer_chain` and `forecast` the
second.

Knows probabilities. Does not know models, prompts, or how anything was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log

import numpy as np
from numpy.typing import ArrayLike

from evoprompt.arrays import Floats

#: Part of a round. A target that is missed by less than this is reached.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """An error rate that a round leaves as it is."""

    error_rate: float
    #: of the next error rate as a function of this one, at the fixed point; a slope of 1 neither
    #: attracts nor repels
    slope: float

    @property
    def attracts(self) -> bool:
        """Whether error rates nearby come nearer."""
        return self.slope < 1


def acceptance_rate(
    error_rate: ArrayLike, sensitivity: ArrayLike, specificity: ArrayLike
) -> Floats:
    """Return the probability that an answer is accepted: a = e (1 - c) + (1 - e) s, for numbers or
    arrays that broadcast.

    Raises ValueError for a rate outside [0, 1].
    """
    e, s, c = as_rates(error_rate=error_rate, sensitivity=sensitivity, specificity=specificity)
    return e * (1 - c) + (1 - e) * s


def impurity(error_rate: ArrayLike, sensitivity: ArrayLike, specificity: ArrayLike) -> Floats:
    """Return the probability that an accepted answer is wrong, for numbers or arrays that
    broadcast.

    With e the error rate, s the sensitivity, c the specificity:

        h(e) = e (1 - c) / (e (1 - c) + (1 - e) s)

    This is the false discovery rate of the evaluator. The wrong share of a buffer of any number of
    accepted answers has exactly this expectation. NaN where nothing is ever accepted; a rate that
    is NaN gives NaN.

    Raises ValueError for a rate outside [0, 1].
    """
    e, s, c = as_rates(error_rate=error_rate, sensitivity=sensitivity, specificity=specificity)
    accepted_wrong = e * (1 - c)
    with np.errstate(invalid="ignore"):
        return accepted_wrong / (accepted_wrong + (1 - e) * s)


def likelihood_ratio(sensitivity: ArrayLike, specificity: ArrayLike) -> Floats:
    """Return the evaluator's positive likelihood ratio Lambda = s / (1 - c): acceptance divides the
    odds of an error by it.

    Infinite where no wrong answer is accepted, NaN where no answer is. Raises ValueError for a rate
    outside [0, 1].
    """
    s, c = as_rates(sensitivity=sensitivity, specificity=specificity)
    with np.errstate(divide="ignore", invalid="ignore"):
        return s / (1 - c)


def improves(sensitivity: float, specificity: float) -> bool:
    """Return whether a round lowers every error rate inside (0, 1): if and only if s + c > 1, which
    is Lambda > 1.

    For an evaluator with s = c = alpha this is alpha > 1/2. Raises ValueError for a rate outside
    [0, 1].
    """
    s, c = as_rates(sensitivity=sensitivity, specificity=specificity)
    return bool(s + c > 1)


def error_rates(
    error_rate: float, sensitivity: ArrayLike, specificity: ArrayLike, num_rounds: int
) -> Floats:
    """Return the error rates before the first round and after each, shape (num_rounds + 1,), in
    closed form.

        odds_n = odds_0 / (Lambda_1 ... Lambda_n),   odds = e / (1 - e)

    so that with a constant evaluator e_n = e_0 / (e_0 + (1 - e_0) Lambda^n). The logit of e_n falls
    by ln Lambda a round. With an evaluator that changes, e_n goes to 0 if and only if the sum of ln
    Lambda_r has no bound. NaN from the round on in which nothing is accepted.

    Args:
        error_rate: e_0.
        sensitivity: of all rounds, or of each, shape (num_rounds,).
        specificity: as sensitivity.
        num_rounds: at least 0.

    Raises:
        ValueError: a rate outside [0, 1], or rates by round of another number of rounds.
    """
    (e,) = as_rates(error_rate=error_rate)
    s, c = by_round(sensitivity, specificity, num_rounds)
    with np.errstate(divide="ignore", invalid="ignore"):
        gained = np.cumsum(np.log(s) - np.log1p(-c))
        logit = np.log(e) - np.log1p(-e) - gained
        later = np.exp(-np.logaddexp(0.0, -logit))
    return np.concatenate([[e], later])


def rounds_needed(error_rate: float, target: float, ratio: float) -> int | None:
    """Return the least number of rounds after which the error rate is at most `target`, or None
    where no number suffices.

    ceil((logit e_0 - logit target) / ln Lambda), with Lambda the likelihood ratio `ratio`; 0 where
    the target is reached from the start.

    Raises:
        ValueError: a target outside (0, 1), an error rate outside [0, 1], or a ratio below 0.
    """
    if not (0 < target < 1 and 0 <= error_rate <= 1 and ratio >= 0):
        raise ValueError(
            f"rounds_needed({error_rate}, {target}, {ratio}): expected an error rate in [0, 1], "
            f"a target in (0, 1), a ratio of 0 or more"
        )
    if error_rate <= target:
        return 0
    if ratio <= 1 or error_rate == 1:
        return None
    distance = log(error_rate) - log(1 - error_rate) - log(target) + log(1 - target)
    return max(1, ceil(distance / log(ratio) - ROUNDING))


def fixed_points(ratio: float) -> tuple[FixedPoint, FixedPoint]:
    """Return the fixed points 0, with slope 1 / Lambda, and 1, with slope Lambda, for Lambda =
    `ratio`.

    There are no others unless Lambda = 1, where every error rate is one and none attracts. Raises
    ValueError for a ratio below 0 or NaN.
    """
    if not ratio >= 0:
        raise ValueError(f"fixed_points({ratio}): expected a likelihood ratio of 0 or more")
    return FixedPoint(0.0, 1 / ratio if ratio > 0 else inf), FixedPoint(1.0, ratio)


def typed_error_rates(
    type_rates: ArrayLike, sensitivity: float, false_acceptance: ArrayLike, num_rounds: int
) -> Floats:
    """Return the rates of several types of error before the first round and after each, shape
    (num_rounds + 1, type).

    With e_d the share of the answers that are wrong by type d, e_right = 1 - sum_d e_d, and f_d the
    probability that such an error is accepted:

        e_d(n) / e_right(n) = e_d(0) / e_right(0) (f_d / s)^n

    The type that is accepted most takes over, and one with f_d >= s never vanishes. The total error
    rate is the sum over types. NaN from the round on in which nothing is accepted.

    Args:
        type_rates: e_d(0), shape (type,), of sum at most 1.
        sensitivity: s.
        false_acceptance: f_d, shape (type,).
        num_rounds: at least 0.

    Raises:
        ValueError: a rate outside [0, 1], type rates that sum to more than 1, or shapes that
            differ.
    """
    rates, s, f = as_rates(
        type_rates=type_rates, sensitivity=sensitivity, false_acceptance=false_acceptance
    )
    if rates.ndim != 1 or rates.shape != f.shape or rates.sum() > 1 + ROUNDING:
        raise ValueError(
            f"typed_error_rates: rates {rates} and acceptance {f}; expected shape (type,) for "
            f"both, and rates of sum at most 1"
        )
    shares = np.concatenate([[max(0.0, 1 - rates.sum())], rates])
    accepted = np.concatenate([[s], f])
    rounds = np.arange(num_rounds + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.log(shares) + np.where(rounds == 0, 0.0, rounds * np.log(accepted))
        weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)[:, 1:]


def specificity_of_mix(type_rates: ArrayLike, false_acceptance: ArrayLike) -> Floats:
    """Return the specificity over a mix of error types, c = 1 - sum_d e_d f_d / sum_d e_d; types
    are the last axis.

    It falls from round to round where types differ, since the types that are accepted remain. NaN
    where no answer is wrong. Raises ValueError for a rate outside [0, 1].
    """
    rates, f = as_rates(type_rates=type_rates, false_acceptance=false_acceptance)
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - (rates * f).sum(axis=-1) / rates.sum(axis=-1), dtype=np.float64)


def abstaining_ratio(
    ratio: ArrayLike, abstained_right: ArrayLike, abstained_wrong: ArrayLike
) -> Floats:
    """Return the likelihood ratio of a round in which the answerer may abstain: Lambda (1 - u1) /
    (1 - u0).

    With u1 = `abstained_right` the share of the queries it would have answered rightly on which it
    abstains, u0 = `abstained_wrong` that of those it would have answered wrongly. Infinite where
    only right answers are given, NaN where none is. Raises ValueError for a share outside [0, 1].
    """
    u1, u0 = as_rates(abstained_right=abstained_right, abstained_wrong=abstained_wrong)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(ratio, dtype=np.float64) * (1 - u1) / (1 - u0)


def as_rates(**rates: ArrayLike) -> tuple[Floats, ...]:
    """Return probabilities as arrays, or raise ValueError naming the one that has a value outside
    [0, 1]; NaN passes.
    """
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in rates.items()}
    for name, array in arrays.items():
        outside = array[(array < 0) | (array > 1)]
        if outside.size:
            raise ValueError(
                f"{name} has the value {outside.flat[0]:.6g}; a rate is between 0 and 1"
            )
    return tuple(arrays.values())


def by_round(
    sensitivity: ArrayLike, specificity: ArrayLike, num_rounds: int
) -> tuple[Floats, Floats]:
    """Return the evaluator of each round, two arrays of shape (num_rounds,), from rates that are
    constant or given by round.

    Raises ValueError for a rate outside [0, 1], a negative number of rounds, or rates of another
    number of rounds.
    """
    s, c = as_rates(sensitivity=sensitivity, specificity=specificity)
    if num_rounds < 0 or {s.shape, c.shape} - {(), (num_rounds,)}:
        raise ValueError(
            f"{num_rounds} rounds, sensitivity of shape {s.shape}, specificity of shape "
            f"{c.shape}; expected 0 or more rounds and a rate for all "
            "rounds or one for each"
        )
    return np.broadcast_to(s, (num_rounds,)), np.broadcast_to(c, (num_rounds,))
