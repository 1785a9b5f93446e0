"""What an operator is. A new one is a frozen dataclass in a file of this folder and one line in
`build.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials

T = TypeVar("T")


class Operator(Protocol):
    """Makes a child. Holds no state; never changes its arguments."""

    @property
    def name(self) -> str:
        """The name in configs, in the lineage and in metrics."""

    @property
    def num_parents(self) -> int:
        """How many parents it takes; each has an equal share in the child."""

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return a child, or None where the operator has nothing to work on (no demonstration to
        drop, one label word, ...).
        """


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    """Return one of the items, all equally likely."""
    return items[int(rng.integers(len(items)))]
