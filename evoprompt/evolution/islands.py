"""Populations apart, with migration: ask and tell of `engine`, island by island. With one island
they are those of the engine.

A state holds the members of all islands. Every so many generations the best of each island are born
once more on the next one, round and round, by the operator `migrate`: so a migrant is a birth with
one parent, and Price's equation over the whole population holds, with the islands as its groups.

Source: Tanese 1989; Whitley, Rana and Heckendorn 1999.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.islands import IslandsConfig
from evoprompt.evolution import engine
from evoprompt.evolution.candidates import worth_of
from evoprompt.evolution.engine import Strategy, named
from evoprompt.evolution.novelty import Names, known_as
from evoprompt.policy import Policy
from evoprompt.records import (
    MIGRATE,
    Birth,
    Brood,
    Evaluation,
    LineageEntry,
    Mating,
    Member,
    State,
)
from evoprompt.selection.base import Expectation


def ask(state: State, strategy: Strategy, children: int | None = None) -> tuple[Mating, ...]:
    """Return the matings of the next generation, so many for each island that has members."""
    return tuple(
        Mating(tuple(places[p] for p in mating.parents), mating.operator)
        for part, places in _parts(state)
        for mating in engine.ask(part, strategy, children)
    )


def mating_chances(state: State, matings: Sequence[Mating], strategy: Strategy) -> Expectation:
    """Return the probability of each member to fill one of the matings' slots, before they were
    drawn; how the slots of several islands go together is not told.
    """
    parts = list(_parts(state))
    if len(parts) == 1:
        return engine.mating_chances(state, matings, strategy)
    total = sum(len(m.parents) for m in matings)
    probability: NDArray[np.float64] = np.zeros(len(state.members))
    error, simulated = np.zeros(len(state.members)), False
    for part, places in parts:
        found = engine.mating_chances(part, _own(matings, places), strategy)
        probability[places] = found.probability * found.num / total
        if found.standard_error is not None:
            error[places], simulated = found.standard_error * found.num / total, True
    if simulated:
        return Expectation(probability, "simulation", error, None, total)
    return Expectation(probability, "closed form", None, None, total)


def vary(
    state: State,
    matings: Sequence[Mating],
    strategy: Strategy,
    seen: Container[str],
    fits: Callable[[Policy], bool],
    pick: Callable[[Sequence[Birth]], Sequence[int]] | None = None,
) -> Brood:
    """Return the next brood, island after island, migrants last on theirs; see `engine.vary`."""
    generation, known = state.generation + 1, Names(seen)
    births: list[Birth] = []
    parts = {part.island: (part, places) for part, places in _parts(state)}
    for island in range(max(strategy.config.islands.count, max(parts) + 1)):
        own: list[Birth] = []
        if island in parts:
            part, places = parts[island]
            local = _own(matings, places)
            own += engine.vary(part, local, strategy, known, fits, pick).births
            known.update(known_as(b.policy, strategy.config.novelty) for b in own)
        own += _migrants(state, generation, island, strategy.config.islands)
        births += named(own, generation, island)
    return Brood(generation, state.island, tuple(births))


def rival_of(state: State, strategy: Strategy) -> Member | None:
    """Return the least fit of the members that a child has to beat on its island; None where there
    is room on one.
    """
    rivals = [engine.rival_of(part, strategy) for part, _ in _parts(state)]
    known = [rival for rival in rivals if rival is not None]
    if len(known) < max(len(rivals), strategy.config.islands.count):
        return None
    return min(known, key=lambda m: worth_of(m, strategy.bonus))


def tell(
    state: State | None,
    brood: Brood,
    evaluations: Sequence[Evaluation],
    strategy: Strategy,
    seed: int,
) -> tuple[State, tuple[LineageEntry, ...]]:
    """Return the state after survival on each island, and every birth's line of the lineage; see
    `engine.tell`. Founders are one population, large enough for all islands, whose selected are
    dealt out to them, the fittest first.
    """
    count = strategy.config.islands.count
    if state is None:
        size = {"population": strategy.config.population * count}
        widened = replace(strategy, config=strategy.config.model_copy(update=size))
        return _dealt(*engine.tell(None, brood, evaluations, widened, seed), count)
    members: list[Member] = []
    entries: list[LineageEntry] = []
    for island in sorted({b.island for b in brood.births}):
        at = [i for i, b in enumerate(brood.births) if b.island == island]
        own = Brood(brood.generation, island, tuple(brood.births[i] for i in at))
        after, told = engine.tell(state, own, [evaluations[i] for i in at], strategy, seed)
        members += after.members
        entries += told
    return State(seed, brood.generation, tuple(members), state.island), tuple(entries)


def _parts(state: State) -> Iterator[tuple[State, list[int]]]:
    """Yield each island that has members as a state of its own, with their places in the whole."""
    for island in sorted({m.birth.island for m in state.members}):
        places = [i for i, m in enumerate(state.members) if m.birth.island == island]
        members = tuple(state.members[i] for i in places)
        yield replace(state, members=members, island=island), places


def _own(matings: Sequence[Mating], places: Sequence[int]) -> list[Mating]:
    """Return the matings of an island, with the places of parents there."""
    local = {place: i for i, place in enumerate(places)}
    return [
        Mating(tuple(local[p] for p in m.parents), m.operator)
        for m in matings
        if m.parents[0] in local
    ]


def _migrants(state: State, generation: int, island: int, config: IslandsConfig) -> Iterator[Birth]:
    """Yield the births of those that come to an island from the one before it, but who is there."""
    if config.count == 1 or generation % config.every:
        return
    there = {m.birth.policy for m in state.members if m.birth.island == island}
    before = (island - 1) % config.count
    others = [m for m in state.members if m.birth.island == before]
    others.sort(key=lambda m: -m.evaluation.fitness)
    for member in others[: config.migrants]:
        if member.birth.policy not in there:
            yield member.birth.again(MIGRATE)


def _dealt(
    state: State, entries: Sequence[LineageEntry], count: int
) -> tuple[State, tuple[LineageEntry, ...]]:
    """Return founders with the selected dealt out to the islands."""
    ranked = sorted(state.members, key=lambda m: -m.evaluation.fitness)
    island = {m.birth.birth_id: rank % count for rank, m in enumerate(ranked)}

    def placed(member: Member) -> Member:
        at = island.get(member.birth.birth_id, 0)
        return replace(member, birth=replace(member.birth, island=at))

    told = (replace(e, member=placed(e.member)) for e in entries)
    return (
        replace(state, members=tuple(map(placed, state.members))),
        tuple(replace(e, island=e.member.birth.island) for e in told),
    )
