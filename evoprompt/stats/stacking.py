"""Several values of each choice added up with factors, and offsets, so that the right choices are
likeliest: a conditional logit model with ridges, for many weightings of the examples at once. Pure.
"""

from __future__ import annotations

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
    choices, folds = batch.shape[1], len(weights)
    start = np.tile(aims(len(sets)), (folds, 1))
    parameters = np.concatenate([np.broadcast_to(batch, (folds, choices)), start], axis=1)
    surface = _Surface(sets, gold, weights, parameters)
    if folds > 1:  # all are near the one of all examples
        everything = np.ones((1, len(gold)))
        mean = -sets[0].mean(axis=0)
        offsets, factors = stacked(sets, gold, everything, (mean - mean.mean())[None])
        parameters = np.tile(np.append(offsets, factors), (folds, 1))
    worth, gradient, curvature = surface.at(parameters)
    for _ in range(STEPS):
        if np.abs(gradient).max() < ENOUGH:
            break
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        length = np.ones((folds, 1))
        for _ in range(STEPS):
            candidate = parameters + length * step
            candidate[:, choices:] = candidate[:, choices:].clip(_least(len(sets)), MOST_FACTOR)
            found = surface.at(candidate)
            worse = found[0] < worth - ROUNDING
            if not worse.any():
                break
            length[worse] /= 2
        parameters = np.where(worse[:, None], parameters, candidate)
        worth = np.where(worse, worth, found[0])
        gradient = np.where(worse[:, None], gradient, found[1])
        curvature = np.where(worse[:, None, None], curvature, found[2])
    return parameters[:, :choices], parameters[:, choices:]


def aims(num_sets: int) -> Floats:
    """Return what the factors are drawn to, shape (set,)."""
    return np.array([1.0] + [0.0] * (num_sets - 1))


def _least(num_sets: int) -> Floats:
    """Return what the factors are at least, shape (set,)."""
    return LEAST_TEMPERATURE * aims(num_sets)


class _Surface:
    """What is maximised, as a function of the offsets and factors of every fold.

    With q = (o, t), the utility of choice c for example e is x_ec . q, where x_ec has a one at c
    and the values of the sets; what draws the parameters to q_0 = (batch, aims) is

        1/2 (q - q_0)' A (q - q_0),  A = 2 OFFSET_RIDGE D' D + 2 FACTOR_RIDGE I_t

    where D q = o - t_0 batch.
    """

    def __init__(
        self, sets: Floats, gold: NDArray[np.int64], weights: Floats, centre: Floats
    ) -> None:
        """Take the arguments of `stacked`, and q_0, shape (fold, parameter)."""
        sets = sets - sets.mean(axis=-1, keepdims=True)  # changes no softmax, and rounds less
        self._sets, self._gold, self._weights, self._centre = sets, gold, weights, centre
        (num, _, choices), folds = sets.shape, len(weights)
        to_batch = np.zeros((folds, choices, choices + num))
        to_batch[:, :, :choices] = np.eye(choices)
        to_batch[:, :, choices] = -centre[:, :choices]
        self._drawn = 2 * OFFSET_RIDGE * to_batch.transpose(0, 2, 1) @ to_batch
        of_factors = np.arange(choices, choices + num)
        self._drawn[:, of_factors, of_factors] += 2 * FACTOR_RIDGE
        own = sets[:, np.arange(len(gold)), gold].T
        self._right = weights @ np.concatenate([np.eye(choices)[gold], own], axis=1)
        self._products = (sets[:, None] * sets).reshape(num * num, -1).T

    def at(self, parameters: Floats) -> tuple[Floats, Floats, Floats]:
        """Return what is maximised, shape (fold,), its gradient, shape (fold, parameter), and the
        negative of its Hessian, shape (fold, parameter, parameter). Where a factor is at its bound
        and would leave, it is held.
        """
        sets, weights, (num, examples, choices) = self._sets, self._weights, self._sets.shape
        offsets, factors = parameters[:, :choices], parameters[:, choices:]
        utility = (factors @ sets.reshape(num, -1)).reshape(-1, examples, choices)
        logs = log_softmax(utility + offsets[:, None])
        p = np.exp(logs)
        moved = parameters - self._centre
        pull = (self._drawn @ moved[..., None])[..., 0]
        likelihood = (weights * logs[:, np.arange(examples), self._gold]).sum(axis=1)
        worth: Floats = likelihood - (moved * pull).sum(axis=1) / 2
        of_sets = (p[:, None] * sets).sum(axis=-1).transpose(0, 2, 1)
        expected = np.concatenate([p, of_sets], axis=2)  # of x, (fold, example, parameter)
        weighted = weights[..., None] * expected
        gradient = self._right - weighted.sum(axis=1) - pull
        curvature = self._drawn - weighted.transpose(0, 2, 1) @ expected
        q, diagonal = weights[..., None] * p, np.arange(choices)
        curvature[:, diagonal, diagonal] += q.sum(axis=1)
        cross = (q[:, None] * sets).sum(axis=2)
        curvature[:, choices:, :choices] += cross
        curvature[:, :choices, choices:] += cross.transpose(0, 2, 1)
        squares = q.reshape(len(q), -1) @ self._products
        curvature[:, choices:, choices:] += squares.reshape(-1, num, num)
        slope = gradient[:, choices:]
        held = ((factors <= _least(num)) & (slope < 0)) | ((factors >= MOST_FACTOR) & (slope > 0))
        fold, which = np.nonzero(held)
        at = choices + which
        gradient[fold, at] = 0.0
        kept = curvature[fold, at, at]
        curvature[fold, at, :] = curvature[fold, :, at] = 0.0
        curvature[fold, at, at] = kept
        return worth, gradient, curvature


def log_softmax(values: Floats) -> Floats:
    """Return the log softmax over the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
