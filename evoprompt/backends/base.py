"""Who does the scoring and the writing: work units in, scores out, and prompts in, continuations out, in this process or elsewhere.

A unit is scored, and a group of prompts continued, by itself whoever gets it, so the result does not depend on how they are spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.trie import TokenRequest, Tokens


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """Requests that share a prefix: all of one policy's."""

    key: str
    requests: tuple[TokenRequest, ...]
    cuts: tuple[int, ...] = ()  #: where the tokens that they share are cut into segments for the prefix store

    def beginnings(self) -> list[int]:
        """Return a hash of the requests' beginning up to each cut."""
        return [hash(self.requests[0].context[:cut]) for cut in self.cuts]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the driver must know of the loaded model, and how it is scored."""

    window: int
    dtype: str
    path: str  #: `packed`, `branched` or `plain`
    reason: str
    num_workers: int
    placement: str  #: for people: where the workers run
    device: str
    chunk_tokens: int
    arithmetic: str  #: how products are computed; the last bits of a score depend on it


class Executor(Protocol):
    """Scores work units and continues prompts. Used by one thread."""

    def info(self) -> ModelInfo:
        """Wait until the model is loaded; return what is known of it."""

    def score(self, units: Sequence[WorkUnit], on_result: Callable[[str, TokenScores], None]) -> dict[str, TokenScores]:
        """Return the scores by key; `on_result` is called as each is done."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order."""

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""

    def close(self) -> None:
        """Give everything back."""


class LocalExecutor:
    """Scores and writes in this process."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="this process")

    def score(self, units: Sequence[WorkUnit], on_result: Callable[[str, TokenScores], None]) -> dict[str, TokenScores]:
        """Return the scores by key, unit after unit."""
        results = {}
        for unit in units:
            results[unit.key] = self._scorer.score(unit.requests, unit.cuts)
            on_result(unit.key, results[unit.key])
        return results

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order."""
        return self._scorer.generate(requests)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""
        if self._scorer.store is not None:
            self._scorer.store.pin(prompts)

    def close(self) -> None:
        """Nothing is held but memory."""


def describe(scorer: Scorer, *, num_workers: int, placement: str) -> ModelInfo:
    """Return what the driver must know of a scorer."""
    model = scorer.model
    return ModelInfo(
        model.window, model.dtype, scorer.path, scorer.reason, num_workers, placement, model.device, scorer.chunk_tokens, model.arithmetic
    )
