"""A prompt's own favour for labels, and answers freed of it: offsets and a temperature, fitted on
examples whose answers are known. Pure.

    values v, shape (example, choice), and gold y --fit--> Calibration: T v + o
    LabelScores --calibrated_out--> LabelScores, each example judged by the others' calibration
    Calibration, LabelScores of other examples --apply--> LabelScores

Raw likelihoods of a prompt's choices are mostly its favour for some of them, whatever the input. A
search that selects by them selects for favour; a search that selects by what is left selects for
what a prompt tells the model. The offsets are the favour's opposite. Where an example takes part in
the fit that judges it, the judgement flatters: `leave_one_out` fits without it.

Offsets belong to choices that all examples share, in one order, as those of a task with
`Task.choices` do. Where examples have choices of their own there are none to fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import LabelScores

Floats = NDArray[np.float64]
Way = Literal["off", "batch", "labelled", "contextual"]

#: Weight of the squared distance between the offsets and those of the batch, and of that between
#: the temperature and 1: a few examples move neither far.
OFFSET_RIDGE, TEMPERATURE_RIDGE = 0.5, 0.5
#: What the temperature may be: of values that tell nothing, or the opposite, little is left.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
#: Newton steps at most, the gradient, nats, at which they end, and what of a worth is rounding.
STEPS, ENOUGH, ROUNDING = 50, 1e-9, 1e-10
#: Numbers of an array at once, which bounds the memory where there are many examples.
MOST_NUMBERS = 500_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a prompt's choices comparable: they are compared by T v + o."""

    way: Way
    temperature: float  #: T, what the values are multiplied by
    offsets: tuple[float, ...]  #: o, nats, of each choice, of mean 0

    def apply(self, values: Floats) -> Floats:
        """Return log-probabilities among the choices, shape (..., choice), nats."""
        return _normalized(self.temperature * values + np.array(self.offsets))


@dataclass(frozen=True, slots=True)
class LabelCalibration:
    """A calibration as users get it: with its offsets by label."""

    way: Way
    temperature: float
    offsets: Mapping[str, float]  #: nats
    examples: int  #: that it was fitted on

    def apply(self, values: Floats, choices: Sequence[str]) -> Floats:
        """Return log-probabilities among these choices, shape (..., choice), nats; uncalibrated
        unless every one of them has an offset, for then none is comparable.
        """
        if not set(choices) <= self.offsets.keys():
            return _normalized(values)
        offsets = tuple(self.offsets[c] for c in choices)
        return Calibration(self.way, self.temperature, offsets).apply(values)


def by_label(calibration: Calibration, labels: Sequence[str], examples: int) -> LabelCalibration:
    """Return a calibration with its offsets by label, that of so many examples."""
    offsets = dict(zip(labels, calibration.offsets, strict=True))
    return LabelCalibration(calibration.way, calibration.temperature, offsets, examples)


def fitted(measured: Sequence[LabelScores], way: Way) -> Calibration:
    """Return the calibration of one policy, from all that was measured of it together.

    Args:
        measured: its scores, a row each, on different examples that all share their choices.
        way: of fitting.

    Raises:
        ValueError: the prior is needed, and it was not measured.
    """
    values = np.concatenate([scores.log_likelihood[0] for scores in measured])
    gold = np.concatenate([scores.gold for scores in measured])
    return fit(values, gold, way, _prior(measured[0], 0, way))


def calibrated_out(scores: LabelScores, way: Way) -> LabelScores:
    """Return the scores with what `leave_one_out` makes of each policy's; as they are for `off`.

    Args:
        scores: of any policies on examples that all share their choices, in one order.
        way: of fitting.

    Raises:
        ValueError: the prior is needed, and it was not measured.
    """
    if way == "off":
        return scores
    rows = [
        leave_one_out(values, scores.gold, way, _prior(scores, i, way))
        for i, values in enumerate(scores.log_likelihood)
    ]
    return replace(scores, calibrated=np.stack(rows))


def apply(calibration: Calibration, scores: LabelScores) -> LabelScores:
    """Return one policy's scores on examples that had no part in its calibration, as that makes
    them; as they are for `off`.
    """
    if calibration.way == "off":
        return scores
    return replace(scores, calibrated=calibration.apply(scores.log_likelihood))


def _prior(scores: LabelScores, policy: int, way: Way) -> Floats | None:
    """Return a policy's log-likelihoods of the choices after a content-free input, which is that of
    every example, where the way needs them.
    """
    if way != "contextual":
        return None
    if scores.prior is None:
        raise ValueError("contextual calibration needs the candidates' prior")
    prior: Floats = scores.prior[policy, 0]
    return prior


def fit(
    values: Floats, gold: NDArray[np.int64], way: Way, prior: Floats | None = None
) -> Calibration:
    """Return the calibration of one prompt.

    `batch` takes off the mean of each choice's log-probability, and supposes that the choices are
    about equally often right:

        o_c = -mean_i log softmax(v_i)_c,  T = 1

    `labelled` maximises, from there,

        sum_i log softmax(T v_i + o)_{y_i} - 1/2 |o - T o_batch|^2 - 1/2 (T - 1)^2

    which is concave. `contextual` takes off the log-probabilities after a content-free input, and
    looks at no example. `off` leaves the values as they are.

    Args:
        values: log-likelihoods of the choices, nats, shape (example, choice), all finite.
        gold: index of the right choice, shape (example,).
        way: of fitting.
        prior: log-likelihoods of the choices after a content-free input, shape (choice,), for
            `contextual` alone.

    Source: Zhou et al. 2023 (batch calibration), Platt 1999 (labelled offsets and temperature),
    Zhao et al. 2021 (contextual calibration).
    """
    everything = np.ones((1, len(values)))
    offsets, temperature = _fit(_normalized(values), gold, everything, way, prior)
    return Calibration(way, float(temperature[0]), tuple(offsets[0].tolist()))


def leave_one_out(
    values: Floats, gold: NDArray[np.int64], way: Way, prior: Floats | None = None
) -> Floats:
    """Return log-probabilities among the choices, nats, shape (example, choice): each example's by
    the calibration that is fitted on the others, as `fit` does. A single example has no others, and
    stays as it is but for `contextual`.
    """
    logs = _normalized(values)
    if way == "off" or (len(values) < 2 and way != "contextual"):
        return logs
    others = 1.0 - np.eye(len(values))
    size = max(1, MOST_NUMBERS // logs.size)
    blocks = [others[first : first + size] for first in range(0, len(values), size)]
    found = [_fit(logs, gold, block, way, prior) for block in blocks]
    offsets, temperature = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _normalized(temperature[:, None] * logs + offsets)


def worth_of_ways(
    prompts: Sequence[tuple[Floats, NDArray[np.int64]]], ways: Sequence[Way]
) -> dict[Way, float]:
    """Return for each way of fitting the mean log-likelihood of the right choices under it, nats,
    each example left out of its own fit.

    Args:
        prompts: (values, gold) of each.
        ways: to compare; none of them needs a prior.
    """
    return {
        way: float(np.mean([_of_gold(leave_one_out(v, y, way), y).mean() for v, y in prompts]))
        for way in ways
    }


def best_way(prompts: Sequence[tuple[Floats, NDArray[np.int64]]], ways: Sequence[Way]) -> Way:
    """Return the way with the greatest `worth_of_ways`; the first of those that tie."""
    worth = worth_of_ways(prompts, ways)
    return max(ways, key=lambda way: worth[way])


def _fit(
    logs: Floats,
    gold: NDArray[np.int64],
    weights: Floats,
    way: Way,
    prior: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return offsets, shape (fold, choice), and temperatures, shape (fold,), for each fold's
    weights of the examples, shape (fold, example).
    """
    folds, choices = len(weights), logs.shape[1]
    if way == "off":
        return np.zeros((folds, choices)), np.ones(folds)
    if way == "contextual":
        assert prior is not None
        return np.tile(prior.mean() - prior, (folds, 1)), np.ones(folds)
    batch = -(weights @ logs) / weights.sum(axis=1, keepdims=True)
    batch -= batch.mean(axis=1, keepdims=True)
    if way == "batch":
        return batch, np.ones(folds)
    # what is maximised is concave in (o, T), so Newton's steps, shortened where they go too far,
    # lead to the one maximum
    parameters = np.concatenate([batch, np.ones((folds, 1))], axis=1)
    if folds > 1:  # all are near the one of all examples
        offsets, temperature = _fit(logs, gold, np.ones((1, len(logs))), way)
        parameters = np.tile(np.append(offsets, temperature), (folds, 1))
    worth = _worth(logs, gold, weights, batch, parameters)
    for _ in range(STEPS):
        gradient, curvature = _slopes(logs, gold, weights, batch, parameters)
        if np.abs(gradient).max() < ENOUGH:
            break
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        length = np.ones((folds, 1))
        for _ in range(STEPS):
            candidate = parameters + length * step
            candidate[:, -1] = candidate[:, -1].clip(LEAST_TEMPERATURE, MOST_TEMPERATURE)
            found = _worth(logs, gold, weights, batch, candidate)
            worse = found < worth - ROUNDING
            if not worse.any():
                break
            length[worse] /= 2
        better = found >= worth - ROUNDING
        parameters = np.where(better[:, None], candidate, parameters)
        worth = np.where(better, found, worth)
    return parameters[:, :-1], parameters[:, -1]


def _worth(
    logs: Floats, gold: NDArray[np.int64], weights: Floats, batch: Floats, parameters: Floats
) -> Floats:
    """Return what is maximised, shape (fold,)."""
    offsets, temperature = parameters[:, :-1], parameters[:, -1]
    calibrated = _normalized(temperature[:, None, None] * logs + offsets[:, None, :])
    likelihood = (weights * calibrated[:, np.arange(len(gold)), gold]).sum(axis=1)
    distance = OFFSET_RIDGE * ((offsets - temperature[:, None] * batch) ** 2).sum(axis=1)
    found: Floats = likelihood - distance - TEMPERATURE_RIDGE * (temperature - 1) ** 2
    return found


def _slopes(
    logs: Floats, gold: NDArray[np.int64], weights: Floats, batch: Floats, parameters: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient, shape (fold, parameter), and the negative of the Hessian, shape (fold,
    parameter, parameter). Where the temperature is at its bound and would leave, it is held.
    """
    folds, choices = batch.shape
    offsets, temperature = parameters[:, :-1], parameters[:, -1]
    p = np.exp(_normalized(temperature[:, None, None] * logs + offsets[:, None, :]))
    expected = (p * logs).sum(axis=2)  # (fold, example)
    right = np.eye(choices)[gold]
    gradient = np.empty((folds, choices + 1))
    gradient[:, :-1] = np.einsum("fe,fec->fc", weights, right - p)
    apart = offsets - temperature[:, None] * batch
    gradient[:, :-1] -= 2 * OFFSET_RIDGE * apart
    own = logs[np.arange(len(gold)), gold]
    gradient[:, -1] = (weights * (own - expected)).sum(axis=1)
    gradient[:, -1] += 2 * OFFSET_RIDGE * (apart * batch).sum(axis=1)
    gradient[:, -1] -= 2 * TEMPERATURE_RIDGE * (temperature - 1)
    curvature = np.zeros((folds, choices + 1, choices + 1))
    curvature[:, :-1, :-1] = -np.einsum("fe,fec,fed->fcd", weights, p, p)
    diagonal = np.arange(choices)
    curvature[:, diagonal, diagonal] += np.einsum("fe,fec->fc", weights, p) + 2 * OFFSET_RIDGE
    cross = np.einsum("fe,fec->fc", weights, p * (logs - expected[..., None]))
    cross -= 2 * OFFSET_RIDGE * batch
    curvature[:, :-1, -1] = curvature[:, -1, :-1] = cross
    spread = (p * logs**2).sum(axis=2) - expected**2
    curvature[:, -1, -1] = (weights * spread).sum(axis=1) + 2 * TEMPERATURE_RIDGE
    curvature[:, -1, -1] += 2 * OFFSET_RIDGE * (batch**2).sum(axis=1)
    low = (temperature <= LEAST_TEMPERATURE) & (gradient[:, -1] < 0)
    held = low | ((temperature >= MOST_TEMPERATURE) & (gradient[:, -1] > 0))
    gradient[held, -1] = 0.0
    curvature[held, -1, :-1] = curvature[held, :-1, -1] = 0.0
    return gradient, curvature


def _normalized(values: Floats) -> Floats:
    """Return log softmax over the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def _of_gold(logs: Floats, gold: NDArray[np.int64]) -> Floats:
    found: Floats = logs[np.arange(len(gold)), gold]
    return found
