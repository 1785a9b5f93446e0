"""What all contenders get alike: starting prompts, demonstrations, development and test examples.

A folder has a task as `NAME.train.jsonl` and `NAME.test.jsonl`, lines of `{"input", "target",
"choices"}`, and may have `instructions.json` with starting prompts by task. Nothing of it is kept
in the repository. A task of the package goes by its own name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.config.task import TaskConfig
from evoprompt.policy import Policy, Template
from evoprompt.records import Example
from evoprompt.tasks.banks import GENERAL_INSTRUCTIONS
from evoprompt.tasks.base import Task, share_choices
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.splits import balanced

#: Examples that a contender may measure on, and the share of them that are fitness examples;
#: the rest are validation examples.
DEVELOPMENT, FITNESS_SHARE = 112, 3 / 7
#: At most so many test examples (of a task of the package, half), demonstrations, and starting
#: prompts.
TEST, POOL, PROMPTS = 200, 200, 5


@dataclass(frozen=True)
class BenchTask:
    """A task as every contender gets it."""

    name: str
    config: TaskConfig  #: by which the package's own search reads the same examples
    task: Task
    starting: tuple[Policy, ...]

    @property
    def description(self) -> str:
        """What the task is, for models that write prompts: its first starting prompt."""
        return self.starting[0].instruction

    @property
    def template(self) -> Template:
        """How an example is written where a contender knows instructions alone."""
        return self.starting[0].template

    @property
    def is_shared(self) -> bool:
        """Whether all examples have the same choices, so that there are offsets to fit."""
        return share_choices((*self.task.fitness, *self.task.validation, *self.task.test))

    def development(self, seed: int) -> tuple[Example, ...]:
        """Return the examples to measure on in the order of a run, labels in turns, so that the
        first of any number are about balanced.
        """
        examples = [*self.task.fitness, *self.task.validation]
        order = np.random.default_rng([seed, 1]).permutation(len(examples))
        return balanced([examples[i] for i in order], len(examples))

    def demonstration_counts(self) -> tuple[int, int]:
        """Return the two numbers of demonstrations that are tried: the number of labels and twice
        that, where there are more than three, else 4 and 8.
        """
        choices = self.task.choices
        number = len(choices) if choices and self.is_shared and len(choices) > 3 else 4
        return number, 2 * number


def load(
    name: str, data: Path | None, test_examples: int = TEST, development: int = DEVELOPMENT
) -> BenchTask:
    """Return a task of a folder, or of the package where it has no slash in its name."""
    sizes: dict[str, Any] = {
        "fitness_examples": round(FITNESS_SHARE * development),
        "validation_examples": development - round(FITNESS_SHARE * development),
        "test_examples": test_examples,
        "demonstration_pool": POOL,
    }
    if "/" not in name:
        config = TaskConfig(name=name, **sizes | {"test_examples": test_examples // 2})
    elif data is None:
        raise SystemExit(f"task {name} is of a folder: give --data FOLDER")
    else:
        train, test = (data / f"{name}.{split}.jsonl" for split in ("train", "test"))
        config = TaskConfig(path=train, test_path=test, **sizes)
        if texts := starting_instructions(name, data):
            policies = {"starting_policies": [{"instruction": text} for text in texts]}
            config = TaskConfig.model_validate(config.model_dump() | policies)
    task = load_task(config)
    starting = task.starting_policies[:PROMPTS]
    return BenchTask(name, config, task, starting)


def starting_instructions(name: str, data: Path) -> list[str]:
    """Return the published instructions of a task, made up with general ones to what the search
    with the most parents needs; empty where the folder has none.
    """
    file = data / "instructions.json"
    known: Mapping[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    own = known.get(name, {})
    lists: Sequence[str] = next((v for v in own.values() if isinstance(v, list)), [])
    texts = [*lists] or [own[k] for k in ("task_description", "instruction") if k in own]
    if not texts:
        return []
    return list(dict.fromkeys([*texts, *reversed(GENERAL_INSTRUCTIONS)]))[:PROMPTS]
