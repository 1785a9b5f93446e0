"""The kinds of fitness that count likelihoods. In their formulas l_c is the log-likelihood (nats)
of candidate c, y the right candidate, n its tokens, b its bytes in UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.choices import COMPARISONS, choice_log_probabilities, correct
from evoprompt.records import LabelScores


@dataclass(frozen=True)
class Sum:
    """l_y."""

    name: str = "sum"
    needs_prior: bool = False
    needs_choices: bool = False

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return nats, shape (policy, example)."""
        return scores.of_gold(scores.log_likelihood)


@dataclass(frozen=True)
class PerToken:
    """l_y / n_y. Source: Brown et al. 2020."""

    name: str = "per_token"
    needs_prior: bool = False
    needs_choices: bool = False
    compared_by: str = "per_token"

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return nats per token, shape (policy, example)."""
        return scores.of_gold(scores.log_likelihood / np.maximum(scores.num_tokens, 1))


@dataclass(frozen=True)
class PerByte:
    """l_y / b_y."""

    name: str = "per_byte"
    needs_prior: bool = False
    needs_choices: bool = False
    compared_by: str = "per_byte"

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return nats per byte, shape (policy, example)."""
        return scores.of_gold(scores.log_likelihood / np.maximum(scores.num_bytes, 1))


@dataclass(frozen=True)
class LabelNormalized:
    """l_y - log sum_c exp(l_c), the log of the probability among the choices; chance is -log C for
    C choices.
    """

    name: str = "label_normalized"
    needs_prior: bool = False
    needs_choices: bool = True

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return nats, shape (policy, example)."""
        return scores.of_gold(choice_log_probabilities(scores))


@dataclass(frozen=True)
class Pmi:
    """d_y - log sum_c exp(d_c) with d_c = l_c - prior_c, where prior_c is the log-likelihood of the
    candidate after a content-free input. Sources: Holtzman et al. 2021, Zhao et al. 2021.
    """

    name: str = "pmi"
    needs_prior: bool = True
    needs_choices: bool = True
    compared_by: str = "pmi"

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return nats, shape (policy, example)."""
        return scores.of_gold(choice_log_probabilities(scores, COMPARISONS[self.compared_by]))


@dataclass(frozen=True)
class Accuracy:
    """1 where y has the greatest l_c, else 0; in free form 1 where y is the model's greedy
    answer.
    """

    name: str = "accuracy"
    needs_prior: bool = False
    needs_choices: bool = False

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return 0 or 1, shape (policy, example)."""
        return correct(scores).astype(np.float64)
