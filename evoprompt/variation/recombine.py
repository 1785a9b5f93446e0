"""Crossover of two policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evoprompt.policy import SLOTS, Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need


@dataclass(frozen=True, slots=True)
class UniformCrossover:
    """Takes each slot from either parent with probability 1/2. Each parent's share in the child is
    1/2, whichever slots it gave.
    """

    name: ClassVar[str] = "uniform_crossover"
    num_parents: ClassVar[int] = 2
    slot: ClassVar[None] = None
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the parents are equal."""
        if parents[0] == parents[1]:
            return None
        slots = [
            slot.name
            for slot in SLOTS
            if slot.always_crossed or any(getattr(p, slot.name) != slot.default for p in parents)
        ]
        sides = rng.integers(2, size=len(slots))
        return Policy(
            **{
                slot: getattr(parents[int(side)], slot)
                for slot, side in zip(slots, sides, strict=True)
            }
        )
