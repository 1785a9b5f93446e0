"""How answers follow their context, and what that does to the recurrence of the error rate.

    impurity of the context --Imitation--> error rate of the answers

A model that copies its context perfectly is wrong as often as the context. A real one keeps habits
of its own: its error rate has a floor, reached with a context without errors, and a ceiling,
reached with errors only. So the loop does not end at 0 but at a fixed point above the floor.

Knows probabilities. Chance in finite buffers is in `buffer_chain` and `forecast`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.recurrence.error_rate import as_rates, by_round, impurity


@dataclass(frozen=True, slots=True)
class ContextLaw:
    """What becomes of a round's accepted pairs, where all that is kept is shown, and for pairs one
    by one.
    """

    #: (the context's impurity, that of the accepted pairs, rounds before) -> the next context's
    impurity: Callable[[Floats, Floats, int], Floats]
    #: (places of the pairs counted from the newest, the newest round's number, the least number)
    #: -> whether they stay; arrays that broadcast
    stays: Callable[[Integers, Integers, int], NDArray[np.bool_]]


#: By buffer: accepted pairs take the context's place, or are added to it.
CONTEXTS: Mapping[str, ContextLaw] = {
    "replace": ContextLaw(
        lambda context, accepted, step: accepted,
        lambda place, newest, least: place < np.maximum(newest, least),
    ),
    "accumulate": ContextLaw(
        lambda context, accepted, step: (context * step + accepted) / (step + 1),
        lambda place, newest, least: place >= 0,
    ),
}


@dataclass(frozen=True, slots=True)
class Imitation:
    """The error rate of the answers as a straight line over the impurity of their context."""

    floor: float  #: error rate in a context without errors, in [0, 1]
    ceiling: float  #: error rate in a context of errors only, in [floor, 1]

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.ceiling <= 1:
            raise ValueError(
                f"Imitation(floor={self.floor}, ceiling={self.ceiling}): expected 0 <= floor <= "
                f"ceiling <= 1"
            )

    def error_rate(self, context_impurity: ArrayLike) -> Floats:
        """Return floor + (ceiling - floor) x for a context of impurity x; exact at both ends."""
        return answer_error(context_impurity, self.floor, self.ceiling)


PERFECT = Imitation(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ImitationFit:
    """A floor and a ceiling as estimated; either may lie outside [0, 1] by chance."""

    floor: float
    ceiling: float
    floor_standard_error: float | None  #: None where it is undefined
    ceiling_standard_error: float | None
    num_rounds: int  #: contexts
    #: by which contexts of the same impurity differ in their true error rates; None where it is
    #: undefined
    context_deviation: float | None = None

    @property
    def degrees_of_freedom(self) -> int:
        """Those left to tell how much contexts differ, at least 1."""
        return max(1, self.num_rounds - 2)

    @property
    def imitation(self) -> Imitation:
        """The nearest possible imitation: both within [0, 1], a line that falls made level at its
        middle.
        """
        floor, ceiling = (
            (self.floor, self.ceiling)
            if self.floor <= self.ceiling
            else ((self.floor + self.ceiling) / 2,) * 2
        )
        return Imitation(min(1.0, max(0.0, floor)), min(1.0, max(0.0, ceiling)))


def draw_limits(
    fit: ImitationFit, num_draws: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return floors, ceilings and deviations of single contexts as far as the estimates leave them
    open, shape (draw,) each.

    With R contexts the spread g ~ sqrt((R - 2) / chi^2_{R-2}) that the estimate of their variance
    leaves open is drawn once for all three:

        floor ~ Normal(estimate, g SE),   ceiling likewise,   deviation = g context_deviation

    so that floor and ceiling have Student's distribution about their estimates. With one context of
    each kind nothing tells how much contexts differ: one degree of freedom stands for that.
    Both are kept within [0, 1], a line that falls made level at its middle. They are drawn
    independently, as they are estimated where every context is all right or all wrong. An undefined
    standard error or deviation is 0.
    """
    df = fit.degrees_of_freedom
    spread = np.sqrt(df / rng.chisquare(df, num_draws))
    floor, ceiling = (
        np.clip(value + spread * rng.normal(0.0, error or 0.0, num_draws), 0.0, 1.0)
        for value, error in (
            (fit.floor, fit.floor_standard_error),
            (fit.ceiling, fit.ceiling_standard_error),
        )
    )
    middle = (floor + ceiling) / 2
    deviation = spread * (fit.context_deviation or 0.0)
    return np.minimum(floor, middle), np.maximum(ceiling, middle), deviation


def answer_error(context_impurity: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Floats:
    """Return floor (1 - x) + ceiling x for contexts of impurity x; arrays broadcast. Never outside
    [0, 1] for rates inside it.
    """
    x = np.asarray(context_impurity, dtype=np.float64)
    return np.asarray(
        np.clip(np.multiply(floor, 1 - x) + np.multiply(ceiling, x), 0.0, 1.0), dtype=np.float64
    )


def partial_limits(error_rate: ArrayLike, share: float) -> tuple[Floats, Floats]:
    """Return floor (1 - l) e_0 and ceiling (1 - l) e_0 + l of a model that follows its context in
    the share l of its answers.

    In the other answers it is wrong with e_0 = `error_rate`, its error rate without context;
    numbers or arrays. Raises ValueError for a rate or share outside [0, 1].
    """
    e, followed = as_rates(error_rate=error_rate, share=share)
    floor = (1 - followed) * e
    return floor, np.minimum(floor + followed, 1.0)


def partial_imitation(error_rate: float, share: float) -> Imitation:
    """Return the imitation of a model that follows its context in this share of its answers: see
    `partial_limits`.
    """
    floor, ceiling = partial_limits(error_rate, share)
    return Imitation(float(floor), float(ceiling))


def trajectory(
    error_rate: float,
    sensitivity: ArrayLike,
    specificity: ArrayLike,
    num_rounds: int,
    *,
    imitation: Imitation = PERFECT,
    buffer: str = "replace",
) -> Floats:
    """Return the error rates before the first round and after each, shape (num_rounds + 1,), by
    iteration.

    With h the impurity of what a round accepts and g the line of the imitation:

        replace: e_{n+1} = g(h(e_n)); accumulate: e_{n+1} = g(mean of h(e_0), ..., h(e_n)), every
        round adding as many pairs

    Under perfect imitation a replaced buffer's error rate falls by the factor 1 / Lambda a round in
    the end, an accumulated one's only as n^-(1 - 1 / Lambda), with Lambda > 1. NaN from the round
    on in which nothing is accepted.

    Args:
        error_rate: e_0, without any context.
        sensitivity: of all rounds, or of each, shape (num_rounds,).
        specificity: as sensitivity.
        num_rounds: at least 0.
        imitation: the line from the context's impurity to the answers' error rate.
        buffer: a name of `CONTEXTS`.

    Raises:
        ValueError: a rate outside [0, 1], rates by round of another number of rounds, or an unknown
            buffer.
    """
    check_buffer(buffer)
    as_rates(error_rate=error_rate)
    s, c = by_round(sensitivity, specificity, num_rounds)
    rates, context = [float(error_rate)], np.zeros(())
    for step in range(num_rounds):
        accepted = impurity(rates[-1], s[step], c[step])
        context = CONTEXTS[buffer].impurity(context, accepted, step)
        rates.append(float(imitation.error_rate(context)))
    return np.array(rates)


def fixed_point(imitation: Imitation, ratio: float) -> float:
    """Return the error rate to which the loop goes from anywhere inside (0, 1), for an evaluator of
    likelihood ratio Lambda = `ratio`.

    With fl, ce the floor and ceiling it solves x = fl + (ce - fl) x / (x + (1 - x) Lambda), which
    is

        (1 - Lambda) x^2 + [Lambda - ce + fl Lambda] x - fl Lambda = 0

    by the root at which x - g(h(x)) rises; with 0 < fl and ce < 1 it is the only one in (0, 1). The
    end is the same for an accumulated buffer. For partial imitation and few errors it is near (1 -
    l) e_0 / (1 - l / Lambda).

    NaN where every error rate is a fixed point: perfect imitation with Lambda = 1. Raises
    ValueError for a ratio below 0 or NaN.
    """
    if not ratio >= 0:
        raise ValueError(f"fixed_point(ratio={ratio}): expected a likelihood ratio of 0 or more")
    if isinf(ratio):
        return imitation.floor
    square, linear, constant = (
        1 - ratio,
        ratio - imitation.ceiling + imitation.floor * ratio,
        -imitation.floor * ratio,
    )
    root = sqrt(max(0.0, linear**2 - 4 * square * constant))
    if linear < 0:
        return (root - linear) / (2 * square)
    if linear + root == 0:
        return nan if square == 0 else 0.0
    return min(1.0, -2 * constant / (linear + root))


def convergence_rate(imitation: Imitation, ratio: float) -> float:
    """Return by what factor a round brings the error rate of a replaced buffer nearer to its fixed
    point, close to it.

    The slope of the round there: (ce - fl) Lambda / (x + Lambda (1 - x))^2. Raises ValueError as
    `fixed_point`; NaN where that is.
    """
    x = fixed_point(imitation, ratio)
    if isinf(ratio):
        return 0.0
    below = x + ratio * (1 - x)
    return (imitation.ceiling - imitation.floor) * ratio / below**2 if below != 0 else nan


def fit_imitation(
    impurities: Sequence[float],
    error_rates: Sequence[float],
    num_answers: Sequence[int] | None = None,
) -> ImitationFit | None:
    """Return the floor and ceiling that the regression of measured error rates on their contexts'
    measured impurities estimates.

    The fitted line at x = 0 and x = 1, each a weighted sum of the error rates: sum_r k_r y_r with
    k_r = w_r [1 / sum(w) + (x - mean) (x_r - mean) / S], w the number of answers (or 1), mean =
    sum(w x_r) / sum(w), S = sum w (x_r - mean)^2. Its standard error is sqrt(sum k_r^2 var_r).

    With numbers of answers m_r there are two levels: chance in the answers, v_r = p (1 - p) / m_r
    with p = (wrong + 1/2) / (m_r + 1), and contexts that differ, by tau^2:

        var_r = v_r + tau^2,   tau^2 = max(0, [Q - sum w_r (1 - h_r) v_r] / sum w_r (1 - h_r))

    with Q = sum w_r (residual_r)^2 and h_r = w_r [1 / sum(w) + (x_r - mean)^2 / S], so that tau^2
    is unbiased but for being kept from below 0. Of two contexts tau is undefined and left out.
    Without numbers of answers var_r is the variance of the residuals (ddof = 2), and tau its root:
    undefined for two contexts.

    Source of tau^2: the method of moments, Henderson 1953; DerSimonian and Laird 1986.

    The impurity must be that of all pairs in the context: measured on a sample of them it would
    flatten the line.

    Returns None where all impurities are equal or there are fewer than two rounds, so that no line
    is determined.

    Args:
        impurities: of the contexts, length round.
        error_rates: of the answers given in them, length round.
        num_answers: how many answers each error rate counts, length round.

    Raises:
        ValueError: lengths differ, a rate is outside [0, 1], or a number of answers is not above 0.
    """
    x, y = as_rates(impurities=impurities, error_rates=error_rates)
    weight = np.ones(len(x)) if num_answers is None else np.asarray(num_answers, dtype=np.float64)
    if not x.shape == y.shape == weight.shape or (weight <= 0).any():
        raise ValueError(
            f"fit_imitation: {len(x)} impurities, {len(y)} error rates, weights {weight}; "
            f"expected one of each by round, above 0"
        )
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    mean = weight @ x / weight.sum()
    spread = weight @ (x - mean) ** 2
    ends = np.array([0.0, 1.0])[:, None]
    k = weight * (1 / weight.sum() + (ends - mean) * (x - mean) / spread)  # (end, round)
    floor, ceiling = (k @ y).tolist()
    chance = None if num_answers is None else _chance(y, weight)
    free = weight * (1 - weight * (1 / weight.sum() + (x - mean) ** 2 / spread))
    squares = float(weight @ (y - floor - (ceiling - floor) * x) ** 2)
    between = _between(squares, free, np.zeros(len(x)) if chance is None else chance)
    errors: list[float | None] = [None, None]
    if chance is not None or between is not None:
        variance = np.full(len(x), between or 0.0) + (0.0 if chance is None else chance)
        errors = np.sqrt(k**2 @ variance).tolist()
    deviation = None if between is None else sqrt(between)
    return ImitationFit(floor, ceiling, errors[0], errors[1], len(x), deviation)


def _chance(error_rates: Floats, num_answers: Floats) -> Floats:
    """Return the variance that counting so many answers leaves in each error rate."""
    p = (error_rates * num_answers + 0.5) / (num_answers + 1)
    return np.asarray(p * (1 - p) / num_answers, dtype=np.float64)


def _between(squares: float, free: Floats, chance: Floats) -> float | None:
    """Return the variance between contexts beyond chance, or None of two contexts."""
    return max(0.0, (squares - float(free @ chance)) / float(free.sum())) if len(free) > 2 else None


def check_buffer(buffer: str) -> None:
    """Raise ValueError for an unknown word."""
    if buffer not in CONTEXTS:
        raise ValueError(f"buffer '{buffer}' is unknown; valid are: {', '.join(CONTEXTS)}")
