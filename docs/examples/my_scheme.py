"""A selection scheme: everybody is as likely, whatever the fitness."""

from __future__ import annotations

import random

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, SimulatedScheme


class Random(SimulatedScheme):
    """Says how it draws; the chances are found by drawing often."""

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return `num` indices."""
        return [random.randrange(len(candidates.fitness)) for _ in range(num)]
