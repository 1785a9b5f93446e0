"""Edits of the demonstrations: which examples are shown, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need, pick


@dataclass(frozen=True, slots=True)
class DemonstrationAdd:
    """Adds one to four examples of the pool, each at any place.

    The number is drawn uniformly from those that still fit, so that a prompt without examples
    reaches a useful number in a few generations rather than one by one.
    """

    name: ClassVar[str] = "demonstration_add"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()
    most: int = 4

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the prompt is full or the pool is used up."""
        shown = list(parents[0].demonstrations)
        free = unused(shown, materials)
        room = min(self.most, materials.max_demonstrations - len(shown), len(free))
        if room <= 0:
            return None
        for index in rng.choice(len(free), size=int(rng.integers(1, room + 1)), replace=False):
            shown.insert(int(rng.integers(len(shown) + 1)), free[int(index)])
        return replace(parents[0], demonstrations=tuple(shown))


@dataclass(frozen=True, slots=True)
class DemonstrationDrop:
    """Leaves out one example."""

    name: ClassVar[str] = "demonstration_drop"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no example."""
        shown = list(parents[0].demonstrations)
        if not shown:
            return None
        del shown[int(rng.integers(len(shown)))]
        return replace(parents[0], demonstrations=tuple(shown))


@dataclass(frozen=True, slots=True)
class DemonstrationSwap:
    """Puts another example of the pool in the place of one."""

    name: ClassVar[str] = "demonstration_swap"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there is no example or the pool is used up."""
        shown = list(parents[0].demonstrations)
        free = unused(shown, materials)
        if not shown or not free:
            return None
        shown[int(rng.integers(len(shown)))] = pick(free, rng)
        return replace(parents[0], demonstrations=tuple(shown))


@dataclass(frozen=True, slots=True)
class DemonstrationReorder:
    """Moves one example to another place."""

    name: ClassVar[str] = "demonstration_reorder"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where there are fewer than two examples."""
        shown = list(parents[0].demonstrations)
        if len(shown) < 2:
            return None
        origin = int(rng.integers(len(shown)))
        moved = shown.pop(origin)
        place = int(rng.integers(len(shown)))
        shown.insert(place + (place >= origin), moved)  # any place but the one it had
        return replace(parents[0], demonstrations=tuple(shown))


def unused(shown: Sequence[Demonstration], materials: Materials) -> list[Demonstration]:
    """Return the demonstrations of the pool that are not shown."""
    used = set(shown)
    return [d for d in materials.demonstrations if d not in used]
