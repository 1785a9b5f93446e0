"""LabelScores -> what a policy answers among choices, and how sure it is. Pure, and of use to
whoever measures and to whoever judges what was measured; knows nothing of fitness and models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import RIGHT, LabelScores


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an answer is found among choices."""

    words: str  #: for what is chosen, as a page says it
    beyond_prior: bool = False  #: what each choice has after an input without content is taken off
    over_batch: bool = False  #: what each choice has in the mean over all inputs is taken off
    per: Literal["answer", "token", "byte"] = "answer"  #: what a likelihood is divided by

    def values(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return what candidates are compared by, shape (policy, example, candidate); the greatest
        is the answer, and -inf stands where there is none. Without what is taken off over a batch.
        Where likelihoods are compared and were calibrated, it is by what that made of them.

        Raises:
            ValueError: the prior is needed, and it was not measured.
        """
        values, here = scores.log_likelihood, scores.present
        if self.beyond_prior:
            if scores.prior is None:
                raise ValueError("this needs the candidates' prior, and it was not measured")
            return np.where(here, values - np.where(here, scores.prior, 0.0), -np.inf)
        if self.per != "answer":
            sizes = scores.num_tokens if self.per == "token" else scores.num_bytes
            return np.where(here, np.where(here, values, 0.0) / np.maximum(sizes, 1), -np.inf)
        return values if scores.calibrated is None else scores.calibrated


#: Every way to compare choices. A new one is a line here, and what is taken off is taken off by
#: `measurement.asker`.
COMPARISONS: Mapping[str, Comparison] = {
    "likelihood": Comparison("the likeliest choice"),
    "pmi": Comparison(
        "the choice likeliest beyond its likelihood without content", beyond_prior=True
    ),
    "batch": Comparison(
        "the choice likeliest beyond its mean over all inputs asked with it", over_batch=True
    ),
    "per_token": Comparison("the choice likeliest per token", per="token"),
    "per_byte": Comparison("the choice likeliest per byte", per="byte"),
}
LIKELIHOOD = COMPARISONS["likelihood"]


def has_choices(scores: LabelScores) -> bool:
    """Return whether every example has more than one candidate."""
    return bool((scores.present.sum(axis=2) > 1).all())


def predicted(scores: LabelScores, comparison: Comparison = LIKELIHOOD) -> NDArray[np.int64]:
    """Return the index of the candidate that is the answer, shape (policy, example). A tie goes to
    the first of them.
    """
    best: NDArray[np.int64] = np.argmax(comparison.values(scores), axis=2)
    return best


def correct(scores: LabelScores, comparison: Comparison = LIKELIHOOD) -> NDArray[np.bool_]:
    """Return which answers are right, shape (policy, example): the right choice is the answer, or,
    in free form, the written answer is by the run's metric, or, without one, the target is the
    model's greedy answer.
    """
    if scores.grade is not None:
        return scores.grade >= RIGHT
    if not has_choices(scores):
        return scores.of_gold(scores.is_greedy)
    return np.equal(predicted(scores, comparison), scores.gold[None, :])


def choice_log_probabilities(
    scores: LabelScores, comparison: Comparison = LIKELIHOOD
) -> NDArray[np.float64]:
    """Return the log-probability of each choice among the choices, nats, shape (policy, example,
    choice); -inf where there is none.

        v_c - log sum over c' of exp(v_c')

    With v = `comparison.values`: the log-likelihood, or, beyond the prior, the log-likelihood less
    that after a content-free input.

    Raises:
        ValueError: an example has no choices, or the prior was not measured.

    Source: Holtzman et al. 2021 and Zhao et al. 2021 for what is beyond the prior.
    """
    if not has_choices(scores):
        raise ValueError("this compares choices, and an example has none")
    values = comparison.values(scores)
    shifted: NDArray[np.float64] = values - values.max(axis=2, keepdims=True)
    normalized: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    return normalized


def batch_calibrated(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the choices' values beyond what their kind has after every input alike, shape
    (example, choice).

        v_c(x) - mean of v_c'(x') over all choices c' of the same group after all inputs x'

    Without labels this takes out a context's favour for a choice that is offered everywhere. It
    supposes that choices of all groups are about equally often right in these examples. It is for
    answering, not a fitness: what it gives an example depends on the others.

    Args:
        values: log-likelihoods or log-odds; -inf where an example has fewer choices than others.
        groups: of each choice; those of one group are compared with each other as they are.

    Source: after Zhou et al. 2023 (batch calibration), who have the same choices after all inputs.
    """
    calibrated = values.copy()
    for group in np.unique(groups):
        members = (groups == group) & np.isfinite(values)
        calibrated[members] -= values[members].mean() if members.any() else 0.0
    return calibrated
