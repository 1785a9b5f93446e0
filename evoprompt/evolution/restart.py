"""A population that has stopped gaining begins anew: its best member stays, and policies that were
scored before and differ most from it take the other places. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil

from evoprompt.evolution.engine import named
from evoprompt.policy import SLOTS, Policy
from evoprompt.records import RESTART, SURVIVE, Birth, Brood, Member, State


def newcomers(
    members: Sequence[Policy], scored: Mapping[Policy, float], count: int
) -> list[Policy]:
    """Return so many of the scored policies that differ most from a population, in the order of
    choice.

    Of the better half by fitness that are not members, and at least as many as are asked for, each
    is the one whose least `difference` from the kept member and from those chosen before is
    greatest; of equals the fittest.

    Args:
        members: the population, the one that is kept first.
        scored: the fitness of founders and all that were born, on the same examples.
        count: fewer are returned where there are fewer.
    """
    others = [p for p in scored if p not in members]
    others.sort(key=lambda p: (-scored[p], p.policy_id))
    others = others[: max(count, ceil(len(others) / 2))]
    found: list[Policy] = []
    while others and len(found) < count:
        there = [members[0], *found]
        best = max(others, key=lambda p: min(difference(p, other) for other in there))
        found.append(best)
        others.remove(best)
    return found


def difference(first: Policy, second: Policy) -> float:
    """Return how much two policies differ, from 0 to 1: the mean over the slots of Jaccard's
    distance of the demonstrations and of the instruction's words, and of 0 or 1 for each other.
    """
    found = 0.0
    for slot in SLOTS:
        here, there = getattr(first, slot.name), getattr(second, slot.name)
        if slot.name == "demonstrations":
            found += _jaccard(set(here), set(there))
        elif slot.name == "instruction":
            found += _jaccard(set(here.casefold().split()), set(there.casefold().split()))
        else:
            found += here != there
    return found / len(SLOTS)


def fittest(state: State) -> Member:
    """Return the member that a restart keeps; the first of those that tie."""
    return max(state.members, key=lambda m: m.evaluation.fitness)


def restarted(state: State, policies: Sequence[Policy]) -> Brood:
    """Return the brood of a restart: the fittest member by `survive`, and policies by `restart`,
    which have no parents.
    """
    generation, kept = state.generation + 1, fittest(state).birth
    births = [
        kept.again(SURVIVE),
        *(Birth("", policy, (), (), RESTART) for policy in policies),
    ]
    return Brood(generation, state.island, named(births, generation, state.island))


def _jaccard(first: AbstractSet[object], second: AbstractSet[object]) -> float:
    union = len(first | second)
    return 1 - len(first & second) / union if union else 0.0
