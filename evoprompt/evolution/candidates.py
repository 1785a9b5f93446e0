"""Members -> what selection may look at: their fitness, with a bonus where there is one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import FITNESS_DIGITS, SURVIVE, Member
from evoprompt.selection.base import Candidates
from evoprompt.selection.objectives import FOUNDED


def worth_of(member: Member, weight: float) -> float:
    """Return what selection goes by: f + w b.

    With f the fitness, b the mean of `case_bonus` and w its weight. Without a bonus it is f.
    """
    found = member.evaluation
    if not weight:
        return found.fitness
    return round(found.fitness + weight * float(np.mean(found.case_bonus)), FITNESS_DIGITS)


def candidates_of(members: Sequence[Member], weight: float = 0.0) -> Candidates:
    """Return members as selection sees them, a bonus of this weight included."""
    cases = np.array([m.evaluation.case_fitness for m in members])
    if weight:
        bonus = np.array([m.evaluation.case_bonus for m in members])
        cases = (cases + weight * bonus).round(FITNESS_DIGITS)
    return Candidates(
        fitness=np.array([worth_of(m, weight) for m in members]),
        case_fitness=cases,
        prompt_tokens=np.array([m.evaluation.traits["prompt_tokens"] for m in members]),
        traits=_traits(members),
    )


def _traits(members: Sequence[Member]) -> dict[str, NDArray[np.float64]]:
    """Return the traits that all members have, and when the earliest founder of each was born."""
    first, *others = (m.evaluation.traits for m in members)
    shared = [name for name in first if all(name in other for other in others)]
    found = {n: np.array([m.evaluation.traits[n] for m in members]) for n in shared}
    return found | {FOUNDED: np.array([float(m.birth.founded) for m in members])}


def replaces_of(members: Sequence[Member]) -> NDArray[np.int64]:
    """Return `Candidates.replaces` of births: a survivor has one parent, which it is."""
    births = [m.birth for m in members]
    there = {b.parent_ids: i for i, b in enumerate(births) if b.operator == SURVIVE}
    return np.array([there.get(b.parent_ids[:1], -1) for b in births], dtype=np.int64)
