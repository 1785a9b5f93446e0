"""The reference that every way of scoring is held against: one sequence at a time, nothing shared,
nothing kept. Slow, and obviously right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprompt.records import TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.language_model import LanguageModel
from evoprompt.scoring.trie import TokenRequest, Tokens


def score_plain(model: LanguageModel, requests: Sequence[TokenRequest]) -> TokenScores:
    """Return the log-likelihood of every request by the plain forward alone, in order.

    Requests that feed the model the same tokens share one forward.

    Args:
        model: what is asked.
        requests: each within the model's window.
    """
    log_likelihood = np.zeros(len(requests))
    is_greedy = np.zeros(len(requests), dtype=bool)
    by_fed: dict[Tokens, list[int]] = {}
    for index, request in enumerate(requests):
        by_fed.setdefault(request.fed, []).append(index)
    head_rows = 0
    for fed, indices in by_fed.items():
        rows = [len(requests[i].context) - 1 + k for i in indices for k in _places(requests[i])]
        tokens = [token for i in indices for token in requests[i].continuation]
        answers = model.forward_plain(np.array(fed), (np.array(rows), np.array(tokens)))
        ends = np.cumsum([len(requests[i].continuation) for i in indices])[:-1]
        values, firsts = np.split(answers.log_prob, ends), np.split(answers.is_first, ends)
        for i, value, first in zip(indices, values, firsts, strict=True):
            log_likelihood[i], is_greedy[i] = value.sum(), first.all()
        head_rows += len(set(rows))
    body = sum(len(fed) for fed in by_fed)
    count = TokenCount(body, body, head_rows, head_rows, len(by_fed), requests=len(requests))
    return TokenScores(log_likelihood, is_greedy, count)


def shares_by_sequence(requests: Sequence[TokenRequest], num_shares: int) -> list[list[int]]:
    """Return the places of requests in so many shares; those of one sequence stay together, so that
    it is forwarded once.
    """
    by_fed: dict[Tokens, list[int]] = {}
    for place, request in enumerate(requests):
        by_fed.setdefault(request.fed, []).append(place)
    groups = list(by_fed.values())
    return [[i for group in groups[n::num_shares] for i in group] for n in range(num_shares)]


def joined(parts: Sequence[tuple[Sequence[int], TokenScores]], num_requests: int) -> TokenScores:
    """Return the scores of requests that were scored in parts, each given with its places."""
    log_likelihood = np.zeros(num_requests)
    is_greedy = np.zeros(num_requests, dtype=bool)
    for places, scores in parts:
        log_likelihood[list(places)] = scores.log_likelihood
        is_greedy[list(places)] = scores.is_greedy
    count = sum((scores.count for _, scores in parts), TokenCount())
    return TokenScores(log_likelihood, is_greedy, count)


def _places(request: TokenRequest) -> range:
    return range(len(request.continuation))
