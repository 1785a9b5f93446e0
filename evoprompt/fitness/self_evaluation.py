"""LabelScores -> how well a policy's evaluator judges the right and a wrong answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import LabelScores


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
    of both words, nats: shape (policy, example).

        v = 1/2 [ log sigmoid(d) + log sigmoid(-d') ]

    With d the log-odds on the right answer and d' those on a wrong one; chance is -log 2.

    Raises:
        ValueError: as `verdict_log_odds`.
    """
    log_odds = verdict_log_odds(scores)
    likelihoods: NDArray[np.float64] = (
        -(np.logaddexp(0, -log_odds[..., 0]) + np.logaddexp(0, log_odds[..., 1])) / 2
    )
    return likelihoods
