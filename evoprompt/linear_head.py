"""Choices read off the log-probabilities of many words: a linear head, fitted on examples whose
answers are known. Pure.

    x, log-probabilities of words after each example, and y, its choice --fit_head--> Head
    Head, x of other examples --outputs--> values of the choices

Offsets compare a prompt's choices by the words that stand for them alone. What the model would say
instead tells the choices apart too: after a text that praises, "lovely" is likelier, whatever the
label words are. It costs no further context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Of the ridge; nats that are added to each word's spread, so that one that hardly moves does not
#: count as much as others; and what the outputs, which are near 0 and 1, are multiplied by.
RIDGE, LEAST_SPREAD, GAIN = 0.3, 0.3, 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What makes values of choices of the log-probabilities of words."""

    mean: Floats  #: nats, of each word, shape (word,)
    weights: Floats  #: a nat, shape (word, choice)

    def outputs(self, words: Floats) -> Floats:
        """Return values of the choices, greater for likelier ones, shape (..., choice), of
        log-probabilities of the words, shape (..., word).
        """
        found: Floats = (words - self.mean) @ self.weights
        return found


def fit_head(
    words: Floats,
    gold: NDArray[np.int64],
    num_choices: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Head, Floats]:
    """Return the head of one prompt, and its outputs for these very examples, each by the head that
    is fitted on the others, shape (example, choice).

    Ridge regression of which choice is right, Y, with 1 where it is, less its mean. With n examples
    and m words, X the words less their mean, each over its standard deviation and LEAST_SPREAD, and
    over sqrt(m), K = X X' and H = (K + RIDGE)^-1:

        weights = X' H Y,  outputs by the others = Y_i - (Y - K H Y)_i / (1 - (K H)_ii)

    both times GAIN; of a group g that is left out together, Y_g - (I - (K H)_gg)^-1 (Y - K H Y)_g.
    Means and deviations are of all examples, and know no label.

    Args:
        words: log-probabilities of words, nats, shape (example, word); which words is chosen
            without the labels of these examples.
        gold: index of the right choice, shape (example,).
        num_choices: that there are.
        groups: a number for each example, shape (example,): those of one number are one example in
            several wordings, and left out together; by default each is alone.
    """
    mean = words.mean(axis=0)
    scale = 1 / (words.std(axis=0) + LEAST_SPREAD) / np.sqrt(words.shape[1])
    x = (words - mean) * scale
    y = np.eye(num_choices)[gold] - 1 / num_choices
    kernel = x @ x.T
    inverse = np.linalg.inv(kernel + RIDGE * np.eye(len(x)))
    smoother = kernel @ inverse
    off = y - smoother @ y
    if groups is None:
        left_out = y - off / (1 - np.diag(smoother))[:, None]
    else:
        left_out = np.empty_like(y)
        for own in (groups == g for g in np.unique(groups)):
            rest = np.eye(int(own.sum())) - smoother[np.ix_(own, own)]
            left_out[own] = y[own] - np.linalg.solve(rest, off[own])
    return Head(mean, GAIN * scale[:, None] * (x.T @ inverse @ y)), GAIN * left_out
