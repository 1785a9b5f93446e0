"""The package's own tasks: a file of settings each, with examples of its own, made by rule, or
those of another task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import Any

from evoprompt.config.task import PolicyConfig, TaskConfig
from evoprompt.errors import UserError, nearest
from evoprompt.policy import Policy, Template
from evoprompt.records import Example
from evoprompt.tasks.generators import GENERATORS, MAX_EXAMPLES
from evoprompt.tasks.sources.base import Raw, as_it_is
from evoprompt.tasks.sources.jsonl import read_example
from evoprompt.tasks.word_problems import word_problems, worked_problems

#: What makes the examples of each task that is made by rule.
MADE: Mapping[str, Callable[[int, int], tuple[Example, ...]]] = {
    **GENERATORS,
    "word_problems": word_problems,
    "worked_problems": worked_problems,
}
#: Those that are made with splits of their own, and whether their test has goals of its own.
WORLDS: Mapping[str, bool] = {"gridworld": False, "gridworld_unseen": True}
#: The tasks that have a difficulty.
GRADED = (*MADE, *WORLDS)
#: Of such a task, where none is given.
DEFAULT_DIFFICULTY = 2


def builtin_names() -> list[str]:
    """Return the names of the package's own tasks."""
    folder = resources.files("evoprompt.tasks") / "builtin"
    return sorted(
        f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")
    )


class BuiltinSource:
    """The package's own tasks. Implements `base.Source`."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the task of a name, at a difficulty where it has one.

        Raises:
            UserError: there is no such task.
        """
        name = str(config.name)
        if name not in builtin_names():
            raise UserError(
                f"the package has no task '{name}'; {nearest(name, builtin_names())}; for a file "
                f"of your own give task.path"
            )
        folder = resources.files("evoprompt.tasks") / "builtin"
        settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if "like" in settings:
            file = folder / f"{settings['like']}.json"
            settings = {**json.loads(file.read_text(encoding="utf-8")), **settings}
        policies = [PolicyConfig.model_validate(p) for p in settings.get("starting_policies", [])]
        words = settings.get("label_words", {})
        return Raw(
            name=name,
            **_read(name, settings.get("from", name), config.difficulty),
            answered=partial(_answered, settings) if "from" in settings else as_it_is,
            starting_policies=tuple(Policy.from_dict(p.slots()) for p in policies),
            phrases=tuple(settings.get("phrases", ())),
            templates=tuple(Template(*t) for t in settings.get("templates", ())),
            steps=tuple(settings.get("steps", ())),
            label_words={choice: tuple(bank) for choice, bank in words.items()},
        )


def _read(name: str, source: str, difficulty: int | None) -> dict[str, Any]:
    """Return the examples of a task, and its splits where it has its own."""
    if name not in WORLDS:
        return {"examples": _examples(name, source, difficulty)}
    from evoprompt.tasks.gridworld import splits

    found = splits(difficulty or DEFAULT_DIFFICULTY, unseen=WORLDS[name])
    return dict(zip(("demonstrations", "examples", "validation", "test"), found, strict=True))


def _examples(name: str, source: str, difficulty: int | None) -> tuple[Example, ...]:
    """Return the examples of a task, with the targets that they are split by."""
    if name in MADE:
        return MADE[name](difficulty or DEFAULT_DIFFICULTY, MAX_EXAMPLES)
    file = resources.files("evoprompt.tasks") / "builtin" / f"{source}.jsonl"
    lines = enumerate(file.read_text(encoding="utf-8").removesuffix("\n").split("\n"), 1)
    return tuple(read_example(line, f"{source}.jsonl, line {n}") for n, line in lines)


def _answered(settings: Mapping[str, Any], example: Example) -> Example:
    """Return an example of another task with the target and choices of the task made from it."""
    target = settings["targets"].get(example.target, settings["other_targets"])
    return replace(example, target=target, choices=tuple(settings["choices"]))
