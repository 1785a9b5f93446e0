"""A backend that answers at once: each sequence of bytes has its own random log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from zlib import crc32

import numpy as np

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest, Tokens

WINDOW = 8192
#: Overrides of a run that is small but for its generations.
SMALL = (
    "model={name: instant, memo: false}",
    "workers.backend=toys.instant:InstantBackend",
    "task.fitness_examples=4",
    "task.validation_examples=4",
    "task.test_examples=4",
    "evolution.children=2",
    "evolution.max_demonstrations=2",
    "tracking.enabled=false",
)


class ByteTokenizer:
    """Text -> UTF-8 bytes, each plus one; 0 begins and ends a text."""

    begin_token = 0
    break_tokens = frozenset({ord("\n") + 1})
    special_tokens = frozenset({0})

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        return [tuple(byte + 1 for byte in text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token - 1 for token in tokens if token).decode(errors="replace")

    def tokens_with(self, text: str) -> frozenset[int]:
        return frozenset(byte + 1 for byte in text.encode()) if len(text) == 1 else frozenset()


class InstantExecutor:
    """Scores by a checksum; writes ten letters that follow from the prompt."""

    def info(self) -> ModelInfo:
        return ModelInfo(
            window=WINDOW,
            dtype="float32",
            path="plain",
            reason="",
            num_workers=1,
            placement="this process",
            device="cpu",
            chunk_tokens=64,
            arithmetic="exact",
        )

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        results = {}
        for unit in units:
            results[unit.key] = self.score_plain(unit.requests)
            on_result(unit.key, results[unit.key])
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        values = [_draw(r.context, r.continuation) for r in requests]
        tokens = sum(len(r.context) + len(r.continuation) for r in requests)
        count = TokenCount(body_tokens=tokens, floor_body_tokens=tokens, requests=len(requests))
        return TokenScores(np.array(values), np.array([v > -0.3 for v in values]), count)

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        pass

    def gains(self, asked: Exchange) -> None:
        pass

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        found = []
        for request in requests:
            number = int(-1e6 * _draw(request.prompt, (request.seed % 251,)))
            drawn = tuple(98 + number // 7**place % 26 for place in range(10))
            drawn = drawn[: request.max_tokens]
            count = TokenCount(body_tokens=len(request.prompt), generated_tokens=len(drawn))
            found.append(Decoded(drawn, (-1.0,) * len(drawn), False, count))
        return found

    def pin(self, prompts: Sequence[Tokens]) -> None:
        pass

    def close(self) -> None:
        pass


def _draw(context: Sequence[int], continuation: Sequence[int]) -> float:
    """Return a number in (-3, 0)."""
    text = bytes(token % 256 for token in (len(context), *context, *continuation))
    return -3 * (crc32(text) + 1) / (2**32 + 1)


class InstantBackend:
    """That executor, whatever the model's name."""

    def identify(self, model: ModelConfig) -> Identity:
        return Identity(model.name, "nowhere", "instant")

    def tokenizer(self, identity: Identity) -> ByteTokenizer:
        return ByteTokenizer()

    def open(self, model: ModelConfig, workers: WorkersConfig) -> InstantExecutor:
        return InstantExecutor()
