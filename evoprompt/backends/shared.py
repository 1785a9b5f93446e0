"""What the jobs of one process use one after another: workers with the loaded model, and
tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from evoprompt.backends.base import Executor, Identity, ModelInfo, TextTokenizer, WorkUnit
from evoprompt.backends.open import OpenModel, backend_of
from evoprompt.config.sections import JobConfig
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange, Gains
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.trie import TokenRequest, Tokens


class BorrowedExecutor:
    """An executor that goes on when the job that uses it has ended. Implements `base.Executor`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def info(self) -> ModelInfo:
        """As the executor's."""
        return self._executor.info()

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """As the executor's."""
        return self._executor.score(units, on_result)

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores | None:
        """As the executor's."""
        return self._executor.score_plain(requests)

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout | None:
        """As the executor's."""
        return self._executor.readout(contexts, top)

    def gains(self, asked: Exchange) -> Gains | None:
        """As the executor's."""
        return self._executor.gains(asked)

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """As the executor's."""
        return self._executor.generate(requests)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """As the executor's."""
        self._executor.pin(prompts)

    def close(self) -> None:
        """Nothing: the lender closes it."""


class SharedModels:
    """Lends opened models.

    One set of workers at a time, since it may hold all cores and GPUs: a job with another model or
    other workers ends the former.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._executor: Executor | None = None
        self._tokenizers: dict[Identity, TextTokenizer] = {}

    def open_model(self, config: JobConfig) -> OpenModel:
        """Return the model of a configuration, as `open.open_model` does; a job's end leaves its
        workers open.
        """
        backend, key = backend_of(config), executor_key(config)
        identity = backend.identify(config.model)
        if self._executor is None or self._key != key:
            self.close()
            self._executor, self._key = backend.open(config.model, config.workers), key
        if identity not in self._tokenizers:
            self._tokenizers[identity] = backend.tokenizer(identity)
        return OpenModel(identity, self._tokenizers[identity], BorrowedExecutor(self._executor))

    def close(self) -> None:
        """End the workers; a later job starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()


def executor_key(config: JobConfig) -> tuple[object, ...]:
    """Return what is equal of two configurations that the same workers can score."""
    return config.model.model_copy(update={"memo": True, "chat": "off"}), config.workers
