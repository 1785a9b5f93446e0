"""Scores and writes in this process, with the weights of a model folder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.scoring.adapter import resolve_adapter, with_adapter
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.gradient import Exchange, Gains, exchange_gains
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.models import model_fingerprint, resolve_model, with_template
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.reference import score_plain
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, Tokens


class Loaded:
    """What a loaded model does in one process, here or in a worker's."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, in order, each sequence forwarded by itself."""
        return score_plain(self._scorer.model, requests)

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout:
        """Return the `top` likeliest next tokens after each context, in order."""
        return self._scorer.readout(contexts, top)

    def gains(self, asked: Exchange) -> Gains:
        """Return the first-order gains of an exchange of tokens."""
        return exchange_gains(self._scorer.model, asked)

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order."""
        return self._scorer.generate(requests)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""
        if self._scorer.store is not None:
            self._scorer.store.pin(prompts)


class LocalExecutor(Loaded):
    """Scores and writes in this process."""

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="this process")

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key, unit after unit."""
        results = {}
        for unit in units:
            results[unit.key] = self._scorer.score(unit.requests, unit.cuts, unit.features)
            on_result(unit.key, results[unit.key])
        return results

    def close(self) -> None:
        """Nothing is held but memory."""


def describe(scorer: Scorer, *, num_workers: int, placement: str) -> ModelInfo:
    """Return what the driver must know of a scorer."""
    model = scorer.model
    return ModelInfo(
        model.window,
        model.dtype,
        scorer.path,
        scorer.reason,
        num_workers,
        placement,
        model.device,
        scorer.chunk_tokens,
        model.arithmetic,
    )


class LocalBackend:
    """The model in this process. Implements `base.Backend`."""

    def identify(self, model: ModelConfig) -> Identity:
        """Return the folder with the weights, and their fingerprint."""
        return folder_identity(model)

    def tokenizer(self, identity: Identity) -> Tokenizer:
        """Return the tokenizer in the folder of the weights."""
        return Tokenizer(Path(identity.place))

    def open(self, model: ModelConfig, workers: WorkersConfig) -> LocalExecutor:
        """Load the model and return what scores with it."""
        return LocalExecutor(load_scorer(model, workers.threads))


def folder_identity(model: ModelConfig) -> Identity:
    """Return what answers where the weights are in a folder: embedded models and those of the hub
    are fetched into one. Where chats are rendered, the chat template belongs to it.

    Raises:
        UserError: as `scoring.models.resolve_model` and `scoring.adapter.resolve_adapter`.
    """
    folder = resolve_model(model.name, model.revision)
    fingerprint = model_fingerprint(folder)
    if model.adapter is not None:
        fingerprint = with_adapter(fingerprint, resolve_adapter(model.adapter))
    if model.chat != "off":
        fingerprint = with_template(fingerprint, folder)
    return Identity(model.name, str(folder), fingerprint)
