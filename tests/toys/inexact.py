"""A backend whose fast way is wrong beyond a length that no probe has met."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.local import LocalBackend, LocalExecutor
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.load import load_scorer

#: Tokens of a sequence from which on its scores are wrong, and by how many nats.
LIMIT, ERROR = 90, 0.3


class InexactExecutor(LocalExecutor):
    """Wrong for long sequences, unless they are forwarded by themselves."""

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        found = super().score(units, lambda *_: None)
        for unit in units:
            if self.info().path != "plain":
                long = np.array([len(r.fed) > LIMIT for r in unit.requests])
                values = found[unit.key].log_likelihood - ERROR * long
                found[unit.key] = replace(found[unit.key], log_likelihood=values)
            on_result(unit.key, found[unit.key])
        return found


class InexactBackend(LocalBackend):
    """The model in this process, with that executor."""

    def open(self, model: ModelConfig, workers: WorkersConfig) -> InexactExecutor:
        return InexactExecutor(load_scorer(model, workers.threads))
