"""Edits of the steps: the questions that the model answers in writing before it gives the answer
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need, pick


@dataclass(frozen=True, slots=True)
class StepAdd:
    """Adds a step of the bank at any place; a policy has at most three, and none twice."""

    name: ClassVar[str] = "step_add"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "steps"
    needs: ClassVar[frozenset[Need]] = frozenset()
    most: int = 3

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no room or the bank has no other step."""
        steps = list(parents[0].steps)
        free = [step for step in materials.steps if step not in steps]
        if len(steps) >= self.most or not free:
            return None
        steps.insert(int(rng.integers(len(steps) + 1)), pick(free, rng))
        return replace(parents[0], steps=tuple(steps))


@dataclass(frozen=True, slots=True)
class StepDrop:
    """Leaves out one step."""

    name: ClassVar[str] = "step_drop"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "steps"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no step."""
        steps = list(parents[0].steps)
        if not steps:
            return None
        del steps[int(rng.integers(len(steps)))]
        return replace(parents[0], steps=tuple(steps))
