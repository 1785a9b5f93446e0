"""A fleet whose workers take their time, so that machines can be lost in mid-generation:
`workers.backend: toys.slow_fleet:SlowBackend`.
"""

from __future__ import annotations

import os
import time

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.ray import RayBackend, RayFleet
from evoprompt.backends.worker import Worker
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.scoring.engine import TokenScores

#: Seconds that a unit takes longer; read where the workers are.
SECONDS = float(os.environ.get("SLOW_FLEET_SECONDS", "0.15"))


class SlowWorker(Worker):
    """Scores as any, later."""

    def score(self, unit: WorkUnit) -> TokenScores:
        time.sleep(SECONDS)
        return super().score(unit)


class SlowFleet(RayFleet):
    """Has slow workers."""

    kind = SlowWorker


class SlowBackend(RayBackend):
    """Opens it."""

    def open(self, model: ModelConfig, workers: WorkersConfig) -> RayFleet:
        return SlowFleet(model, workers)
