"""A backend: a model of bytes for which the byte that came last is the likeliest to come again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from math import log

import numpy as np

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest, Tokens, count_rows

AGAIN, OTHER = log(0.5), log(0.5 / 256)  #: nats of the byte that came last, and of each other token


class Bytes:
    """Text -> UTF-8 bytes, each plus one; 0 begins and ends a text."""

    begin_token = 0
    break_tokens = frozenset({ord("\n") + 1})
    special_tokens = frozenset({0})

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the tokens of each text."""
        return [tuple(byte + 1 for byte in text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return bytes(token - 1 for token in tokens if token).decode(errors="replace")

    def tokens_with(self, text: str) -> frozenset[int]:
        """Return the tokens in whose own text this text stands."""
        return frozenset(byte + 1 for byte in text.encode()) if len(text) == 1 else frozenset()


class EchoExecutor:
    """Scores and writes. What a model cannot do returns None."""

    def info(self) -> ModelInfo:
        """Return what the driver must know of the model."""
        where = {"placement": "this process", "device": "cpu", "chunk_tokens": 1}
        how = {"dtype": "float64", "path": "plain", "arithmetic": "exact"}
        return ModelInfo(window=4096, reason="a toy", num_workers=1, **where, **how)

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key; each is told as it is done."""
        results = {unit.key: self.score_plain(unit.requests) for unit in units}
        for key, scores in results.items():
            on_result(key, scores)
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, in order."""
        texts = [(r.context[-1], *r.continuation) for r in requests]
        again = [[a == b for a, b in pairwise(text)] for text in texts]
        count = TokenCount(
            body_tokens=sum(len(r.context) + len(r.continuation) for r in requests),
            floor_body_tokens=count_rows(requests),
            requests=len(requests),
        )
        nats = [sum(AGAIN if same else OTHER for same in row) for row in again]
        return TokenScores(np.array(nats), np.array([all(row) for row in again]), count)

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        """Propose no words."""

    def gains(self, asked: Exchange) -> None:
        """Give no gradient."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request: the last byte again and again."""
        return [
            Decoded(
                r.prompt[-1:] * r.max_tokens,
                (AGAIN,) * r.max_tokens,
                False,
                TokenCount(body_tokens=len(r.prompt), generated_tokens=r.max_tokens),
            )
            for r in requests
        ]

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Hold nothing."""


class Echo:
    """The backend itself: it holds no state."""

    def identify(self, model: ModelConfig) -> Identity:
        """Return what answers, before anything is loaded."""
        return Identity(model.name, "nowhere", "echo-1")

    def tokenizer(self, identity: Identity) -> Bytes:
        """Return the tokenizer of what answers."""
        return Bytes()

    def open(self, model: ModelConfig, workers: WorkersConfig) -> EchoExecutor:
        """Return what scores and writes."""
        return EchoExecutor()
