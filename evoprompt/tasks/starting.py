"""The demonstrations that are added to starting policies before a search, as many as asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evoprompt.config.task import AUTO, TIMES, TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import Task
from evoprompt.tasks.sets import draw_set, labels_of

KEY = "task.starting_demonstrations"

#: What `auto` is: with at most so many choices none, of each as many as make four at least, and
#: twice as many; else none and four.
MOST_CHOICES, AT_LEAST = 8, 4


def with_demonstrations(task: Task, config: TaskConfig, seed: int = 0) -> Task:
    """Return the task with each starting policy once for each number of demonstrations that are
    added to it, and each of `starting_sets` sets of so many.

    A set is even in its labels, which come in turns (`tasks.sets.draw_set`); each policy has sets
    of its own, by its place, their number and which set it is. Policies without added
    demonstrations stay known as `given_policies`.

    Raises:
        UserError: a number is greater than the pool, or goes by choices that are not shared.
    """
    labels = labels_of(task.demonstrations, task.offers)
    policies: list[Policy] = []
    added: list[Policy] = []
    numbers = list(dict.fromkeys(_numbers(task, config)))
    of_each = config.starting_sets if any(numbers) else 1
    for place in range(of_each):
        for index, policy in enumerate(task.starting_policies):
            for number in numbers:
                if place and not number:
                    continue
                coordinates = (number, index, *([place] if place else []))
                more = _set(policy, labels, generator(seed, Stream.STARTING, *coordinates), number)
                new = replace(policy, demonstrations=(*policy.demonstrations, *more))
                if more and config.starting_sets_bare and not policy.evaluator:
                    new = replace(new, instruction="")
                policies.append(new)
                added += [new] if more else []
    policies.sort(key=lambda p: p in added)
    return replace(task, starting_policies=tuple(dict.fromkeys(policies)), added=frozenset(added))


def _set(
    policy: Policy, labels: Mapping[Demonstration, str], rng: np.random.Generator, number: int
) -> tuple[Demonstration, ...]:
    """Return demonstrations that a policy does not show yet."""
    pool = [d for d in labels if d not in policy.demonstrations]
    return draw_set(pool, number, labels, rng)


def _numbers(task: Task, config: TaskConfig) -> list[int]:
    pool = len(task.demonstrations)
    numbers: list[int] = []
    for given in config.starting_demonstrations:
        if isinstance(given, int):
            if given > pool:
                raise UserError(
                    f"{KEY} asks for {given} of the {pool} demonstrations of task '{task.name}'; "
                    f"give a smaller number or a greater task.demonstration_pool"
                )
            numbers.append(given)
        else:
            numbers += [min(number, pool) for number in _by_choices(task, given)]
    return numbers


def _by_choices(task: Task, name: str) -> list[int]:
    """Return the numbers that a name stands for."""
    shared = len(task.offers[0]) if task.has_choices and len(task.offers) == 1 else None
    if name == AUTO:
        if not shared or shared > MOST_CHOICES:
            return [0, AT_LEAST]
        number = shared * -(-AT_LEAST // shared)
        return [0, number, 2 * number]
    if shared is None:
        raise UserError(
            f"{KEY} asks for {name} demonstrations, where C is the number of choices, and the "
            f"examples of task '{task.name}' do not share their choices; give numbers or {AUTO}"
        )
    return [TIMES[name] * shared]
