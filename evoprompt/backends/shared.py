"""What the runs of one process use one after another: workers with the loaded model, and tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evoprompt.backends.base import Executor, ModelInfo, WorkUnit
from evoprompt.config.sections import Config
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import Tokens


class Lent:
    """An executor that goes on when the run that uses it has ended. Implements `executor.Executor`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def info(self) -> ModelInfo:
        """As the executor's."""
        return self._executor.info()

    def score(self, units: Sequence[WorkUnit], on_result: Callable[[str, TokenScores], None]) -> dict[str, TokenScores]:
        """As the executor's."""
        return self._executor.score(units, on_result)

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """As the executor's."""
        return self._executor.generate(requests)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """As the executor's."""
        self._executor.pin(prompts)

    def close(self) -> None:
        """Nothing: the lender closes it."""


class Shared:
    """Lends executors and tokenizers.

    One set of workers at a time, since it may hold all cores and GPUs: a run with another model or other workers ends the former.

    Args:
        open_executor: makes the executor of a configuration.
    """

    def __init__(self, open_executor: Callable[[Config], Executor]) -> None:
        self._open = open_executor
        self._key: tuple[object, ...] | None = None
        self._executor: Executor | None = None
        self._tokenizers: dict[Path, Tokenizer] = {}

    def executor(self, config: Config) -> Executor:
        """Return the executor of a configuration; a run's end leaves it open."""
        key = executor_key(config)
        if self._executor is None or self._key != key:
            self.close()
            self._executor, self._key = self._open(config), key
        return Lent(self._executor)

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Return the tokenizer of a model folder, with the texts that it remembers."""
        if folder not in self._tokenizers:
            self._tokenizers[folder] = Tokenizer(folder)
        return self._tokenizers[folder]

    def close(self) -> None:
        """End the workers; a later run starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()


def executor_key(config: Config) -> tuple[object, ...]:
    """Return what is equal of two configurations that the same workers can score."""
    return config.model.model_copy(update={"memo": True}), config.workers
