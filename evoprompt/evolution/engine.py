"""The evolution strategy, as pure functions of a frozen State.

    found(policies) -> Brood 0; ask(State) -> Matings; vary(State, Matings) -> Brood; tell(State,
    Brood, evaluations) -> State

Every generator follows from (seed, stream, generation, island, index), so a state always has the
same future.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evoprompt.config.evolution import EvolutionConfig
from evoprompt.errors import UserError
from evoprompt.evolution import strategy_genes
from evoprompt.evolution.candidates import candidates_of, replaces_of, worth_of
from evoprompt.evolution.differential import differential_chances, differential_matings
from evoprompt.evolution.novelty import Names, known_as
from evoprompt.policy import Policy
from evoprompt.records import (
    CLONE,
    FOUND,
    SURVIVE,
    Birth,
    Brood,
    Evaluation,
    LineageEntry,
    Materials,
    Mating,
    Member,
    State,
)
from evoprompt.seeding import Stream, generator
from evoprompt.selection.base import Expectation
from evoprompt.selection.select import (
    parent_probabilities,
    select_parents,
    select_survivors,
    survival_probabilities,
)
from evoprompt.tasks.judge import mistake_in_words
from evoprompt.variation.base import Edited, Operator, policy_of

#: How often a child is drawn again when it cannot be made, does not fit the model's window, or has
#: been seen in this run.
MAX_ATTEMPTS = 20

#: Stands between an operator's name and its way.
WAY = ":"

#: How many edits make a child at most, and how many make an immigrant of a founder.
MAX_EDITS, IMMIGRANT_EDITS = 4, 3


@dataclass(frozen=True, slots=True)
class Strategy:
    """What stays the same over a run: settings, operators with their weights, and what they draw
    from.
    """

    config: EvolutionConfig
    operators: Mapping[str, Operator]
    weights: Mapping[str, float]
    materials: Materials
    founders: tuple[Policy, ...] = ()  #: that births without parents are made of later
    #: units of the fitness that selection adds for a unit of each candidate's bonus
    bonus: float = 0.0


def found(policies: Sequence[Policy]) -> Brood:
    """Return generation 0: one birth without parents for each different policy."""
    births = tuple(
        Birth(_birth_id(0, 0, i), policy, (), (), FOUND)
        for i, policy in enumerate(dict.fromkeys(policies))
    )
    return Brood(0, 0, births)


def ask(state: State, strategy: Strategy, children: int | None = None) -> tuple[Mating, ...]:
    """Return the matings of the next generation: an operator each, and as many selected parents as
    it takes; by default as many as are configured.
    """
    generation = state.generation + 1
    rng = generator(state.seed, Stream.MATING, generation, state.island)
    num = strategy.config.children if children is None else children
    if strategy.config.adaptation.method == "inherited":
        return _by_own_rates(state.members, num, strategy, rng)
    names = list(strategy.weights)
    shares = np.array([strategy.weights[n] for n in names])
    drawn = [names[i] for i in rng.choice(len(names), size=num, p=shares / shares.sum())]
    if strategy.config.mating == "differential":
        counted = [(name, strategy.operators[name].num_parents) for name in drawn]
        return differential_matings(
            candidates_of(state.members, strategy.bonus).fitness, counted, rng
        )
    needed = sum(strategy.operators[name].num_parents for name in drawn)
    queue = select_parents(
        candidates_of(state.members, strategy.bonus), needed, strategy.config.parent_selection, rng
    )
    queue = [queue[i] for i in rng.permutation(needed)]  # some schemes return in order of fitness
    matings = []
    for name in drawn:
        count = strategy.operators[name].num_parents
        matings.append(Mating(tuple(queue[:count]), name))
        queue = queue[count:]
    return tuple(matings)


def mating_chances(state: State, matings: Sequence[Mating], strategy: Strategy) -> Expectation:
    """Return the probability of each member to fill one of the matings' slots, before they were
    drawn.
    """
    rng = generator(state.seed, Stream.EXPECTATION, state.generation + 1, state.island, 0)
    if strategy.config.mating == "differential":
        counts = [len(m.parents) for m in matings]
        return differential_chances(candidates_of(state.members, strategy.bonus).fitness, counts)
    slots = sum(len(m.parents) for m in matings)
    return parent_probabilities(
        candidates_of(state.members, strategy.bonus), slots, strategy.config.parent_selection, rng
    )


def vary(
    state: State,
    matings: Sequence[Mating],
    strategy: Strategy,
    seen: Container[str],
    fits: Callable[[Policy], bool],
    pick: Callable[[Sequence[Birth]], Sequence[int]] | None = None,
) -> Brood:
    """Return the next brood: a child for each mating, and except with the comma scheme each member
    again by the operator `survive`.

    A child that cannot be made, has one word for two choices, does not fit, or has been seen is
    drawn again, from the second half of the attempts on by any one-parent operator; after
    `MAX_ATTEMPTS` the parent itself is taken, by the operator `clone`: its score is known and costs
    nothing. With `further_edits` one-parent operators may edit a child again: its operator is the
    first, its `edits` are all. Where the comma scheme has fewer different policies in the brood
    than the population, the fittest other members survive, so that it keeps its size.

    Args:
        seen: what the policies of earlier generations are known as (`novelty.known_as`).
        fits: whether a policy's prompt can be scored at all.
        pick: who of the children is born, as places in ascending order; all by default. Those that
            are not were never born: they are no births.
    """
    generation = state.generation + 1
    births: list[Birth] = []
    if strategy.config.scheme != "comma":
        births += [m.birth.again(SURVIVE) for m in state.members]
    children: list[Birth] = []
    novelty = strategy.config.novelty
    taken = Names(seen, (known_as(m.birth.policy, novelty) for m in state.members))
    for index, mating in enumerate(matings):
        policy, edits = _child(state, generation, index, mating, strategy, taken, fits)
        taken.update([known_as(policy, novelty)])
        operator = edits[0].partition(WAY)[0]
        count = 1 if operator == CLONE else strategy.operators[operator].num_parents
        parents = [state.members[p] for p in mating.parents[:count]]
        told = edits if edits != (operator,) else ()
        child = _birth(policy, parents, operator, told)
        children.append(_with_own_rates(child, parents[0], state, index, strategy))
    births += children if pick is None else [children[i] for i in pick(children)]
    births += _immigrants(state, strategy, taken, fits)
    missing = _missing(state.members, births, strategy.config.population)
    births += [m.birth.again(SURVIVE) for m in missing]
    return Brood(generation, state.island, named(births, generation, state.island))


def rival_of(state: State, strategy: Strategy) -> Member | None:
    """Return the member that a child has to beat to survive: the last of a full population; None
    where there is room.
    """
    if len(state.members) < strategy.config.population or strategy.config.scheme == "comma":
        return None
    return min(state.members, key=lambda m: worth_of(m, strategy.bonus))


def tell(
    state: State | None,
    brood: Brood,
    evaluations: Sequence[Evaluation],
    strategy: Strategy,
    seed: int,
) -> tuple[State, tuple[LineageEntry, ...]]:
    """Return the state after survival, and every birth's line of the lineage. Founders are all
    selected, except where births are raced.

    Of births with equal policies at most one can survive: the first; and only those that were
    measured on as many examples as any.
    """
    members = tuple(Member(b, e) for b, e in zip(brood.births, evaluations, strict=True))
    if state is None and strategy.config.racing.method == "off":
        chosen, chances = list(range(len(members))), np.ones(len(members))
    else:
        most = max(len(e.case_fitness) for e in evaluations)
        measured = [(i, m) for i, m in enumerate(members) if len(m.evaluation.case_fitness) == most]
        first = sorted({m.birth.policy.policy_id: i for i, m in reversed(measured)}.values())
        there = [members[i] for i in first]
        pool = replace(candidates_of(there, strategy.bonus), replaces=replaces_of(there))
        count, scheme = (
            min(strategy.config.population, len(first)),
            strategy.config.survival_selection,
        )
        rng = generator(seed, Stream.SURVIVAL, brood.generation, brood.island)
        chosen = [first[i] for i in select_survivors(pool, count, scheme, rng)]
        chances = np.zeros(len(members))
        rng = generator(seed, Stream.EXPECTATION, brood.generation, brood.island, 1)
        chances[first] = survival_probabilities(pool, count, scheme, rng).probability
    kept = set(chosen)
    entries = tuple(
        LineageEntry(brood.generation, brood.island, m, i in kept, float(chances[i]))
        for i, m in enumerate(members)
    )
    return State(seed, brood.generation, tuple(members[i] for i in chosen), brood.island), entries


def _immigrants(
    state: State, strategy: Strategy, taken: Names, fits: Callable[[Policy], bool]
) -> list[Birth]:
    """Return the births of a generation that have no parents: founders after so many edits each;
    fewer of them where what is made is known or does not fit.
    """
    generation, novelty = state.generation + 1, strategy.config.novelty
    simple = [name for name in strategy.weights if strategy.operators[name].num_parents == 1]
    births: list[Birth] = []
    for index in range(strategy.config.immigrants if simple else 0):
        rng = generator(state.seed, Stream.IMMIGRANTS, generation, state.island, index)
        for _ in range(MAX_ATTEMPTS):
            policy = strategy.founders[rng.integers(len(strategy.founders))]
            for _ in range(IMMIGRANT_EDITS):
                made = _edited([policy], _drawn(simple, strategy, rng), strategy, rng)
                policy = policy if made is None else made[0]
            if known_as(policy, novelty) not in taken and fits(policy):
                taken.update([known_as(policy, novelty)])
                births.append(Birth("", policy, (), (), FOUND, founded=generation))
                break
    return births


def _with_own_rates(
    child: Birth, parent: Member, state: State, index: int, strategy: Strategy
) -> Birth:
    """Return a child with the rates that it inherits of its first parent, where rates are."""
    if strategy.config.adaptation.method != "inherited":
        return child
    rng = generator(state.seed, Stream.STRATEGY, state.generation + 1, state.island, index)
    return replace(child, rates=strategy_genes.inherited(parent.birth, strategy.weights, rng))


def _by_own_rates(
    members: Sequence[Member], num: int, strategy: Strategy, rng: np.random.Generator
) -> tuple[Mating, ...]:
    """Return so many matings, each by the rates that its first parent inherited."""
    candidates, config = candidates_of(members, strategy.bonus), strategy.config

    def select(count: int) -> list[int]:
        chosen = select_parents(candidates, count, config.parent_selection, rng)
        return [chosen[i] for i in rng.permutation(count)]

    births = [m.birth for m in members]
    counts = {name: operator.num_parents for name, operator in strategy.operators.items()}
    floor = config.adaptation.floor
    return strategy_genes.matings(births, num, counts, strategy.weights, floor, select, rng)


def _child(
    state: State,
    generation: int,
    index: int,
    mating: Mating,
    strategy: Strategy,
    taken: Names,
    fits: Callable[[Policy], bool],
) -> tuple[Policy, tuple[str, ...]]:
    """Return a child of a mating, and the operators that made it in the end, in order: `clone`
    alone where it is the first parent.
    """
    parents = [state.members[p].birth.policy for p in mating.parents]
    rng = generator(state.seed, Stream.VARIATION, generation, state.island, index)
    simple = [name for name in strategy.weights if strategy.operators[name].num_parents == 1]
    for attempt in range(MAX_ATTEMPTS):
        again = attempt >= MAX_ATTEMPTS // 2 and len(simple) > 0
        name = _drawn(simple, strategy, rng) if again else mating.operator
        made = _edited(parents, name, strategy, rng)
        if made is None:
            continue
        child, edits = made[0], [made[1]]
        if simple:
            child, more = _edited_further(child, simple, strategy, rng)
            edits += more
        # known ones first: whether they fit costs nothing to know
        if known_as(child, strategy.config.novelty) not in taken and fits(child):
            return child, tuple(edits)
    return parents[0], (CLONE,)


def _edited_further(
    child: Policy, names: Sequence[str], strategy: Strategy, rng: np.random.Generator
) -> tuple[Policy, list[str]]:
    """Return the child after further edits, and the operators that made them. One that can do
    nothing takes its turn without being named.
    """
    further = strategy.config.further_edits
    edits: list[str] = []
    for _ in range(MAX_EDITS - 1 if further else 0):
        if rng.random() >= further:
            break
        name = _drawn(names, strategy, rng)
        made = _edited([child], name, strategy, rng)
        if made is not None:
            child, edits = made[0], [*edits, made[1]]
    return child, edits


def _drawn(names: Sequence[str], strategy: Strategy, rng: np.random.Generator) -> str:
    shares = np.array([strategy.weights[n] for n in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _edited(
    parents: Sequence[Policy], name: str, strategy: Strategy, rng: np.random.Generator
) -> tuple[Policy, str] | None:
    """Return what an operator makes of its parents, and its name with the way in which it made it,
    where it has several; None where that is nothing or has one word for two choices.
    """
    operator = strategy.operators[name]
    made = operator.apply(parents[: operator.num_parents], strategy.materials, rng)
    child = policy_of(made)
    if child is not None and not isinstance(child, Policy):
        raise UserError(
            f"the operator '{name}' returned {child!r}; an operator returns a Policy, or None "
            "where it has nothing to work on"
        )
    if child is None or mistake_in_words(child, strategy.materials.choices):
        return None
    return child, name + WAY + made.way if isinstance(made, Edited) else name


def _missing(members: Sequence[Member], births: Sequence[Birth], population: int) -> list[Member]:
    """Return the fittest members that are not among the births, as many as these have too few
    different policies for a population.
    """
    there = {b.policy.policy_id for b in births}
    absent = [m for m in members if m.birth.policy.policy_id not in there]
    absent.sort(key=lambda m: -m.evaluation.fitness)
    return absent[: max(0, population - len(there))]


def _birth(
    policy: Policy, parents: Sequence[Member], operator: str, edits: tuple[str, ...] = ()
) -> Birth:
    """Return a birth that has no name yet, of parents with equal shares."""
    ids = tuple(p.birth.birth_id for p in parents)
    shares = tuple(1.0 / len(ids) for _ in ids)
    founded = min(p.birth.founded for p in parents)
    rates = parents[0].birth.rates
    return Birth("", policy, ids, shares, operator, edits, rates=rates, founded=founded)


def named(births: Sequence[Birth], generation: int, island: int) -> tuple[Birth, ...]:
    """Return an island's births of a generation with their names, which follow from their order."""
    names = (_birth_id(generation, island, place) for place in range(len(births)))
    return tuple(
        replace(b, birth_id=name, island=island) for b, name in zip(births, names, strict=True)
    )


def _birth_id(generation: int, island: int, index: int) -> str:
    return f"{generation}.{island}.{index}"
