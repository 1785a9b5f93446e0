"""LabelScores -> fitness. Every measure is a number per (policy, example), higher is better,
averaged over the examples.

With l_c the log-likelihood (nats) of candidate c, y the right one, n its tokens, b its bytes in
UTF-8:

    sum               l_y
    per_token         l_y / n_y
    per_byte          l_y / b_y
    label_normalized l_y - log sum_c exp(l_c) the log of the probability among the choices; chance
    is -log C
    pmi the same of l_c - prior_c prior: the candidate after a content-free input
    accuracy 1 where y has the greatest l_c, else 0; free form: 1 where y is the model's greedy
    answer

With a weight w of self-evaluation, w v is added to any of them. v is the mean log-likelihood of the
evaluator's right verdicts, with d the log-odds log p(TRUE) - log p(FALSE) that it gives to the
right answer and d' those that it gives to a wrong one:

    v = 1/2 [ log sigmoid(d) + log sigmoid(-d') ]      chance is -log 2

label_normalized and pmi are undefined without choices. Sources: Brown et al. 2020 (per token),
Holtzman et al. 2021 (PMI), Zhao et al. 2021 (content-free input). `batch_calibrated` is for
answering, not a fitness: what it gives an example depends on the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import LabelScores

#: Fitness is rounded to this many digits before anything compares it, so that the last bits of a
#: score, which depend on the shape of a forward pass, do not decide who survives.
FITNESS_DIGITS = 6

KINDS = ("sum", "per_token", "per_byte", "label_normalized", "pmi", "accuracy")


def case_fitness(
    scores: LabelScores, kind: str, self_evaluation: float = 0.0
) -> NDArray[np.float64]:
    """Return the fitness of each policy on each example, shape (policy, example), unrounded.

    Args:
        scores: of any policies.
        kind: how the answers count.
        self_evaluation: weight of the verdicts on them.

    Raises:
        ValueError: the kind is unknown, or it needs choices that the examples lack, a prior or
            verdicts that were not measured.
    """
    answers = _answer_fitness(scores, kind)
    return (
        answers + self_evaluation * verdict_log_likelihood(scores) if self_evaluation else answers
    )


def verdict_log_odds(scores: LabelScores) -> NDArray[np.float64]:
    """Return log p(TRUE) - log p(FALSE) of each policy's evaluator on the right and on a wrong
    answer, nats: shape (policy, example, answer).

    Raises:
        ValueError: verdicts were not measured.
    """
    if scores.verdict is None:
        raise ValueError(
            "self-evaluation needs the evaluator's verdicts, and they were not measured"
        )
    log_odds: NDArray[np.float64] = scores.verdict[..., 0] - scores.verdict[..., 1]
    return log_odds


def verdict_log_likelihood(scores: LabelScores) -> NDArray[np.float64]:
    """Return the mean log-likelihood of the right verdicts on the two answers, given that it is one
    of both words: shape (policy, example).

    Raises:
        ValueError: as `verdict_log_odds`.
    """
    log_odds = verdict_log_odds(scores)
    likelihoods: NDArray[np.float64] = (
        -(np.logaddexp(0, -log_odds[..., 0]) + np.logaddexp(0, log_odds[..., 1])) / 2
    )
    return likelihoods


def _answer_fitness(scores: LabelScores, kind: str) -> NDArray[np.float64]:
    if kind == "sum":
        return scores.of_gold(scores.log_likelihood)
    if kind == "per_token":
        return scores.of_gold(_ratio(scores.log_likelihood, scores.num_tokens))
    if kind == "per_byte":
        return scores.of_gold(_ratio(scores.log_likelihood, scores.num_bytes))
    if kind == "label_normalized":
        return scores.of_gold(_log_softmax(scores.log_likelihood, scores, kind))
    if kind == "pmi":
        if scores.prior is None:
            raise ValueError("fitness 'pmi' needs the candidates' prior, and it was not measured")
        shifted = np.where(
            scores.present,
            scores.log_likelihood - np.where(scores.present, scores.prior, 0.0),
            -np.inf,
        )
        return scores.of_gold(_log_softmax(shifted, scores, kind))
    if kind == "accuracy":
        return correct(scores).astype(np.float64)
    raise ValueError(f"unknown fitness '{kind}'; valid are: {', '.join(KINDS)}")


def batch_calibrated(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the choices' values beyond what their kind has after every input alike, shape
    (example, choice).

        v_c(x) - mean of v_c'(x') over all choices c' of the same group after all inputs x'

    Without labels this takes out a context's favour for a choice that is offered everywhere. It
    supposes that choices of all groups are about equally often right in these examples.

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


def correct(scores: LabelScores) -> NDArray[np.bool_]:
    """Return which answers are right, shape (policy, example). A tie between candidates goes to the
    first of them.
    """
    if not has_choices(scores):
        return scores.of_gold(scores.is_greedy)
    return np.equal(predicted(scores), scores.gold[None, :])


def predicted(scores: LabelScores) -> NDArray[np.int64]:
    """Return the index of the likeliest candidate, shape (policy, example)."""
    best: NDArray[np.int64] = np.argmax(scores.log_likelihood, axis=2)
    return best


def has_choices(scores: LabelScores) -> bool:
    """Return whether every example has more than one candidate."""
    return bool((scores.present.sum(axis=2) > 1).all())


def _log_softmax(
    values: NDArray[np.float64], scores: LabelScores, kind: str
) -> NDArray[np.float64]:
    if not has_choices(scores):
        raise ValueError(
            f"fitness '{kind}' compares choices, and an example has none; use per_token"
        )
    shifted: NDArray[np.float64] = values - values.max(axis=2, keepdims=True)
    normalized: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    return normalized


def _ratio(values: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    return values / np.maximum(sizes, 1)
