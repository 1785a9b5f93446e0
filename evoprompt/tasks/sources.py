"""Where examples come from: the package's own tasks and JSONL files.

A line is `{"input", "target", "choices" (list, or null for free form), "id" (optional)}`. The split of an example follows from
the hash of its content alone: it does not change when lines are added, removed or reordered, and equal lines never part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from evoprompt.config import PolicyConfig, TaskConfig
from evoprompt.errors import UserError, nearest
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example
from evoprompt.tasks.base import GENERAL_PHRASES, GENERAL_TEMPLATES, Task, default_policies

SPLITS = ("demonstrations", "fitness", "validation", "test")


def load_task(config: TaskConfig) -> Task:
    """Return the task that a configuration asks for, its splits cut to the configured sizes.

    Raises:
        UserError: the name is unknown, a file is missing or malformed (with its line number), a target is not among its
            choices, or a split is empty.
    """
    test: list[Example] = []
    settings: dict[str, Any] = {}
    if config.name is not None:
        rows, settings = _builtin(config.name)
        name = config.name
    else:
        assert config.path is not None
        rows, name = read_jsonl(config.path), config.path.stem
        test = read_jsonl(config.test_path) if config.test_path else []
    splits = _split(rows, test)
    sizes = (config.demonstration_pool, config.fitness_examples, config.validation_examples, config.test_examples)
    cut = {split: _balanced(splits[split], size) for split, size in zip(SPLITS, sizes, strict=True)}
    for split in SPLITS[1:]:
        if not cut[split]:
            raise UserError(f"task '{name}': the {split} split is empty ({len(rows) + len(test)} examples in all); give more examples or a test_path")
    defaults = PolicyConfig.model_validate
    given = config.starting_policies or [defaults(p) for p in _list(settings, "starting_policies")]
    task = Task(
        name=name,
        demonstrations=tuple(Demonstration(e.input, e.target) for e in cut["demonstrations"]),
        fitness=cut["fitness"],
        validation=cut["validation"],
        test=cut["test"],
        starting_policies=tuple(policy_of(p) for p in given),
        phrases=(*_list(settings, "phrases"), *config.phrases, *GENERAL_PHRASES),
        templates=(*(Template(*t) for t in _list(settings, "templates")), *GENERAL_TEMPLATES),
        label_words=_label_words(settings, config),
    )
    _check_label_words(task)
    if task.starting_policies:
        return task
    return Task(**{f: getattr(task, f) for f in Task.__slots__} | {"starting_policies": default_policies(task.choices)})


def read_jsonl(path: Path) -> list[Example]:
    """Return the examples of a JSONL file.

    Raises:
        UserError: the file cannot be read, or a line is malformed; the message has the line's number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the examples {path}: {getattr(error, 'strerror', None) or error}") from None
    return [_example(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def builtin_names() -> list[str]:
    """Return the names of the package's own tasks."""
    folder = resources.files("evoprompt.tasks") / "builtin"
    return sorted(f.name.removesuffix(".jsonl") for f in folder.iterdir() if f.name.endswith(".jsonl"))


def policy_of(config: PolicyConfig) -> Policy:
    """Return the policy that a configuration describes."""
    return Policy(
        instruction=config.instruction,
        demonstrations=tuple(Demonstration(i, t) for i, t in config.demonstrations),
        template=Template(config.input_prefix, config.output_prefix, config.separator),
        label_words=tuple(config.label_words.items()),
    )


def content_hash(example: Example) -> str:
    """Return 16 hexadecimal digits of BLAKE2b over input and target."""
    return hashlib.blake2b(json.dumps([example.input, example.target]).encode(), digest_size=8).hexdigest()


def _builtin(name: str) -> tuple[list[Example], dict[str, Any]]:
    if name not in builtin_names():
        raise UserError(f"the package has no task '{name}'; {nearest(name, builtin_names())}; for a file of your own give task.path")
    folder = resources.files("evoprompt.tasks") / "builtin"
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return [_example(line, f"{name}.jsonl, line {n}") for n, line in enumerate(lines, 1)], settings


def _example(line: str, where: str) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(row, dict) or not isinstance(row.get("input"), str) or not isinstance(row.get("target"), str):
        raise UserError(f'{where}: expected {{"input": text, "target": text, "choices": list or null}}, got {line[:80]!r}')
    choices = row.get("choices")
    if choices is not None and not (isinstance(choices, list) and all(isinstance(c, str) for c in choices) and len(set(choices)) > 1):
        raise UserError(f"{where}: 'choices' must be null or a list of at least two different texts, got {choices!r}")
    if choices is not None and row["target"] not in choices:
        raise UserError(f"{where}: the target {row['target']!r} is not among the choices {choices}; {nearest(row['target'], choices)}")
    if not row["target"]:
        raise UserError(f"{where}: the target is empty, and an empty answer has no likelihood")
    example = Example("", row["input"], row["target"], tuple(choices) if choices is not None else None)
    return Example(str(row.get("id") or content_hash(example)), example.input, example.target, example.choices)


def _split(rows: Iterable[Example], test: Sequence[Example]) -> dict[str, list[Example]]:
    """Split by content: equal content is taken once; what is in a given test file is in no other split."""
    unique: dict[str, Example] = {}
    for example in rows:
        unique.setdefault(content_hash(example), example)
    held_out = {content_hash(e): e for e in test}
    order = sorted(h for h in unique if h not in held_out)
    # Content hashes are uniform, so their order is a fixed random one; a quarter each of the range, three where test is given.
    splits: dict[str, list[Example]] = {s: [] for s in SPLITS}
    parts = SPLITS[:3] if held_out else SPLITS
    for h in order:
        splits[parts[_bucket(h, held_out)]].append(unique[h])
    splits["test"] += [held_out[h] for h in sorted(held_out)]
    return splits


def _balanced(examples: Sequence[Example], size: int) -> tuple[Example, ...]:
    """Return the first `size` examples, drawn from the targets in turn where there are choices."""
    if not all(e.choices for e in examples):
        return tuple(examples[:size])
    turns: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(examples):
        turn = turns[example.target] = turns.get(example.target, -1) + 1
        ranked.append((turn, position, example))
    return tuple(example for _, _, example in sorted(ranked, key=lambda r: r[:2])[:size])


def _bucket(content: str, held_out: object) -> int:
    """Return the index of the split: shares of 24, 20, 16 and 40 percent, or 40, 30 and 30 where the test is given."""
    bounds = (0.40, 0.70) if held_out else (0.24, 0.44, 0.60)
    position = int(hashlib.blake2b(content.encode(), digest_size=8, person=b"split").hexdigest(), 16) / 2**64
    return sum(position >= bound for bound in bounds)


def _label_words(settings: dict[str, Any], config: TaskConfig) -> dict[str, tuple[str, ...]]:
    own = settings.get("label_words", {})
    assert isinstance(own, dict)
    choices = dict.fromkeys([*own, *config.label_words])
    return {c: tuple(dict.fromkeys([*own.get(c, []), *config.label_words.get(c, [])])) for c in choices}


def _check_label_words(task: Task) -> None:
    named = set(task.label_words) | {c for p in task.starting_policies for c, _ in p.label_words}
    for choice in sorted(named):
        if task.choices is None or choice not in task.choices:
            raise UserError(
                f"label words are given for '{choice}'; {nearest(choice, task.choices) if task.choices else 'but the examples share no choices'}"
            )


def _list(settings: dict[str, Any], key: str) -> list[Any]:
    value = settings.get(key, [])
    assert isinstance(value, list)
    return value
