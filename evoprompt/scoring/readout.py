"""What a model would say next: the likeliest tokens after a context, each with its log-probability.

A plan that scores every token of the vocabulary where its contexts end goes any of the scorer's
ways, so prompts share their beginnings here as they do in scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.language_model import NOT_A_NUMBER, Ints, LanguageModel
from evoprompt.scoring.trie import TokenRequest, Tokens, TriePlan, plan

#: Log-probabilities held at once; contexts beyond them are forwarded in further groups.
MOST_NUMBERS = 2**22


@dataclass(frozen=True, slots=True)
class Readout:
    """The likeliest next tokens of each context."""

    tokens: Ints  #: the likeliest first, shape (context, place); of equal ones the lowest id
    log_prob: NDArray[np.float64]  #: nats, among all tokens of the model, same shape
    count: TokenCount


def groups_of(contexts: Sequence[Tokens], vocabulary: int) -> list[list[int]]:
    """Return the places of contexts in groups that are read together, neighbours in order of their
    tokens.
    """
    size = max(1, MOST_NUMBERS // vocabulary)
    order = sorted(range(len(contexts)), key=contexts.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]


def plan_readout(
    contexts: Sequence[Tokens], vocabulary: int, budget: int, cuts: Sequence[int] = ()
) -> TriePlan:
    """Return the plan that scores every token after each context; arguments as `trie.plan`."""
    trie = plan([TokenRequest(context, (0,)) for context in contexts], budget, cuts)
    return replace(
        trie,
        scored_row=trie.scored_row.repeat(vocabulary),
        scored_token=np.tile(np.arange(vocabulary), len(contexts)),
        scored_request=trie.scored_request.repeat(vocabulary),
    )


def likeliest(log_prob: NDArray[np.float64], top: int, count: TokenCount) -> Readout:
    """Return the readout of log-probabilities of all tokens, shape (context, vocabulary).

    Raises:
        UserError: one is NaN.
    """
    if np.isnan(log_prob).any():
        raise UserError(NOT_A_NUMBER)
    tokens = np.argsort(-log_prob, axis=1, kind="stable")[:, :top]
    return Readout(tokens, np.take_along_axis(log_prob, tokens, axis=1), count)


def joined_readout(parts: Sequence[tuple[Sequence[int], Readout]], num_contexts: int) -> Readout:
    """Return the readout of contexts that were read in parts, each given with its places."""
    top = parts[0][1].tokens.shape[1] if parts else 0
    tokens = np.zeros((num_contexts, top), dtype=np.int64)
    log_prob = np.zeros((num_contexts, top))
    for places, part in parts:
        tokens[list(places)], log_prob[list(places)] = part.tokens, part.log_prob
    return Readout(tokens, log_prob, sum((part.count for _, part in parts), TokenCount()))


def readout_plain(model: LanguageModel, contexts: Sequence[Tokens], top: int) -> Readout:
    """Return what `Scorer.readout` does, each context forwarded by itself: the reference."""
    every = np.arange(model.vocabulary)
    rows = [
        model.forward_plain(np.array(c), (np.full(model.vocabulary, len(c) - 1), every)).log_prob
        for c in contexts
    ]
    body, heads = sum(map(len, contexts)), len(contexts)
    count = TokenCount(body, body, heads, heads, heads, requests=heads)
    return likeliest(np.array(rows).reshape(heads, model.vocabulary), top, count)
