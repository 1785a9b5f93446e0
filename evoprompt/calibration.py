"""A prompt's own favour for labels, and answers freed of it: offsets and a temperature, fitted on
examples whose answers are known; and what other words tell, by a linear head. Pure.

    values v, shape (example, choice), and gold y --fit--> Calibration: T v + a h + o
    LabelScores --calibrated_out--> LabelScores, each example judged by the others' calibration
    Calibration, LabelScores of other examples --apply--> LabelScores

Raw likelihoods of a prompt's choices are mostly its favour for some of them, whatever the input. A
search that selects by them selects for favour; a search that selects by what is left selects for
what a prompt tells the model. The offsets are the favour's opposite; h is what the
log-probabilities of other words say of the choices (`linear_head`). Where an example takes part in
the fit that judges it, the judgement flatters: `leave_one_out` fits without it.

Offsets belong to choices that all examples share, in one order, as those of a task with
`Task.choices` do. Where examples have choices of their own there are none to fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from evoprompt.linear_head import Head, fit_head
from evoprompt.records import LabelScores
from evoprompt.stats.stacking import aims, log_softmax, stacked

Floats = NDArray[np.float64]
Way = Literal["off", "batch", "labelled", "head", "contextual"]

#: Numbers of an array at once, which bounds the memory where there are many examples.
MOST_NUMBERS = 500_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a prompt's choices comparable: they are compared by T v + a h + o."""

    way: Way
    temperature: float  #: T, what the values are multiplied by
    offsets: tuple[float, ...]  #: o, nats, of each choice, of mean 0
    head: Head | None = None  #: makes h; None: there is none
    factor: float = 0.0  #: a, what h is multiplied by

    def apply(self, values: Floats, words: Floats | None = None) -> Floats:
        """Return log-probabilities among the choices, shape (..., choice), nats.

        Args:
            values: log-likelihoods of the choices, shape (..., choice).
            words: where there is a head, log-probabilities of its words, shape (..., word).

        Raises:
            ValueError: there is a head, and no words.
        """
        compared = self.temperature * values + np.array(self.offsets)
        if self.head is not None:
            if words is None:
                raise ValueError("this calibration reads words, and none were measured")
            compared = compared + self.factor * self.head.outputs(words)
        return log_softmax(compared)


@dataclass(frozen=True, slots=True)
class LabelHead:
    """A head as users get it, with its weights by label."""

    words: tuple[int, ...]  #: the tokens whose log-probabilities it reads
    factor: float  #: what its outputs are multiplied by
    mean: tuple[float, ...]  #: nats, of each word
    weights: Mapping[str, tuple[float, ...]]  #: by label, of each word

    def of(self, labels: Sequence[str]) -> Head:
        """Return the head of these labels, in this order."""
        return Head(np.array(self.mean), np.array([self.weights[c] for c in labels]).T)


@dataclass(frozen=True, slots=True)
class LabelCalibration:
    """A calibration as users get it: with its offsets by label."""

    way: Way
    temperature: float
    offsets: Mapping[str, float]  #: nats
    examples: int  #: that it was fitted on
    head: LabelHead | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; without a head where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the calibration of `to_dict`'s values."""
        if (found := values.get("head")) is None:
            return cls(**values)
        weights = {label: tuple(w) for label, w in found["weights"].items()}
        head = LabelHead(tuple(found["words"]), found["factor"], tuple(found["mean"]), weights)
        return cls(**{**values, "head": head})

    def apply(self, values: Floats, choices: Sequence[str], words: Floats | None = None) -> Floats:
        """Return log-probabilities among these choices, shape (..., choice), nats; uncalibrated
        unless every one of them has an offset, for then none is comparable.

        Args:
            values: log-likelihoods of the choices, shape (..., choice).
            choices: in any order.
            words: where there is a head, log-probabilities of its words, shape (..., word).
        """
        if not set(choices) <= self.offsets.keys():
            return log_softmax(values)
        offsets = tuple(self.offsets[c] for c in choices)
        head, factor = (self.head.of(choices), self.head.factor) if self.head else (None, 0.0)
        own = Calibration(self.way, self.temperature, offsets, head, factor)
        return own.apply(values, words)


def by_label(
    calibration: Calibration, labels: Sequence[str], examples: int, words: Sequence[int] = ()
) -> LabelCalibration:
    """Return a calibration with its offsets by label, that of so many examples; `words` are the
    tokens that its head reads.
    """
    offsets = dict(zip(labels, calibration.offsets, strict=True))
    head = None
    if (found := calibration.head) is not None:
        rows = zip(labels, found.weights.T.tolist(), strict=True)
        weights = {label: tuple(row) for label, row in rows}
        head = LabelHead(tuple(words), calibration.factor, tuple(found.mean.tolist()), weights)
    return LabelCalibration(calibration.way, calibration.temperature, offsets, examples, head)


def fitted(
    measured: Sequence[LabelScores], way: Way, changed: Sequence[LabelScores] = ()
) -> Calibration:
    """Return the calibration of one policy, from all that was measured of it together.

    A head that knows one wording alone takes what that wording does to the words for what the
    answer does; one that is fitted on others too does not. Offsets and factors are those of the
    policy as it is.

    Args:
        measured: its scores, a row each, on different examples that all share their choices.
        way: of fitting.
        changed: its scores on some of these examples under changes that leave their meaning, for a
            head alone.

    Raises:
        ValueError: the prior, or words, are needed, and they were not measured.
    """
    values = np.concatenate([scores.log_likelihood[0] for scores in measured])
    gold = np.concatenate([scores.gold for scores in measured])
    words = [_words(scores, 0, way) for scores in measured]
    joined = np.concatenate([w for w in words if w is not None]) if way == "head" else None
    beside = _wordings(measured, changed) if way == "head" and changed else None
    return fit(values, gold, way, _prior(measured[0], 0, way), joined, beside)


def calibrated_out(scores: LabelScores, way: Way) -> LabelScores:
    """Return the scores with what `leave_one_out` makes of each policy's; as they are for `off`.

    Args:
        scores: of any policies on examples that all share their choices, in one order.
        way: of fitting.

    Raises:
        ValueError: the prior, or words, are needed, and they were not measured.
    """
    if way == "off":
        return scores
    rows = [
        leave_one_out(values, scores.gold, way, _prior(scores, i, way), _words(scores, i, way))
        for i, values in enumerate(scores.log_likelihood)
    ]
    return replace(scores, calibrated=np.stack(rows))


def apply(calibration: Calibration, scores: LabelScores) -> LabelScores:
    """Return one policy's scores on examples that had no part in its calibration, as that makes
    them; as they are for `off`.
    """
    if calibration.way == "off":
        return scores
    words = scores.features
    return replace(scores, calibrated=calibration.apply(scores.log_likelihood, words))


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


def _words(scores: LabelScores, policy: int, way: Way) -> Floats | None:
    """Return the log-probabilities of the run's words after a policy's prompts, where the way needs
    them.
    """
    if way != "head":
        return None
    if scores.features is None:
        raise ValueError("a head needs the log-probabilities of words, and none were measured")
    words: Floats = scores.features[policy]
    return words


def _wordings(measured: Sequence[LabelScores], changed: Sequence[LabelScores]) -> Wordings:
    """Return what a head learns from the examples under changes."""
    numbers: dict[str, int] = {}
    every = [
        np.array([numbers.setdefault(e, len(numbers)) for e in scores.example_ids], dtype=np.int64)
        for scores in (*measured, *changed)
    ]
    words = [w for scores in changed if (w := _words(scores, 0, "head")) is not None]
    gold = np.concatenate([scores.gold for scores in changed])
    return Wordings(np.concatenate(words), gold, np.concatenate(every))


@dataclass(frozen=True, slots=True, eq=False)
class Wordings:
    """Examples under changes that leave their meaning, for a head."""

    words: Floats  #: log-probabilities of words, shape (changed example, word)
    gold: NDArray[np.int64]  #: index of the right choice, shape (changed example,)
    #: a number for each example as it is and then for these, the same for one example
    groups: NDArray[np.int64]


def fit(
    values: Floats,
    gold: NDArray[np.int64],
    way: Way,
    prior: Floats | None = None,
    words: Floats | None = None,
    beside: Wordings | None = None,
) -> Calibration:
    """Return the calibration of one prompt.

    `batch` takes off the mean of each choice's log-probability, and supposes that the choices are
    about equally often right:

        o_c = -mean_i log softmax(v_i)_c,  T = 1

    `labelled` maximises, from there,

        sum_i log softmax(T v_i + o)_{y_i} - 1/2 |o - T o_batch|^2 - 1/2 (T - 1)^2

    which is concave. `head` adds what other words tell, h, by a linear head, of which each
    example's is by the head that is fitted on the others:

        sum_i log softmax(T v_i + a h_i + o)_{y_i}
            - 1/2 |o - T o_batch|^2 - 1/2 (T - 1)^2 - 1/2 a^2,  a >= 0

    `contextual` takes off the log-probabilities after a content-free input, and looks at no
    example. `off` leaves the values as they are.

    Args:
        values: log-likelihoods of the choices, nats, shape (example, choice), all finite.
        gold: index of the right choice, shape (example,).
        way: of fitting.
        prior: log-likelihoods of the choices after a content-free input, shape (choice,), for
            `contextual` alone.
        words: log-probabilities of other words, shape (example, word), for `head` alone; with fewer
            than two examples there is no head.
        beside: examples under changes, for `head` alone: h is fitted on these too, and an example's
            is left out of its own in every wording.

    Source: Zhou et al. 2023 (batch calibration), Platt 1999 (labelled offsets and temperature),
    Zhao et al. 2021 (contextual calibration), Wolpert 1992 (stacking of left-out outputs).
    """
    everything = np.ones((1, len(values)))
    head, sets = _sets(values, gold, way, words, beside)
    offsets, factors = _fit(sets, gold, everything, way, prior)
    temperature, *others = factors[0].tolist()
    return Calibration(way, temperature, tuple(offsets[0].tolist()), head, *others)


def leave_one_out(
    values: Floats,
    gold: NDArray[np.int64],
    way: Way,
    prior: Floats | None = None,
    words: Floats | None = None,
) -> Floats:
    """Return log-probabilities among the choices, nats, shape (example, choice): each example's by
    the calibration that is fitted on the others, as `fit` does. A single example has no others, and
    stays as it is but for `contextual`.

    A head's outputs are left out of it one by one, and then their factor with the rest; what an
    output owes to the label of another example is not taken from it a second time.
    """
    logs = log_softmax(values)
    if way == "off" or (len(values) < 2 and way != "contextual"):
        return logs
    _, sets = _sets(values, gold, way, words)
    others = 1.0 - np.eye(len(values))
    size = max(1, MOST_NUMBERS // sets.size)
    blocks = [others[first : first + size] for first in range(0, len(values), size)]
    found = [_fit(sets, gold, block, way, prior) for block in blocks]
    offsets, factors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return log_softmax(np.einsum("es,sec->ec", factors, sets) + offsets)


def _sets(
    values: Floats,
    gold: NDArray[np.int64],
    way: Way,
    words: Floats | None,
    beside: Wordings | None = None,
) -> tuple[Head | None, Floats]:
    """Return the head, and what is added up: the log-probabilities of the choices, then the head's
    outputs, shape (set, example, choice).
    """
    logs = log_softmax(values)
    if way != "head" or len(values) < 2:
        return None, logs[None]
    if words is None:
        raise ValueError("a head needs the log-probabilities of words")
    if beside is None:
        head, left_out = fit_head(words, gold, values.shape[1])
    else:
        joined = np.concatenate([words, beside.words]), np.concatenate([gold, beside.gold])
        head, left_out = fit_head(*joined, values.shape[1], beside.groups)
    return head, np.stack([logs, left_out[: len(values)]])


def worth_of_ways(
    prompts: Sequence[tuple[Floats, NDArray[np.int64], Floats | None]], ways: Sequence[Way]
) -> dict[Way, float]:
    """Return for each way of fitting the mean log-likelihood of the right choices under it, nats,
    each example left out of its own fit.

    Args:
        prompts: (values, gold, words) of each, as `leave_one_out` takes them.
        ways: to compare; none of them needs a prior.
    """

    def worth(values: Floats, gold: NDArray[np.int64], words: Floats | None, way: Way) -> float:
        logs = leave_one_out(values, gold, way, words=words)
        return float(logs[np.arange(len(gold)), gold].mean())

    return {way: float(np.mean([worth(*p, way) for p in prompts])) for way in ways}


def _fit(
    sets: Floats,
    gold: NDArray[np.int64],
    weights: Floats,
    way: Way,
    prior: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return offsets, shape (fold, choice), and the factors of the sets, shape (fold, set), for
    each fold's weights of the examples, shape (fold, example).
    """
    logs, folds = sets[0], len(weights)
    factors = np.tile(aims(len(sets)), (folds, 1))
    if way == "off":
        return np.zeros((folds, logs.shape[1])), factors
    if way == "contextual":
        assert prior is not None
        return np.tile(prior.mean() - prior, (folds, 1)), factors
    batch = -(weights @ logs) / weights.sum(axis=1, keepdims=True)
    batch -= batch.mean(axis=1, keepdims=True)
    return (batch, factors) if way == "batch" else stacked(sets, gold, weights, batch)
