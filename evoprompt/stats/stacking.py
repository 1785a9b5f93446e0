"""Several values of each choice added up with factors, and offsets, so that the right choices are
likeliest: a conditional logit model with ridges, for many weightings of the examples at once. Pure.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Weight of the squared distance between the offsets and those of the batch, of that between the
#: temperature and 1, and of the head's square: a few examples move none of them far.
OFFSET_RIDGE, FACTOR_RIDGE = 0.5, 0.5
#: What the temperature may be: of values that tell nothing, or the opposite, little is left. The
#: head's factor may be 0.
LEAST_TEMPERATURE, MOST_FACTOR = 0.05, 20.0
#: Newton steps at most, the gradient, nats, at which they end, and what of a worth is rounding.
STEPS, ENOUGH, ROUNDING = 50, 1e-9, 1e-10
#: Of the factors' curvature: over the examples e and the choices c.
PRODUCT = "fe,fec,sfec,tec->fst"


def stacked(
    sets: Floats, gold: NDArray[np.int64], weights: Floats, batch: Floats
) -> tuple[Floats, Floats]:
    """Return offsets o, shape (fold, choice), and factors t, shape (fold, set), for each fold.

    With t_0 drawn to 1 and the others to 0, they maximise

        sum_i w_i log softmax(sum_s t_s v_si + o)_{y_i}
            - OFFSET_RIDGE |o - t_0 batch|^2 - FACTOR_RIDGE |t - aims|^2

    which is concave; t_0 is at least LEAST_TEMPERATURE, the others at least 0.

    Args:
        sets: v, nats, shape (set, example, choice).
        gold: y, index of the right choice, shape (example,).
        weights: w of the examples, shape (fold, example).
        batch: what offsets are drawn to, shape (fold, choice), or (1, choice).

    Source: McFadden 1974 (conditional logit), Wolpert 1992 (stacking).
    """
    # what is maximised is concave in the parameters, so Newton's steps, shortened where they go
    # too far, lead to the one maximum
    choices, start = batch.shape[1], np.tile(aims(len(sets)), (len(weights), 1))
    parameters = np.concatenate([batch, start], axis=1)
    if len(weights) > 1:  # all are near the one of all examples
        everything = np.ones((1, len(gold)))
        mean = -sets[0].mean(axis=0)
        offsets, factors = stacked(sets, gold, everything, (mean - mean.mean())[None])
        parameters = np.tile(np.append(offsets, factors), (len(weights), 1))
    least = _least(len(sets))
    worth = _worth(sets, gold, weights, batch, parameters)
    for _ in range(STEPS):
        gradient, curvature = _slopes(sets, gold, weights, batch, parameters)
        if np.abs(gradient).max() < ENOUGH:
            break
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        length = np.ones((len(weights), 1))
        for _ in range(STEPS):
            candidate = parameters + length * step
            candidate[:, choices:] = candidate[:, choices:].clip(least, MOST_FACTOR)
            found = _worth(sets, gold, weights, batch, candidate)
            worse = found < worth - ROUNDING
            if not worse.any():
                break
            length[worse] /= 2
        better = found >= worth - ROUNDING
        parameters = np.where(better[:, None], candidate, parameters)
        worth = np.where(better, found, worth)
    return parameters[:, :choices], parameters[:, choices:]


def aims(num_sets: int) -> Floats:
    """Return what the factors are drawn to, shape (set,)."""
    return np.array([1.0] + [0.0] * (num_sets - 1))


def _least(num_sets: int) -> Floats:
    """Return what the factors are at least, shape (set,)."""
    return LEAST_TEMPERATURE * aims(num_sets)


def _worth(
    sets: Floats, gold: NDArray[np.int64], weights: Floats, batch: Floats, parameters: Floats
) -> Floats:
    """Return what is maximised, shape (fold,)."""
    choices = batch.shape[1]
    offsets, factors = parameters[:, :choices], parameters[:, choices:]
    calibrated = log_softmax(np.einsum("fs,sec->fec", factors, sets) + offsets[:, None, :])
    likelihood = (weights * calibrated[:, np.arange(len(gold)), gold]).sum(axis=1)
    distance = OFFSET_RIDGE * ((offsets - factors[:, :1] * batch) ** 2).sum(axis=1)
    moved = FACTOR_RIDGE * ((factors - aims(len(sets))) ** 2).sum(axis=1)
    found: Floats = likelihood - distance - moved
    return found


def _slopes(
    sets: Floats, gold: NDArray[np.int64], weights: Floats, batch: Floats, parameters: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient, shape (fold, parameter), and the negative of the Hessian, shape (fold,
    parameter, parameter). Where a factor is at its bound and would leave, it is held.
    """
    choices, num = batch.shape[1], len(sets)
    offsets, factors = parameters[:, :choices], parameters[:, choices:]
    p = np.exp(log_softmax(np.einsum("fs,sec->fec", factors, sets) + offsets[:, None, :]))
    expected = np.einsum("fec,sec->sfe", p, sets)
    right = np.eye(choices)[gold]
    apart = offsets - factors[:, :1] * batch
    gradient = np.empty(parameters.shape)
    gradient[:, :choices] = np.einsum("fe,fec->fc", weights, right - p) - 2 * OFFSET_RIDGE * apart
    own = sets[:, np.arange(len(gold)), gold]
    gradient[:, choices:] = np.einsum("fe,sfe->fs", weights, own[:, None, :] - expected)
    gradient[:, choices] += 2 * OFFSET_RIDGE * (apart * batch).sum(axis=1)
    gradient[:, choices:] -= 2 * FACTOR_RIDGE * (factors - aims(num))
    curvature = np.zeros((len(weights), choices + num, choices + num))
    curvature[:, :choices, :choices] = -np.einsum("fe,fec,fed->fcd", weights, p, p)
    diagonal = np.arange(choices)
    curvature[:, diagonal, diagonal] += np.einsum("fe,fec->fc", weights, p) + 2 * OFFSET_RIDGE
    beyond = sets[:, None] - expected[..., None]  # (set, fold, example, choice)
    cross = np.einsum("fe,fec,sfec->fcs", weights, p, beyond)
    cross[:, :, 0] -= 2 * OFFSET_RIDGE * batch
    curvature[:, :choices, choices:] = cross
    curvature[:, choices:, :choices] = cross.transpose(0, 2, 1)
    order = _order(weights.shape, p.shape, beyond.shape, sets.shape)
    curvature[:, choices:, choices:] = np.einsum(
        PRODUCT, weights, p, beyond, sets, optimize=order
    ) + 2 * FACTOR_RIDGE * np.eye(num)
    curvature[:, choices, choices] += 2 * OFFSET_RIDGE * (batch**2).sum(axis=1)
    slope = gradient[:, choices:]
    held = ((factors <= _least(num)) & (slope < 0)) | ((factors >= MOST_FACTOR) & (slope > 0))
    fold, which = np.nonzero(held)
    at = choices + which
    gradient[fold, at] = 0.0
    kept = curvature[fold, at, at]
    curvature[fold, at, :] = curvature[fold, :, at] = 0.0
    curvature[fold, at, at] = kept
    return gradient, curvature


@cache
def _order(*shapes: tuple[int, ...]) -> list[Any]:
    """Return in which order factors of these shapes are multiplied."""
    found: list[Any] = np.einsum_path(PRODUCT, *map(np.empty, shapes), optimize="greedy")[0]
    return found


def log_softmax(values: Floats) -> Floats:
    """Return the log softmax over the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
