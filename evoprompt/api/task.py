"""Where the examples come from, and the configuration of a run on them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evoprompt.errors import UserError, quoted
from evoprompt.plugins import name_of
from evoprompt.tasks.sources.jsonl import read_example
from evoprompt.text_files import parse_json

if TYPE_CHECKING:
    from evoprompt.jobs.evolve.config import Config

#: Among at most so many different targets a task is taken to be a choice among them.
MOST_CHOICES = 20

#: Values of dotted keys of the configuration, as `--set` takes them.
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """Where the examples come from. Make one by `from_examples`, `from_file` or `builtin`."""

    config: Mapping[str, Any]  #: keys of the section `task` of a configuration
    examples: tuple[Mapping[str, Any], ...] = ()  #: given in memory: lines of a task's file

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[tuple[str, str] | Mapping[str, Any]],
        *,
        choices: Sequence[str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Return a task of pairs (input, target), or of mappings with the keys `input`, `target`
        and, as they like, `choices` and `id`.

        Args:
            examples: they are split by content into demonstrations, fitness, validation and test.
            choices: what every input is offered. None takes the different targets where there are
                at most 20 and each comes twice in the mean; else answers are free text.
            settings: further keys of the section `task`, e.g. `{"fitness_examples": 24}`.

        Raises:
            UserError: an example is neither a pair nor a mapping, or is malformed, as in a file.

        Examples:
            >>> import evoprompt as ep
            >>> pairs = [("I was charged twice", "complaint"), ("Where is my parcel?", "question")]
            >>> ep.Task.from_examples(2 * pairs).examples[0]["choices"]
            ['complaint', 'question']
        """
        rows = [_row(example) for example in examples]
        if not rows:
            raise UserError("a task needs examples; give pairs of (input, target)")
        targets = Counter(str(row.get("target")) for row in rows)
        if choices is None and len(targets) <= min(MOST_CHOICES, len(rows) // 2):
            choices = sorted(targets)
        offered = list(choices) if choices is not None and len(choices) > 1 else None
        lines = [_line({"choices": offered, **row}, n) for n, row in enumerate(rows, 1)]
        return cls(dict(settings or {}), tuple(lines))

    @classmethod
    def from_file(cls, path: str | Path, *, settings: Settings | None = None) -> Self:
        """Return the task of a JSONL file, a line each: `{"input", "target", "choices"}`.

        Examples:
            >>> import evoprompt as ep
            >>> task = ep.Task.from_file("mine.jsonl", settings={"test_examples": 100})
        """
        return cls({"path": str(Path(path).resolve()), **(settings or {})})

    @classmethod
    def builtin(cls, name: str, *, settings: Settings | None = None) -> Self:
        """Return a task of the package.

        Examples:
            >>> import evoprompt as ep
            >>> ep.Task.builtin("inbox").config
            {'name': 'inbox'}
        """
        return cls({"name": name, **(settings or {})})


def examples_of(task: object) -> tuple[Mapping[str, Any], ...]:
    """Return the examples that a task was given in memory; none of a config file."""
    return task.examples if isinstance(task, Task) else ()


def run_config(
    task: Task | str | Path,
    *,
    model: str = "smollm2-135m",
    seed: int = 0,
    backend: Any = "local",
    sections: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Config:
    """Return the configuration of a run as `evolve` makes it; that of a file as it is, but for the
    settings.
    """
    from evoprompt.config.reader import put_value
    from evoprompt.jobs.evolve.config import check_config, load_config
    from evoprompt.jobs.given import with_given, with_own_metrics

    if not isinstance(task, (Task, str, Path)):
        raise UserError(
            f"the task is {type(task).__name__}; give ep.Task.from_examples(pairs), "
            "ep.Task.from_file(path), ep.Task.builtin(name), or the path of a config file"
        )
    if not isinstance(task, Task):
        return load_config(Path(task), as_overrides(settings))
    values = sections_of(task, model, seed, backend) | dict(sections or {})
    for key, value in (settings or {}).items():
        put_value(values, key, value, f"settings[{key!r}]")
    config = check_config(values, "evoprompt")
    fitness, final = with_own_metrics(config.task, config.fitness, config.final)
    given = {"task": with_given(config.task, Path.cwd()), "fitness": fitness, "final": final}
    return config.model_copy(update=given)


def _row(example: tuple[str, str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(example, Mapping):
        return dict(example)
    if not isinstance(example, (tuple, list)) or len(example) != 2:
        raise UserError(
            f"the example {example!r} is neither a pair (input, target) nor a mapping with these "
            "keys"
        )
    return {"input": example[0], "target": example[1]}


def _line(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return an example as a task's file has it.

    Raises:
        UserError: it is malformed.
    """
    where = f"example {number}"
    try:
        line = json.dumps(row)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: {quoted(row)} is nothing that JSON has ({error})") from None
    read_example(line, where)
    values: Mapping[str, Any] = parse_json(line, where)
    return values


def sections_of(task: Task, model: str, seed: int, backend: Any) -> dict[str, Any]:
    """Return the sections of a run's configuration that the arguments say."""
    from evoprompt.config.workers import workers_of
    from evoprompt.jobs.evolve.folder import EXAMPLES

    source = {"path": EXAMPLES} if task.examples else {}
    return {
        "name": str(task.config.get("name", "run")),
        "seed": seed,
        "model": {"name": model},
        "task": {**source, **task.config},
        "workers": {**workers_of(name_of("backend", backend)), "threads": None},
        "tracking": {"enabled": False},
    }


def as_overrides(settings: Settings | None) -> list[str]:
    """Return settings as `--set` takes them; JSON is YAML too."""
    return [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
