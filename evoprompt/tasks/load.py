"""Where examples come from: the package's own tasks and JSONL files.

A line is `{"input", "target", "choices" (list, or null for free form), "id" (optional)}`. The split of an example follows from
the hash of its content alone: it does not change when lines are added, removed or reordered, and equal lines never part.

A task of the package is a file of settings, `builtin/<name>.json`, and its examples: those of `<name>.jsonl`, those that a generator
makes, or those of another task with other targets. The last keep their splits, so that what the one never sees the other does not either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from evoprompt.config.sections import PolicyConfig, TaskConfig
from evoprompt.errors import UserError, nearest
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import GENERAL_PHRASES, GENERAL_STEPS, GENERAL_TEMPLATES, Task, default_policies
from evoprompt.tasks.generators import GENERATORS, MAX_EXAMPLES
from evoprompt.tasks.judge import check_judgements, judge_task

SPLITS = ("demonstrations", "fitness", "validation", "test")

#: Of a generated task, where none is given.
DEFAULT_DIFFICULTY = 2


def load_task(config: TaskConfig) -> Task:
    """Return the task that a configuration asks for, its splits cut to the configured sizes.

    Raises:
        UserError: the name is unknown, a difficulty is given for a task that has none, a file is missing or malformed (with its
            line number), a target is not among its choices, or a split is empty.
    """
    task = _judging(config) if config.judge else _plain(config)
    if max(config.starting_demonstrations) > len(task.pool):
        raise UserError(
            f"task.starting_demonstrations asks for {max(config.starting_demonstrations)} of the {len(task.pool)} demonstrations of task "
            f"'{task.name}'; give a smaller number or a greater task.demonstration_pool"
        )
    shown = [_with_demonstrations(p, task.pool, n, i) for n in config.starting_demonstrations for i, p in enumerate(task.starting_policies)]
    return replace(task, starting_policies=tuple(dict.fromkeys(shown)))


def _plain(config: TaskConfig) -> Task:
    test: list[Example] = []
    settings: dict[str, Any] = {}
    if config.name is not None:
        rows, settings = _builtin(config.name, config.difficulty)
        name = config.name
    else:
        assert config.path is not None
        rows, name = read_jsonl(config.path), config.path.stem
        test = read_jsonl(config.test_path) if config.test_path else []
    if config.difficulty is not None and config.name not in GENERATORS:
        raise UserError(f"task '{name}' has no difficulty (given: {config.difficulty}); leave task.difficulty out, or use {' or '.join(GENERATORS)}")
    splits = {split: _with_targets(examples, settings) for split, examples in _split(rows, test).items()}
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
        pool=cut["demonstrations"],
        fitness=cut["fitness"],
        validation=cut["validation"],
        test=cut["test"],
        starting_policies=tuple(policy_of(p) for p in given),
        phrases=(*_list(settings, "phrases"), *config.phrases, *GENERAL_PHRASES),
        templates=(*(Template(*t) for t in _list(settings, "templates")), *GENERAL_TEMPLATES),
        label_words=_label_words(settings, config),
        steps=(*_list(settings, "steps"), *config.steps, *GENERAL_STEPS),
    )
    _check(task)
    if task.starting_policies:
        return task
    return replace(task, starting_policies=default_policies(task.choices))


def _judging(config: TaskConfig) -> Task:
    """Return the judging task of the task that is configured, with half of each split's size, since judging doubles it."""
    sizes = ("fitness_examples", "validation_examples", "test_examples")
    halves = {name: max(1, getattr(config, name) // 2) for name in sizes} | {"demonstration_pool": config.demonstration_pool // 2}
    evaluators = ("judge", "starting_policies", "starting_demonstrations", "phrases", "label_words", "steps")
    unasked = {name: TaskConfig.model_fields[name].default for name in evaluators}
    judged = load_task(config.model_copy(update=halves | unasked))
    check_judgements(judged)
    task = judge_task(judged)
    task = replace(
        task,
        starting_policies=tuple(policy_of(p) for p in config.starting_policies) or task.starting_policies,
        phrases=(*task.phrases, *config.phrases),
        label_words=_label_words({"label_words": task.label_words}, config),
        steps=tuple(config.steps),
    )
    _check(task)
    return task


def read_jsonl(path: Path, *, labelled: bool = True) -> list[Example]:
    """Return the examples of a JSONL file; where they need not be `labelled`, a target may be missing or null, and is empty then.

    Raises:
        UserError: the file cannot be read, or a line is malformed; the message has the line's number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the examples {path}: {getattr(error, 'strerror', None) or error}") from None
    examples = []
    known: dict[str, tuple[int, Example]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            example = _example(line, f"{path}, line {number}", labelled=labelled)
            first, same = known.setdefault(example.example_id, (number, example))
            if same != example:
                raise UserError(f"{path}, line {number}: the id {example.example_id!r} is that of line {first}, another example; give each an own id")
            examples.append(example)
    return examples


def read_questions(path: Path) -> tuple[Example, ...]:
    """Return the questions of a JSONL file, each once. A target may be missing or null, and is empty then.

    Raises:
        UserError: as `read_jsonl`; there is no question, or some have choices and some have none.
    """
    questions = tuple({(e.input, e.choices): e for e in read_jsonl(path, labelled=False)}.values())
    if len({e.choices is None for e in questions}) != 1:
        raise UserError(f"{path}: expected questions that all have choices or all have none, and at least one of them")
    return questions


def builtin_names() -> list[str]:
    """Return the names of the package's own tasks."""
    folder = resources.files("evoprompt.tasks") / "builtin"
    return sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


def policy_of(config: PolicyConfig) -> Policy:
    """Return the policy that a configuration describes."""
    return Policy(
        instruction=config.instruction,
        demonstrations=tuple(Demonstration(i, t) for i, t in config.demonstrations),
        template=Template(config.input_prefix, config.output_prefix, config.separator),
        label_words=tuple(config.label_words.items()),
        steps=tuple(config.steps),
        evaluator=policy_of(config.evaluator) if config.evaluator is not None else None,
    )


def content_hash(example: Example) -> str:
    """Return 16 hexadecimal digits of BLAKE2b over input and target."""
    return hashlib.blake2b(json.dumps([example.input, example.target]).encode(), digest_size=8).hexdigest()


def _builtin(name: str, difficulty: int | None) -> tuple[list[Example], dict[str, Any]]:
    """Return the examples of a task of the package, with the targets that they are split by, and its settings."""
    if name not in builtin_names():
        raise UserError(f"the package has no task '{name}'; {nearest(name, builtin_names())}; for a file of your own give task.path")
    folder = resources.files("evoprompt.tasks") / "builtin"
    settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if name in GENERATORS:
        return list(GENERATORS[name](difficulty or DEFAULT_DIFFICULTY, MAX_EXAMPLES)), settings
    source = settings.get("from", name)
    lines = (folder / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_example(line, f"{source}.jsonl, line {n}") for n, line in enumerate(lines, 1)], settings


def _with_targets(examples: Sequence[Example], settings: dict[str, Any]) -> list[Example]:
    """Return the examples with the targets and choices of a task made from another one; as they are, where the settings name none."""
    if "from" not in settings:
        return list(examples)
    targets, choices = settings["targets"], tuple(settings["choices"])
    return [replace(e, target=targets.get(e.target, settings["other_targets"]), choices=choices) for e in examples]


def _example(line: str, where: str, *, labelled: bool = True) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if isinstance(row, dict) and not labelled and row.get("target") is None:
        row["target"] = ""
    if not isinstance(row, dict) or not isinstance(row.get("input"), str) or not isinstance(row.get("target"), str):
        raise UserError(f'{where}: expected {{"input": text, "target": text, "choices": list or null}}, got {line[:80]!r}')
    choices = row.get("choices")
    if choices is not None and not (isinstance(choices, list) and all(isinstance(c, str) for c in choices) and len(set(choices)) > 1):
        raise UserError(f"{where}: 'choices' must be null or a list of at least two different texts, got {choices!r}")
    if choices is not None and row["target"] not in choices and (labelled or row["target"]):
        raise UserError(f"{where}: the target {row['target']!r} is not among the choices {choices}; {nearest(row['target'], choices)}")
    if not row["target"] and labelled:
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
    """Return the first `size` examples; where all have the same choices, the first of each target in turn.

    Where choices differ, most targets occur once, and taking them in turn would leave out the ones that occur often.
    """
    if len({frozenset(e.choices or ()) for e in examples}) != 1 or not examples[0].choices:
        return tuple(examples[:size])
    turns: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(examples):
        turn = turns[example.target] = turns.get(example.target, -1) + 1
        ranked.append((turn, position, example))
    return tuple(example for _, _, example in sorted(ranked, key=lambda r: r[:2])[:size])


def _with_demonstrations(policy: Policy, pool: Sequence[Example], number: int, index: int) -> Policy:
    """Return the policy with so many more demonstrations, in random order, of each target as many as go; others for each `index`."""
    rng = generator(0, Stream.STARTING, number, index)
    drawn = _balanced([pool[i] for i in rng.permutation(len(pool))], number)
    more = [Demonstration(drawn[i].input, drawn[i].target) for i in rng.permutation(len(drawn))]
    return replace(policy, demonstrations=(*policy.demonstrations, *more))


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


def _check(task: Task) -> None:
    Policy(steps=task.steps)  # refuses a step that no policy could have
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
