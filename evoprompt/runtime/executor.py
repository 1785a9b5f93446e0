"""Who does the scoring: work units in, scores out, in this process or elsewhere.

A unit is scored by itself whoever gets it, so the result does not depend on how units are spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.trie import TokenRequest


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """Requests that share a prefix: all of one policy's."""

    key: str
    requests: tuple[TokenRequest, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the driver must know of the loaded model, and how it is scored."""

    window: int
    dtype: str
    path: str  #: `packed` or `plain`
    reason: str
    num_workers: int
    placement: str  #: for people: where the workers run


class Executor(Protocol):
    """Scores work units. Used by one thread."""

    def info(self) -> ModelInfo:
        """Wait until the model is loaded; return what is known of it."""

    def score(self, units: Sequence[WorkUnit], on_result: Callable[[str, TokenScores], None]) -> dict[str, TokenScores]:
        """Return the scores by key; `on_result` is called as each is done."""

    def close(self) -> None:
        """Give everything back."""


class LocalExecutor:
    """Scores in this process."""

    def __init__(self, load: Callable[[], Scorer]) -> None:
        self._scorer = load()

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="this process")

    def score(self, units: Sequence[WorkUnit], on_result: Callable[[str, TokenScores], None]) -> dict[str, TokenScores]:
        """Return the scores by key, unit after unit."""
        results = {}
        for unit in units:
            results[unit.key] = self._scorer.score(unit.requests)
            on_result(unit.key, results[unit.key])
        return results

    def close(self) -> None:
        """Nothing is held but memory."""


def describe(scorer: Scorer, *, num_workers: int, placement: str) -> ModelInfo:
    """Return what the driver must know of a scorer."""
    return ModelInfo(scorer.model.window, scorer.model.dtype, scorer.path, scorer.reason, num_workers, placement)
