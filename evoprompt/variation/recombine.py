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
    """Takes each slot from either parent with probability 1/2. Each parent's share in the child is
    1/2, whichever slots it gave.
    """

    name: ClassVar[str] = "uniform_crossover"
    num_parents: ClassVar[int] = 2

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the parents are equal."""
        if parents[0] == parents[1]:
            return None
        sometimes = [
            slot for slot in ("steps", "evaluator") if any(getattr(p, slot) for p in parents)
        ]
        slots = ["instruction", "demonstrations", "template", "label_words", *sometimes]
        sides = rng.integers(
            2,
            size=len(slots),
            # drawn for what a parent has, so that policies without it have the children they always
            # had
        )
        return Policy(
            **{
                slot: getattr(parents[int(side)], slot)
                for slot, side in zip(slots, sides, strict=True)
            }
        )
