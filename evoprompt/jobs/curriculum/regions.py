"""Regions: the examples of several tasks, and one task of what prompts for all of them are made of;
and which examples come next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.evolution.engine import Strategy
from evoprompt.jobs.curriculum.config import CurriculumConfig, RegionConfig
from evoprompt.policy import Chat, Demonstration, Policy
from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import Task
from evoprompt.tasks.load import load_task
from evoprompt.variation.base import needs_of
from evoprompt.variation.catalog import drawn_operators

#: Coordinates in the stream of curricula: targets that are drawn, which belong to the region and
#: not to a run; the order of examples; and the regions of a round.
TARGETS, ORDER, DRAWS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Regions:
    """What a curriculum is on."""

    names: tuple[str, ...]
    tasks: tuple[Task, ...]  #: of each region; ids of examples begin with its name
    union: Task  #: all together

    @property
    def given(self) -> tuple[Policy, ...]:
        """The starting policies as they were given; a baseline is one of them."""
        return self.union.given_policies

    def rendered(self, chats: Sequence[Chat]) -> Regions:
        """Return the regions with each starting policy in each of these renderings."""
        return replace(self, union=self.union.rendered(chats))


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of a round, region by region."""

    counts: NDArray[np.int64]  #: how often each region was drawn, shape (region,)
    examples: tuple[tuple[Example, ...], ...]  #: of each region

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Which regions have examples, shape (region,)."""
        return self.counts > 0

    @property
    def all(self) -> tuple[Example, ...]:
        """The examples of all regions, one after another."""
        return tuple(e for each in self.examples for e in each)

    def by_region(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return what examples have, in the order of `all`, cut by region."""
        ends = np.cumsum([len(each) for each in self.examples])
        return np.split(values, ends[:-1])


def load_regions(config: CurriculumConfig) -> Regions:
    """Return the regions of a configuration.

    Raises:
        UserError: as `load_task`, an example has no choices, or a starting policy has steps.
    """
    names = tuple(config.regions)
    tasks = tuple(
        _region(name, place, region, config.seed)
        for place, (name, region) in enumerate(config.regions.items())
    )
    union = _union(config.name, tasks)
    union.check_chat(config.model.chat)
    return Regions(names, tasks, union)


def strategy_of(config: CurriculumConfig, union: Task, *, specialists: bool = False) -> Strategy:
    """Return how a player evolves.

    Raises:
        UserError: as `drawn_operators`, no operator is left, or one needs what is not here.
    """
    drawn = drawn_operators(config.operators, "operators")
    needed = [operator.name for operator, _ in drawn if needs_of([operator])]
    if needed:
        raise UserError(
            f"operators: {', '.join(needed)} need a model that writes or what a run has scored, "
            f"which a curriculum has not; leave them out"
        )
    if not drawn:
        raise UserError("operators gives every operator the weight 0, so no child can be made")
    materials, founders = union.materials(config.max_demonstrations), union.starting_policies
    if not any(union.label_words.values()) and not any(p.label_words for p in founders):
        # no child has words that could be mistaken, so balance alone asks for choices
        pool = {frozenset(e.candidates): e.candidates for e in union.pool}
        materials = replace(materials, choices=tuple(pool.values()))
    return Strategy(
        config.evolution(specialists=specialists),
        {operator.name: operator for operator, _ in drawn},
        {operator.name: weight for operator, weight in drawn},
        materials,
        founders,
    )


def allotted(config: CurriculumConfig, weights: NDArray[np.float64], round_: int) -> Batch:
    """Return how often each region comes in a round, without examples yet."""
    num = len(weights)
    counts: NDArray[np.int64] = np.ones(num, dtype=np.int64)
    if config.draws_regions:
        rng = generator(config.seed, Stream.CURRICULUM, DRAWS, round_)
        counts = rng.multinomial(config.draws, weights)
    return Batch(counts, ((),) * num)


def next_batch(
    config: CurriculumConfig,
    regions: Regions,
    weights: NDArray[np.float64],
    round_: int,
    used: Sequence[int],
) -> Batch:
    """Return the examples of a round: those that come next in each region's order.

    Args:
        config: says how many.
        regions: whose fitness examples they are.
        weights: of the regions, which sum to 1.
        round_: from 0.
        used: how many each region has given so far; after all of them they come again, in another
            order.
    """
    counts, each = allotted(config, weights, round_).counts, config.examples // config.drawn
    found = (
        _following(config.seed, place, task.fitness, start, int(count) * each)
        for place, (task, start, count) in enumerate(zip(regions.tasks, used, counts, strict=True))
    )
    return Batch(counts, tuple(found))


def _following(
    seed: int, place: int, pool: Sequence[Example], start: int, num: int
) -> tuple[Example, ...]:
    taken: dict[str, Example] = {}
    for at in range(start, start + num):
        order = generator(seed, Stream.CURRICULUM, ORDER, place, at // len(pool)).permutation(
            len(pool)
        )
        example = pool[int(order[at % len(pool)])]
        taken.setdefault(example.example_id, example)  # where a pass ends, one may come twice
    return tuple(taken.values())


def _region(name: str, place: int, region: RegionConfig, seed: int) -> Task:
    """Return the task of a region. Its fitness examples are all labelled ones that have no other
    use, so that rounds have fresh ones.
    """
    task = load_task(region.task, seed=seed)
    if not task.has_choices:
        raise UserError(
            f"regions.{name}: task '{task.name}' has examples without choices, and policies are "
            f"compared by the probability of the right one; give each example its choices"
        )
    if any(policy.steps for policy in task.starting_policies):
        raise UserError(
            f"regions.{name}: a starting policy has steps, which are written anew for each prompt; "
            f"leave them out"
        )
    pool, *splits = (
        tuple(_answered(e, region, name, place) for e in split)
        for split in (task.pool, (*task.fitness, *task.spare), task.validation, task.test)
    )
    return replace(
        task,
        name=name,
        pool=pool,
        demonstrations=tuple(Demonstration(e.input, e.target + e.rest) for e in pool),
        fitness=splits[0],
        validation=splits[1],
        test=splits[2],
        spare=(),
        steps=(),
    )


def _answered(example: Example, region: RegionConfig, name: str, place: int) -> Example:
    """Return an example as its region has it, with an id that no other region has."""
    own = replace(example, example_id=f"{name}/{example.example_id}")
    if region.answers == "shown":
        return replace(own, input=f"{own.input} ({own.target})")
    if region.answers == "drawn":
        digits = int.from_bytes(own.example_id.encode(), "big")
        rng = generator(digits, Stream.CURRICULUM, TARGETS, place)
        return replace(own, target=own.candidates[int(rng.integers(len(own.candidates)))])
    return own


def _union(name: str, tasks: Sequence[Task]) -> Task:
    """Return all regions as one task; what prompts are made of is what any of them has."""
    words: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        words |= {c: tuple(dict.fromkeys((*words.get(c, ()), *w))) for c, w in _words(task)}

    def joined(*names: str) -> dict[str, tuple[object, ...]]:
        return {n: tuple(dict.fromkeys(x for t in tasks for x in getattr(t, n))) for n in names}

    several: Mapping[str, object] = {
        **joined("demonstrations", "pool", "fitness", "validation", "test"),
        **joined("starting_policies", "phrases", "templates", "notes"),
    }
    added = frozenset(p for task in tasks for p in task.added)
    return replace(tasks[0], name=name, label_words=words, added=added, **several)  # type: ignore[arg-type]


def _words(task: Task) -> Sequence[tuple[str, tuple[str, ...]]]:
    return tuple(task.label_words.items())
