"""A model of two labels that finds the right one by a word of the input; it may need a word of the
instruction for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from toys.instant import InstantExecutor

from evoprompt.records import TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.trie import TokenRequest

#: By which an input is told to be bad, and what is a word for bad.
CUE, BAD = "awful", ("bad", "poor")


class KeyedExecutor(InstantExecutor):
    """Favours the right label by two nats; without its key in the prompt, the good one, or, with a
    favour, the good one by so many nats beside that.
    """

    def __init__(self, key: str = "", favour: float = 0.0) -> None:
        self.key, self.favour = key, favour

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        values = np.array([self._value(r) for r in requests])
        tokens = sum(len(r.context) + len(r.continuation) for r in requests)
        count = TokenCount(body_tokens=tokens, floor_body_tokens=tokens, requests=len(requests))
        return TokenScores(values, values > -1, count)

    def _value(self, request: TokenRequest) -> float:
        context, answer = (
            bytes(token - 1 for token in tokens if token).decode()
            for tokens in (request.context, request.continuation)
        )
        has_key, says_bad = self.key in context, answer.strip() in BAD
        is_bad = CUE in context and (has_key or self.favour > 0)
        moved = 0.0 if has_key or says_bad else self.favour
        return (-0.5 if says_bad == is_bad else -2.5) + moved
