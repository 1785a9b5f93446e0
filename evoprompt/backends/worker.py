"""What runs in a worker's process of the fleet: one loaded model."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from evoprompt.backends.base import ModelInfo, WorkUnit
from evoprompt.backends.dispatch import Done
from evoprompt.backends.local import Loaded, describe, folder_identity
from evoprompt.config.sections import ModelConfig
from evoprompt.errors import UserError
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.load import load_scorer


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


class Worker(Loaded):
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
        super().__init__(load_scorer(model, threads))

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="")

    def do(self, what: str, works: Sequence[Sequence[Any]]) -> Done:
        """Return what one of the methods gives for each list of arguments, and the time it took."""
        method: Callable[..., Any] = getattr(self, what)
        begun = time.perf_counter()
        results = [method(*arguments) for arguments in works]
        return Done(results, time.perf_counter() - begun)

    def score(self, unit: WorkUnit) -> TokenScores:
        """Return the scores of one unit."""
        return self._scorer.score(unit.requests, unit.cuts, unit.features)

    def place(self) -> tuple[str, int]:
        """Return the host, and the id of this process on it."""
        return socket.gethostname(), os.getpid()
