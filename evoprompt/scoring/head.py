"""From hidden rows to the scores of tokens, through the vocabulary head, in chunks of rows.

Knows tensors by their methods only. On a device nothing waits for it before the scores are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.scoring.language_model import Ints


class LateScores:
    """What `language_model.RowScores` has, copied from the device when it is first read.

    Args:
        parts: log-probabilities and whether each is the greatest, tensors by chunk.
        order: the scored tokens of all chunks, one after another.
    """

    def __init__(self, parts: Sequence[tuple[Any, Any]], order: Ints) -> None:
        self._parts = parts
        self._order = order

    @cached_property
    def log_prob(self) -> NDArray[np.float64]:
        """Nats, shape (scored token,)."""
        found: NDArray[np.float64] = self._gathered(0, np.zeros(len(self._order)))
        return found

    @cached_property
    def is_first(self) -> NDArray[np.bool_]:
        """The token is the model's first choice, shape (scored token,)."""
        found: NDArray[np.bool_] = self._gathered(1, np.zeros(len(self._order), dtype=bool))
        return found

    def _gathered(self, which: int, target: Any) -> Any:
        found = [part[which].cpu().numpy() for part in self._parts]
        if found:
            target[self._order] = np.concatenate(found)
        return target


def score_rows(
    hidden: Any,
    head: Callable[[Any], Any],
    place: Ints,
    targets: Ints,
    step: int,
    to_device: Callable[[Ints], Any],
) -> LateScores:
    """Return the scores of targets at places of `hidden`.

    Args:
        hidden: (needed row, hidden size), or logits where `head` changes nothing.
        head: makes (row, vocabulary) of rows.
        place: the row of each scored token, ascending or not.
        targets: the scored tokens.
        step: rows at once.
        to_device: makes a tensor beside `hidden`.
    """
    parts, order = [], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(hidden), step):
        inside = np.flatnonzero((place >= start) & (place < start + step))
        row, wanted = to_device(place[inside] - start), to_device(targets[inside])
        logits = head(hidden[start : start + step]).float()  # (row of the chunk, vocabulary)
        values = logits[row, wanted].double() - logits.logsumexp(-1)[row].double()
        parts.append((values, logits.argmax(-1)[row] == wanted))
        order.append(inside)
    return LateScores(parts, np.concatenate(order))
