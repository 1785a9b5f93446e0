"""Crossover of two policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials


@dataclass(frozen=True, slots=True)
class UniformCrossover:
    """Takes each slot from either parent with probability 1/2. Each parent's share in the child is 1/2, whichever slots it gave."""

    name: ClassVar[str] = "uniform_crossover"
    num_parents: ClassVar[int] = 2

    def apply(self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator) -> Policy | None:
        """Return the child, or None where the parents are equal."""
        if parents[0] == parents[1]:
            return None
        slots = [parents[int(side)] for side in rng.integers(2, size=4)]
        return Policy(slots[0].instruction, slots[1].demonstrations, slots[2].template, slots[3].label_words)
