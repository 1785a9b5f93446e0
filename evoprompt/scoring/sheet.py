"""Where the answers of a scoring call are written down, by scored token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import TokenCount
from evoprompt.scoring.language_model import Answers, Ints
from evoprompt.scoring.trie import TriePlan


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
