"""What an operator is. A new one is a frozen dataclass in a file of this folder and one line of
`catalog.OPERATORS`; one of another package is named in the config, or is a plug-in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np

from evoprompt.errors import nearest
from evoprompt.policy import SLOTS, Policy
from evoprompt.records import CLONE, FOUND, MIGRATE, RESTART, SURVIVE, Materials

T = TypeVar("T")


class Need(StrEnum):
    """What an operator draws from beside what every task has; each is the field of `Materials` that
    is filled only where a drawn operator needs it.
    """

    EVALUATOR = "evaluator"  #: the materials of the judging task
    AUTHOR = "author"  #: who writes demonstrations with the model
    READER = "reader"  #: who reads what the model says beside likelihoods
    WRITER = "writer"  #: who writes instructions with a model
    HISTORY = "history"  #: what the run has scored so far
    MISTAKES = "mistakes"  #: what the population answers wrong
    CREDIT = "credit"  #: what demonstrations were worth so far


@dataclass(frozen=True, slots=True)
class Edited:
    """A child, and in which of its ways the operator made it, for one that has several."""

    policy: Policy
    way: str  #: of the same characters as a name


class Operator(Protocol):
    """Makes a child. Holds no state; never changes its arguments."""

    @property
    def name(self) -> str:
        """The name in configs, in the lineage and in metrics."""

    @property
    def num_parents(self) -> int:
        """How many parents it takes; each has an equal share in the child."""

    @property
    def slot(self) -> str | None:
        """The slot of the policy that it edits; None where it may change several."""

    @property
    def needs(self) -> Set[Need]:
        """What it draws from beside what every task has."""

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | Edited | None:
        """Return a child, or None where the operator has nothing to work on (no demonstration to
        drop, one label word, ...).
        """


def policy_of(made: Policy | Edited | None) -> Policy | None:
    """Return the child that an operator made, whatever the way."""
    return made.policy if isinstance(made, Edited) else made


def needs_of(operators: Iterable[Operator]) -> frozenset[Need]:
    """Return what any of the operators needs."""
    return frozenset(need for operator in operators for need in operator.needs)


def mistakes(operator: Any) -> list[str]:
    """Return what is wrong with an operator as it is declared, each a sentence about "it" with the
    cure; empty where nothing is.
    """
    parts = ("name", "num_parents", "slot", "needs", "apply")
    missing = [f"it has no '{part}'" for part in parts if not hasattr(operator, part)]
    if missing:
        return [f"{', '.join(missing)}; an operator has {', '.join(parts)}"]
    return [*_mistakes_in_name(operator.name), *_mistakes_in_values(operator)]


def _mistakes_in_name(name: Any) -> list[str]:
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        return [
            f"its name is {name!r}, and metrics are named after it; use letters, digits and _.-"
        ]
    if name in (SURVIVE, FOUND, CLONE, RESTART, MIGRATE):
        return [f"its name is '{name}', which is in the lineage what no operator made; rename it"]
    return []


def _mistakes_in_values(operator: Any) -> list[str]:
    found = []
    if not isinstance(operator.num_parents, int) or operator.num_parents < 1:
        found.append(f"its num_parents is {operator.num_parents!r}; use a number from 1 up")
    slots = [slot.name for slot in SLOTS]
    if operator.slot is not None and operator.slot not in slots:
        hint = nearest(str(operator.slot), slots)
        found.append(f"its slot is {operator.slot!r}; {hint} (None where it edits several)")
    if not isinstance(operator.needs, Set):
        return [*found, f"its needs are {operator.needs!r}; use a set, frozenset() for nothing"]
    unknown = sorted(str(need) for need in operator.needs if need not in list(Need))
    return found + [f"it needs {need!r}; {nearest(need, list(Need))}" for need in unknown]


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    """Return one of the items, all equally likely."""
    return items[int(rng.integers(len(items)))]
