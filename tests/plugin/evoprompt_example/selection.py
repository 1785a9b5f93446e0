"""A selection scheme of the plug-in."""

from __future__ import annotations

import random

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, SimulatedScheme


class Random(SimulatedScheme):
    """Everybody is as likely, whatever his fitness."""

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return `num` indices."""
        return [random.randrange(len(candidates.fitness)) for _ in range(num)]
