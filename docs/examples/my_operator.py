"""An operator: it puts one word of the instruction in capitals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials


@dataclass(frozen=True, slots=True)
class Shout:
    """What it edits (`slot`), what it draws from (`needs`), and how many parents it takes."""

    name: ClassVar[str] = "shout"
    slot: ClassVar[str | None] = "instruction"
    needs: ClassVar[frozenset[str]] = frozenset()
    num_parents: ClassVar[int] = 1

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where no word is left to shout."""
        words = parents[0].instruction.split(" ")
        quiet = [i for i, word in enumerate(words) if word != word.upper()]
        if not quiet:
            return None
        place = quiet[int(rng.integers(len(quiet)))]
        words[place] = words[place].upper()
        return replace(parents[0], instruction=" ".join(words))
