"""A language model without torch, whose next-token distribution depends on every token before it
and on their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprompt.scoring.language_model import Logits, OutOfMemoryError, RowScores

Ints = NDArray[np.int64]


class ToyLM:
    """log p(v | t_0 .. t_d) is a softmax of sum_i u[t_i] * (i + 1) over the visible rows i: a wrong
    mask or depth changes it.
    """

    window = 512
    vocabulary = 17
    dtype = "float32"
    device = "cpu"
    arithmetic = "numpy"
    limits: tuple[int, ...] = ()
    picks_positions = reads_ends = block_masks = False
    end_tokens = frozenset({16})

    def __init__(
        self, *, forget_mask: bool = False, forget_state: bool = False, nan: bool = False
    ) -> None:
        self._table = np.random.default_rng(3).normal(size=(self.vocabulary, self.vocabulary)) / 20
        self._forget_mask = forget_mask
        self._forget_state = forget_state
        self._nan = nan
        self._kept: list[tuple[int, int]] = []  # (token, depth)
        self._states: list[list[tuple[int, int]]] = []
        self.memory = 10**9  #: tokens of the longest pass that finds memory
        self.body_tokens = 0

    def begin(self) -> None:
        self._kept = []
        self._states = [[]]

    def drop(self, num_rows: int) -> None:
        del self._kept[len(self._kept) - num_rows :]

    def forward(
        self,
        tokens: Ints,
        depth: Ints,
        past_depth: Ints,
        visible: NDArray[np.bool_],
        scored: tuple[Ints, Ints],
        *,
        keep: bool,
    ) -> RowScores:
        rows, columns = self._read(tokens, depth, past_depth, visible)
        if keep:
            self._kept = columns
        return self._gather(rows, scored)

    def forward_logits(
        self, tokens: Ints, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_], rows: Ints
    ) -> Logits:
        answers, self._kept = self._read(tokens, depth, past_depth, visible)
        return np.array([answers[r] for r in rows.tolist()], dtype=np.float32).reshape(
            -1, self.vocabulary
        )

    def _read(
        self, tokens: Ints, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_]
    ) -> tuple[list[NDArray], list[tuple[int, int]]]:
        assert [d for _, d in self._kept] == past_depth.tolist()
        new = list(zip(tokens.tolist(), depth.tolist(), strict=True))
        if len(new) > self.memory:
            raise OutOfMemoryError(f"a pass of {len(new)} tokens")
        columns = self._kept + new
        self.body_tokens += len(new)
        if self._forget_mask:
            visible = np.tri(len(new), len(columns), len(columns) - len(new), dtype=bool)
        return [
            self._log_probs([c for c, seen in zip(columns, row, strict=True) if seen])
            for row in visible
        ], columns

    def take(self, num_rows: int) -> tuple[list[tuple[int, int]], int]:
        return self._kept[len(self._kept) - num_rows :], num_rows

    def put(self, segments: Sequence[list[tuple[int, int]]]) -> None:
        self._kept = [row for segment in segments for row in segment]

    def grow(self, tokens: Ints, scored: tuple[Ints, Ints]) -> RowScores:
        below = self._states[-1]
        rows = below + [(int(t), len(below) + i) for i, t in enumerate(tokens)]
        self.body_tokens += len(tokens)
        self._states.append(rows)
        return self._gather(
            [self._log_probs(rows[: len(below) + i + 1]) for i in range(len(tokens))], scored
        )

    def extend(self, tokens: Ints) -> Logits:
        below = [] if self._forget_state else self._states[-1]
        self._states[-1] = below + [(int(t), len(below) + i) for i, t in enumerate(tokens)]
        self.body_tokens += len(tokens)
        return self._log_probs(self._states[-1]).astype(np.float32)

    def shrink(self) -> None:
        self._states.pop()

    def branch(self, tokens: Ints, scored: tuple[Ints, Ints, Ints]) -> RowScores:
        which, place, targets = scored
        self.body_tokens += tokens.size
        below = [] if self._forget_state else self._states[-1]
        rows = []
        for w, p in zip(which.tolist(), place.tolist(), strict=True):
            rows.append(
                self._log_probs(
                    below + [(int(t), len(below) + i) for i, t in enumerate(tokens[w, : p + 1])]
                )
            )
        return self._gather(rows, (np.arange(len(rows)), targets))

    def forward_plain(self, tokens: Ints, scored: tuple[Ints, Ints]) -> RowScores:
        columns = [(int(t), d) for d, t in enumerate(tokens)]
        self.body_tokens += len(columns)
        return self._gather(
            [self._log_probs(columns[: d + 1]) for d in range(len(columns))], scored
        )

    def _log_probs(self, columns: list[tuple[int, int]]) -> NDArray[np.float64]:
        logits = sum(self._table[t] * (d + 1) for t, d in columns)
        logits = logits - np.max(logits)
        return np.asarray(logits - np.log(np.exp(logits).sum())) * (np.nan if self._nan else 1)

    def _gather(self, rows: list[NDArray[np.float64]], scored: tuple[Ints, Ints]) -> RowScores:
        pairs = list(zip(scored[0].tolist(), scored[1].tolist(), strict=True))
        return RowScores(
            np.array([rows[r][t] for r, t in pairs]),
            np.array([rows[r].argmax() == t for r, t in pairs], dtype=bool),
        )
