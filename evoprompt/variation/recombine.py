"""Crossover of two policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import SLOTS, Policy
from evoprompt.records import Materials
from evoprompt.tasks.sets import interleaved, labels_of
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


@dataclass(frozen=True, slots=True)
class DemonstrationUnion:
    """Shows the demonstrations of both parents under the rest of the first: two good sets make one
    of more. The labels come in turns.
    """

    name: ClassVar[str] = "demonstration_union"
    num_parents: ClassVar[int] = 2
    slot: ClassVar[None] = None
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the second parent has none that the first has not, or
        there would be more than may be shown.
        """
        own = parents[0].demonstrations
        new = [d for d in parents[1].demonstrations if d not in own]
        if not own or not new or len(own) + len(new) > materials.max_demonstrations:
            return None
        both = [*own, *new]
        labels = dict.fromkeys(both, "") | labels_of(materials.demonstrations, materials.choices)
        mixed = [both[int(i)] for i in rng.permutation(len(both))]
        return replace(parents[0], demonstrations=interleaved(mixed, labels, rng))
