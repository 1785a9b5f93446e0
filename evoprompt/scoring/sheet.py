"""Where the answers of a scoring call are written down: by scored token while passes go, and by
request once they are through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import TokenCount
from evoprompt.scoring.language_model import Answers, Ints
from evoprompt.scoring.trie import Features, TokenRequest, TriePlan, plan


class Sheet:
    """Where the answers of one call are written, by scored token."""

    def __init__(self, trie: TriePlan) -> None:
        self.log_prob: NDArray[np.float64] = np.full(len(trie.scored_row), np.nan)
        self.is_first = np.zeros(len(trie.scored_row), dtype=bool)
        self.is_done = np.zeros(len(trie.scored_row), dtype=bool)
        self._by_row = np.argsort(trie.scored_row, kind="stable")
        self._rows = trie.scored_row[self._by_row]

    def of_rows(self, start: int, end: int) -> Ints:
        """Return the scored tokens that the rows [start, end) predict, in order of the rows."""
        low, high = np.searchsorted(self._rows, [start, end])
        return self._by_row[low:high]

    def write(self, scored: Ints, scores: Answers) -> None:
        """Write the answers to these scored tokens."""
        self.log_prob[scored], self.is_first[scored], self.is_done[scored] = (
            scores.log_prob,
            scores.is_first,
            True,
        )


def one_pass(trie: TriePlan, wanted: Ints, body_tokens: int) -> TokenCount:
    """Return the work of a pass that answers these scored tokens."""
    rows = len(np.unique(trie.scored_row[wanted]))
    return TokenCount(body_tokens=body_tokens, head_rows=rows, forwards=1)


class Tally:
    """What a scoring call has found by request. Where passes found no memory, some requests are
    left, to be planned again.

    Args:
        requests: of the call.
        features: read beside them.
    """

    def __init__(self, requests: Sequence[TokenRequest], features: Features | None) -> None:
        self._requests = requests
        self._tokens = np.array(features.tokens if features else (), dtype=np.int64)
        places = features.places if features else ()
        self._read = np.isin(np.arange(len(requests)), places)
        self._at = np.cumsum(self._read) - 1  # (request,), where it is read: its row of features
        self.left: Ints = np.arange(len(requests))
        self.log_likelihood = np.zeros(len(requests))  #: nats, shape (request,)
        self.is_greedy = np.zeros(len(requests), dtype=bool)  #: same shape
        #: nats, shape (place, token)
        self.features = np.zeros((len(places), len(self._tokens))) if features else None

    def plan(self, budget: int, cuts: Sequence[int]) -> TriePlan:
        """Return the plan of what is left; arguments as `trie.plan`. The features' tokens are
        scored after all others.
        """
        trie = plan([self._requests[i] for i in self.left], budget, cuts)
        places = np.flatnonzero(self._read[self.left])
        first = np.searchsorted(trie.scored_request, places)
        extra, size = trie.scored_row[first], len(self._tokens)
        return replace(
            trie,
            scored_row=np.concatenate([trie.scored_row, extra.repeat(size)]),
            scored_token=np.concatenate([trie.scored_token, np.tile(self._tokens, len(places))]),
            scored_request=np.concatenate([trie.scored_request, places.repeat(size)]),
        )

    def enter(self, trie: TriePlan, sheet: Sheet) -> None:
        """Enter what the passes of a plan of what was left have answered."""
        read = np.flatnonzero(self._read[self.left])
        size = len(read) * len(self._tokens)
        end = len(trie.scored_request) - size
        request, num = trie.scored_request[:end], len(self.left)
        lacking, misses, sums = (
            np.bincount(request, weights=of[:end], minlength=num)
            for of in (~sheet.is_done, ~sheet.is_first, sheet.log_prob)
        )
        answered = lacking == 0
        done = self.left[answered]
        self.log_likelihood[done] = sums[answered]
        self.is_greedy[done] = misses[answered] == 0
        if self.features is not None and size:
            values = sheet.log_prob[end:].reshape(len(read), -1)
            self.features[self._at[self.left[read]]] = values
        self.left = self.left[~answered]
