"""The scorer: requests of token ids -> exact log-likelihoods, each distinct prefix forwarded once.

Knows the plan and a language model behind a narrow protocol. A model is probed when it is loaded: if packed passes do not
reproduce the plain forward on it, every sequence is forwarded by itself and the reason is kept. A wrong number is never silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.trie import Pass, TokenRequest, TriePlan, plan, visible
from evoprompt.seeding import Stream, generator

#: A packed pass may differ from the plain forward by this many nats per token plus as many parts of its log-probability, or the model
#: is scored plainly. On the probe's random tokens (log-probabilities near -20) the order of summation alone moves SmolLM2 by 1.3e-4
#: nats. On text the limit of 1e-4 nats is held by a test with the real model. The limits of the 16-bit types are chosen, not measured.
PROBE_TOLERANCE = {"float32": (1e-4, 2e-5), "float16": (0.1, 0.01), "bfloat16": (0.3, 0.03)}


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What a scoring call measured, by request."""

    log_likelihood: NDArray[np.float64]  #: nats, summed over the continuation, shape (request,)
    is_greedy: NDArray[np.bool_]  #: every token of the continuation is the model's first choice
    count: TokenCount


@dataclass(frozen=True, slots=True)
class RowScores:
    """Log-probabilities at the scored tokens of a pass."""

    log_prob: NDArray[np.float64]  #: nats, shape (scored token,)
    is_first: NDArray[np.bool_]  #: the token is the model's first choice


class LanguageModel(Protocol):
    """What the scorer asks of a model. `lm.TransformersLM` is the implementation."""

    window: int  #: the longest sequence it reads, in tokens
    vocabulary: int
    dtype: str
    sliding_window: int | None

    def begin(self) -> None:
        """Forget all kept rows."""

    def forward(
        self,
        tokens: NDArray[np.int64],
        depth: NDArray[np.int64],
        past_depth: NDArray[np.int64],
        visible: NDArray[np.bool_],
        scored: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        keep: bool,
    ) -> RowScores:
        """Forward one packed pass after the kept rows; `scored` are rows of the pass and the tokens they predict."""

    def drop(self, num_rows: int) -> None:
        """Forget the last rows kept."""

    def forward_plain(self, tokens: NDArray[np.int64], scored: tuple[NDArray[np.int64], NDArray[np.int64]]) -> RowScores:
        """Forward one whole sequence by itself: the reference that everything else is held against."""


class Scorer:
    """Scores requests with one model. `path` says how (`packed` or `plain`), `reason` why."""

    def __init__(self, model: LanguageModel, *, chunk_tokens: int = 256, path: str | None = None) -> None:
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.path, self.reason = ("packed", "being probed") if path is None else (path, "asked for")
        if path is None:
            self.path, self.reason = self._probe()

    def score(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the log-likelihood of every request, in order.

        Raises:
            UserError: a request is longer than the model's window, or the model returns NaN.
        """
        if not requests:
            return TokenScores(np.zeros(0), np.zeros(0, dtype=bool), TokenCount())
        longest = max(len(r.fed) for r in requests)
        if longest > self.model.window:
            raise UserError(
                f"a prompt of {longest} tokens is longer than the model's window of {self.model.window}; nothing is ever cut off, "
                "so use shorter inputs, fewer demonstrations (evolution.max_demonstrations) or a model with a longer window"
            )
        trie = plan(requests, self.chunk_tokens)
        rows, count = self._packed(trie) if self.path == "packed" else self._plain(requests, trie)
        if np.isnan(rows.log_prob).any():
            raise UserError(
                "the model returned NaN as a log-probability; its weights or its number type are at fault: try model.dtype=float32, "
                "and check the model's files"
            )
        log_likelihood = np.bincount(trie.scored_request, weights=rows.log_prob, minlength=trie.num_requests).astype(np.float64)
        is_greedy = np.bincount(trie.scored_request, weights=~rows.is_first, minlength=trie.num_requests) == 0
        return TokenScores(log_likelihood, is_greedy, count)

    def _packed(self, trie: TriePlan) -> tuple[RowScores, TokenCount]:
        log_prob = np.full(len(trie.scored_row), np.nan)
        is_first = np.zeros(len(trie.scored_row), dtype=bool)
        by_row = np.argsort(trie.scored_row, kind="stable")
        sorted_rows = trie.scored_row[by_row]
        kept: tuple[tuple[int, int], ...] = ()
        self.model.begin()
        for piece in trie.passes:
            kept = self._drop_to(kept, piece)
            low, high = np.searchsorted(sorted_rows, [piece.start, piece.end])
            wanted = by_row[low:high]
            past = np.concatenate([np.arange(s, e) for s, e in piece.past]) if piece.past else np.zeros(0, dtype=np.int64)
            scores = self.model.forward(
                trie.tokens[piece.start : piece.end],
                trie.depth[piece.start : piece.end],
                trie.depth[past],
                visible(trie, piece),
                (trie.scored_row[wanted] - piece.start, trie.scored_token[wanted]),
                keep=piece.keep,
            )
            log_prob[wanted], is_first[wanted] = scores.log_prob, scores.is_first
            if piece.keep:
                kept = (*kept, (piece.start, piece.end))
        return RowScores(log_prob, is_first), self._count(trie, trie.num_rows, int(trie.needs_head.sum()), len(trie.passes))

    def _drop_to(self, kept: tuple[tuple[int, int], ...], piece: Pass) -> tuple[tuple[int, int], ...]:
        surplus = sum(end - start for start, end in kept[len(piece.past) :])
        if surplus:
            self.model.drop(surplus)
        return kept[: len(piece.past)]

    def _plain(self, requests: Sequence[TokenRequest], trie: TriePlan) -> tuple[RowScores, TokenCount]:
        """Forward every distinct sequence by itself."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(request.fed, []).append(index)
        first = np.concatenate([[0], np.cumsum([len(r.continuation) for r in requests])])
        log_prob = np.full(len(trie.scored_row), np.nan)
        is_first = np.zeros(len(trie.scored_row), dtype=bool)
        head_rows = 0
        for fed, members in groups.items():
            wanted = np.concatenate([np.arange(first[i], first[i + 1]) for i in members])
            rows = np.concatenate([np.arange(len(requests[i].context) - 1, len(fed)) for i in members])
            scores = self.model.forward_plain(np.array(fed), (rows, trie.scored_token[wanted]))
            log_prob[wanted], is_first[wanted] = scores.log_prob, scores.is_first
            head_rows += len(np.unique(rows))
        return RowScores(log_prob, is_first), self._count(trie, sum(map(len, groups)), head_rows, len(groups))

    @staticmethod
    def _count(trie: TriePlan, body_tokens: int, head_rows: int, forwards: int) -> TokenCount:
        return TokenCount(body_tokens, trie.num_rows, head_rows, int(trie.needs_head.sum()), forwards)

    def _probe(self) -> tuple[str, str]:
        """Score a random tree both ways; return the path to use and why."""
        requests = probe_requests(self.model.vocabulary, self.model.sliding_window, self.model.window)
        budget, self.chunk_tokens = self.chunk_tokens, 24  # small passes, so that keeping and dropping are probed too
        absolute, relative = PROBE_TOLERANCE[self.model.dtype]
        try:
            trie = plan(requests, self.chunk_tokens)
            packed, _ = self._packed(trie)
            plain, _ = self._plain(requests, trie)
        except (TypeError, ValueError, RuntimeError, KeyError, AttributeError) as error:
            # Architectures refuse masks and kept rows in many ways; each is a reason to score plainly, and is reported.
            return "plain", f"packed passes are refused by this architecture ({type(error).__name__}: {str(error)[:120]})"
        finally:
            self.chunk_tokens = budget
        errors = np.abs(packed.log_prob - plain.log_prob)
        error_nats = float(errors.max())
        if not (errors <= absolute + relative * np.abs(plain.log_prob)).all():  # also when NaN
            return "plain", f"packed passes differ from the plain forward by {error_nats:.2g} nats on this model"
        return "packed", f"packed passes reproduce the plain forward within {error_nats:.1g} nats"


def probe_requests(vocabulary: int, sliding_window: int | None, window: int) -> list[TokenRequest]:
    """Return a random tree of requests: 2 prompts, 3 examples each, 2 continuations of up to 3 tokens, longer than a sliding window."""
    rng = generator(0, Stream.PROBE)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(int(t) for t in rng.integers(0, vocabulary, size=length))

    root = draw(min(6 + (sliding_window or 0), window - 24))
    requests = []
    for _prompt in range(2):
        prompt = root + draw(5)
        for _example in range(3):
            context = prompt + draw(int(rng.integers(3, 7)))
            requests += [TokenRequest(context, draw(length)) for length in (1, 3)]
    return requests
