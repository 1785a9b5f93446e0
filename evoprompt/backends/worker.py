"""What runs in a worker's process of the fleet: one loaded model."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from evoprompt.backends.base import ModelInfo, WorkUnit
from evoprompt.backends.dispatch import Done
from evoprompt.backends.local import describe, folder_identity
from evoprompt.config.sections import ModelConfig
from evoprompt.errors import UserError
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange, Gains, exchange_gains
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.reference import score_plain
from evoprompt.scoring.trie import TokenRequest, Tokens


def check_fingerprint(model: ModelConfig, expected: str) -> None:
    """Raise UserError where a model is not the same on this machine as where the job runs."""
    identity = folder_identity(model)
    if identity.fingerprint != expected:
        raise UserError(
            f"the model {model.name} is another one on {socket.gethostname()}: its weights, "
            f"configuration or tokenizer in {identity.place} have the fingerprint "
            f"{identity.fingerprint[:12]}, and those of this job {expected[:12]}; give a folder "
            f"that all machines share, or the same files on each"
        )


class Worker:
    """What runs in a worker's process: one loaded model."""

    def __init__(self, model: ModelConfig, threads: int, fingerprint: str | None = None) -> None:
        """Load the model.

        Args:
            model: which.
            threads: on a CPU.
            fingerprint: of the weights that the driver has; None where they are the same files.

        Raises:
            UserError: this machine has others, or as `load_scorer`.
        """
        if fingerprint is not None:
            check_fingerprint(model, fingerprint)
        self._scorer = load_scorer(model, threads)

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="")

    def do(self, what: str, works: Sequence[Sequence[Any]]) -> Done:
        """Return what one of the methods below gives for each list of arguments, and the time that
        it took.
        """
        method: Callable[..., Any] = getattr(self, what)
        begun = time.perf_counter()
        results = [method(*arguments) for arguments in works]
        return Done(results, time.perf_counter() - begun)

    def score(self, unit: WorkUnit) -> TokenScores:
        """Return the scores of one unit."""
        return self._scorer.score(unit.requests, unit.cuts, unit.features)

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, each sequence forwarded by itself."""
        return score_plain(self._scorer.model, requests)

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout:
        """Return the likeliest next tokens after each context."""
        return self._scorer.readout(contexts, top)

    def gains(self, asked: Exchange) -> Gains:
        """Return the first-order gains of an exchange of tokens."""
        return exchange_gains(self._scorer.model, asked)

    def generate(self, group: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request of a group."""
        return self._scorer.generate(group)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""
        if self._scorer.store is not None:
            self._scorer.store.pin(prompts)

    def place(self) -> tuple[str, int]:
        """Return the host, and the id of this process on it."""
        return socket.gethostname(), os.getpid()
