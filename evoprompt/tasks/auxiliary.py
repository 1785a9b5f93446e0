"""Auxiliary tasks, and a policy's prompt before their examples. Pure but for reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import Task
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_prefix
from evoprompt.tasks.sources.builtin import builtin_names
from evoprompt.tasks.words import WORDS

#: Random words of an input and of its right answer.
INPUT_WORDS, ANSWER_WORDS = 6, 3


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A task that a policy was not made for."""

    name: str
    prompts: tuple[Policy, ...]  #: of which the best counts
    examples: tuple[Example, ...]  #: with the right answer as the only choice


def before(policy: Policy, prompt: Policy) -> Policy:
    """Return an auxiliary task's prompt with all that a policy's has before an input in front of
    it: instruction and demonstrations as they are written there. Steps and evaluator are not.
    """
    shown = render_prefix(replace(policy, chat="off"))
    assert isinstance(shown, str), "a policy that is no chat has a text"
    texts = [text for text in (shown.rstrip(), prompt.instruction) if text]
    joined = prompt.template.separator.join(texts)
    return replace(prompt, instruction=joined, chat=policy.chat)


def auxiliaries_of(config: SideEffectsConfig, task: Task) -> list[Auxiliary]:
    """Return the auxiliaries of a run on a task.

    Raises:
        UserError: one cannot be read, has too few examples, or is the task itself.
    """
    read = [_of_task(name, config, task) for name in config.tasks]
    found = [*read, *(_random(i, config.examples) for i in range(1, config.random + 1))]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise UserError(
            f"side_effects.tasks has two tasks of one name: {', '.join(names)}; name a file another"
        )
    return found


def is_path(name: str) -> bool:
    """Return whether an auxiliary task is a file's, and none of the package."""
    return name not in builtin_names()


def _of_task(name: str, config: SideEffectsConfig, task: Task) -> Auxiliary:
    place = {"path": Path(name)} if is_path(name) else {"name": name}
    if is_path(name) and not Path(name).exists():
        raise UserError(
            f"side_effects.tasks: '{name}' is neither a file nor a task of the package; those are "
            f"{', '.join(builtin_names())}"
        )
    found = load_task(TaskConfig.model_validate({**place, "fitness_examples": config.examples}))
    own = {(e.input, e.target) for split in task.splits.values() for e in split}
    if found.name == task.name or any((e.input, e.target) in own for e in found.fitness):
        raise UserError(
            f"side_effects.tasks: '{name}' has examples of the task that the prompts are made for; "
            "leave it out"
        )
    return Auxiliary(
        found.name, found.starting_policies[: config.suffixes], _right_alone(found, config.examples)
    )


def shortfalls(found: Sequence[Auxiliary], config: SideEffectsConfig) -> list[str]:
    """Return which auxiliaries have fewer examples or prompts than were asked for, in words."""
    told = []
    for each in found[: len(config.tasks)]:
        for what, have, asked in (
            ("examples", len(each.examples), config.examples),
            ("prompts", len(each.prompts), config.suffixes),
        ):
            if have < asked:
                told.append(f"the auxiliary task '{each.name}' has {have} {what} of {asked}")
    return told


def _right_alone(task: Task, num: int) -> tuple[Example, ...]:
    """Return the first examples with their right answers alone; of all splits, since nothing is
    searched on them.
    """
    examples = (*task.fitness, *task.spare, *task.validation, *task.test, *task.pool)[:num]
    if len(examples) < 2:
        raise UserError(
            f"the auxiliary task '{task.name}' has {len(examples)} examples to score; it takes at "
            "least 2, half of them for the direction of a change"
        )
    return tuple(replace(e, choices=(e.target,)) for e in examples)


def _random(number: int, num: int) -> Auxiliary:
    """Return an auxiliary of random words, inputs and right answers, the same in every run."""
    draws, name = generator(0, Stream.AUXILIARY, number), f"random-{number}"

    def words(count: int) -> str:
        return " ".join(draws.choice(WORDS, count, replace=False).tolist())

    examples = []
    for i in range(num):
        text, target = words(INPUT_WORDS), words(ANSWER_WORDS)
        examples.append(Example(f"{name}-{i}", text, target, (target,)))
    return Auxiliary(name, (Policy(),), tuple(examples))
