"""Answers read off the whole next-token distribution: a linear head over the log-probabilities of
many words, fitted on examples whose answers are known. Pure.

    x, log-probabilities of words after each example, and v, of its choices --fit_head--> Head
    Head, x and v of other examples --apply--> log-probabilities among the choices

A calibration compares a prompt's choices by the words that stand for them alone. What the model
would say instead tells the choices apart too: after a text that praises "lovely" is likelier,
whatever the label words are. It costs no further context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.calibration import Calibration, fit

Floats = NDArray[np.float64]

#: Of the ridge; weight of the choices' own words beside all others; nats that are added to each
#: word's spread, so that one that hardly moves does not count as much as others; and what the
#: outputs, which are near 0 and 1, are multiplied by before they are calibrated.
RIDGE, OWN_WEIGHT, LEAST_SPREAD, GAIN = 0.3, 0.5, 0.3, 5.0


@dataclass(frozen=True, slots=True)
class Head:
    """What makes log-probabilities among choices of those of words."""

    mean: Floats  #: nats, of each word and then of each choice, shape (feature,)
    scale: Floats  #: what each is multiplied by, shape (feature,)
    weights: Floats  #: shape (feature, choice)
    calibration: Calibration  #: of the outputs

    def apply(self, words: Floats, choices: Floats) -> Floats:
        """Return log-probabilities among the choices, nats, shape (example, choice).

        Args:
            words: log-probabilities of the words, shape (example, word).
            choices: log-likelihoods of the choices, shape (example, choice).
        """
        features = (_features(words, choices) - self.mean) * self.scale
        return self.calibration.apply(GAIN * (features @ self.weights))


def fit_head(words: Floats, choices: Floats, gold: NDArray[np.int64]) -> tuple[Head, Floats]:
    """Return the head of one prompt, and the log-probabilities of the choices by the heads that are
    fitted on the others, shape (example, choice); their calibration is left out of them too by
    `calibration.leave_one_out`, which takes the outputs.

    Ridge regression of which choice is right, on features of mean 0 (their centres are of all
    examples and know no label), with n examples, K = X X' and H = (K + RIDGE)^-1:

        weights = X' H Y,  outputs by the others = Y_i - (Y - K H Y)_i / (1 - (K H)_ii)

    Args:
        words: log-probabilities of words, shape (example, word); which words is chosen without
            the labels of these examples.
        choices: log-likelihoods of the choices, shape (example, choice).
        gold: index of the right choice, shape (example,).
    """
    features, num_words, num_choices = _features(words, choices), words.shape[1], choices.shape[1]
    mean = features.mean(axis=0)
    centred = features - mean
    spread = words.std(axis=0) + LEAST_SPREAD
    own = np.sqrt(OWN_WEIGHT / num_choices) / (centred[:, num_words:].std() + 1e-9)
    scale = np.concatenate([1 / spread / np.sqrt(num_words), np.full(num_choices, own)])
    x = centred * scale
    y = np.eye(num_choices)[gold] - 1 / num_choices
    kernel = x @ x.T
    inverse = np.linalg.inv(kernel + RIDGE * np.eye(len(x)))
    smoother = kernel @ inverse
    left_out = y - (y - smoother @ y) / (1 - np.diag(smoother))[:, None]
    calibration = fit(GAIN * left_out, gold, "labelled")
    return Head(mean, scale, x.T @ inverse @ y, calibration), GAIN * left_out


def _features(words: Floats, choices: Floats) -> Floats:
    """Return the words' log-probabilities and the choices' among themselves, (example, feature)."""
    among = choices - np.logaddexp.reduce(choices, axis=1, keepdims=True)
    return np.concatenate([words, among], axis=1)
