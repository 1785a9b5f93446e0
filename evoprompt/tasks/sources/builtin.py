"""The package's own tasks: a file of settings each, with examples of its own, made by rule, or
those of another task.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from evoprompt.errors import UserError, nearest
from evoprompt.records import Example
from evoprompt.tasks.generators import GENERATORS, MAX_EXAMPLES
from evoprompt.tasks.sources.jsonl import read_example

#: Of a generated task, where none is given.
DEFAULT_DIFFICULTY = 2


def builtin_names() -> list[str]:
    """Return the names of the package's own tasks."""
    folder = resources.files("evoprompt.tasks") / "builtin"
    return sorted(
        f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")
    )


def read_builtin(name: str, difficulty: int | None) -> tuple[list[Example], dict[str, Any]]:
    """Return the examples of a task of the package, with the targets that they are split by, and
    its settings.
    """
    if name not in builtin_names():
        raise UserError(
            f"the package has no task '{name}'; {nearest(name, builtin_names())}; for a file of "
            f"your own give task.path"
        )
    folder = resources.files("evoprompt.tasks") / "builtin"
    settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if name in GENERATORS:
        return list(GENERATORS[name](difficulty or DEFAULT_DIFFICULTY, MAX_EXAMPLES)), settings
    source = settings.get("from", name)
    lines = (folder / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        read_example(line, f"{source}.jsonl, line {n}") for n, line in enumerate(lines, 1)
    ], settings


def with_targets(examples: Sequence[Example], settings: dict[str, Any]) -> list[Example]:
    """Return the examples with the targets and choices of a task made from another one; as they
    are, where the settings name none.
    """
    if "from" not in settings:
        return list(examples)
    targets, choices = settings["targets"], tuple(settings["choices"])
    return [
        replace(e, target=targets.get(e.target, settings["other_targets"]), choices=choices)
        for e in examples
    ]
