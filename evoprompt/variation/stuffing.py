"""Context stuffing: the model writes a demonstration of its own, which is kept where it helps on
examples that the prompt does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.variation.base import Need

#: Inputs of the pool that the model writes another one after, and demonstrations of the pool that
#: the new one must help with.
NUM_SHOWN, NUM_HELD_OUT = 3, 8


@dataclass(frozen=True, slots=True)
class ContextStuffing:
    """Adds a demonstration that the model wrote and labelled itself, at any place, if the right
    answers of held-out ones become likelier.
    """

    name: ClassVar[str] = "context_stuffing"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUTHOR})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where nobody writes, the prompt is full, the pool is too small,
        or what was written is not new or no help.
        """
        policy, author = parents[0], materials.author
        shown = policy.demonstrations
        free = [d for d in materials.demonstrations if d not in shown]
        if (
            author is None
            or len(shown) >= materials.max_demonstrations
            or len(free) < NUM_SHOWN + NUM_HELD_OUT
        ):
            return None
        drawn = [
            free[int(i)]
            for i in rng.choice(len(free), size=NUM_SHOWN + NUM_HELD_OUT, replace=False)
        ]
        place, seed = int(rng.integers(len(shown) + 1)), int(rng.integers(2**32))
        text = author.write_input(policy, [d.input for d in drawn[:NUM_SHOWN]], seed)
        if text is None or text in {d.input for d in (*shown, *materials.demonstrations)}:
            return None
        target = author.label(policy, text)
        if not target:
            return None
        child = replace(
            policy, demonstrations=(*shown[:place], Demonstration(text, target), *shown[place:])
        )
        return child if author.gain(policy, child, drawn[NUM_SHOWN:]) > 0 else None
