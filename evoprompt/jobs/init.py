"""A file of examples -> a configuration that runs as it is, with comments."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from pathlib import Path
from statistics import fmean

import yaml

from evoprompt.config.reader import check_section
from evoprompt.config.task import FieldsConfig, TaskConfig, is_hub_address
from evoprompt.config.yaml_text import Mistake, parse_yaml
from evoprompt.errors import UserError, clip, printable, quoted
from evoprompt.fitness.metrics import numbers
from evoprompt.jobs.evolve.config import check_config
from evoprompt.tasks.base import Task
from evoprompt.tasks.fields import fill, resolve, text_of
from evoprompt.tasks.load import SIZES, load_task
from evoprompt.tasks.readers.base import Table
from evoprompt.tasks.readers.open import open_table
from evoprompt.tasks.sources.file import is_native, task_name

#: Different values among which a column may be a label that no name says, and labels that are
#: listed as choices.
MOST_LABELS = 50
#: Share of a column's values that may be missing by mistake.
MOST_BLANK = 0.05
#: Examples of each split at most: of a search that takes minutes.
MOST: Mapping[str, int] = {
    "demonstration_pool": 200,
    "fitness_examples": 64,
    "validation_examples": 64,
    "test_examples": 200,
}
#: Bytes of a token, demonstrations of a prompt and policies of a search, roughly: with these the
#: quickstart's examples come to its budget.
BYTES, SHOWN, POLICIES = 4.0, 8, 40
#: Policies that are measured on all validation examples, and on all test examples.
VALIDATED, TESTED = 4, 2


@dataclass(frozen=True, slots=True)
class Found:
    """What a file has."""

    fields: FieldsConfig | None  #: None where its lines have the keys of an example
    unused: tuple[str, ...]  #: columns
    alike: tuple[str, ...]  #: other columns that could be the target
    choices: tuple[str, ...]  #: where they have to be listed


def init(
    source: str,
    out: Path | None,
    *,
    model: str = "smollm2-135m",
    fields: Mapping[str, str | None],
    force: bool = False,
) -> tuple[Path, Task]:
    """Look at a file of examples, or a data set of the hub, and write a configuration for it;
    return its path and the task.

    Args:
        source: as `task.path`.
        out: the file to write; None is beside the source, with its name.
        model: as `model.name`.
        fields: keys of `task.fields` that are not to be guessed.
        force: write over a file that is there.

    Raises:
        UserError: the source is malformed, it is not clear what its columns are, or there is such a
            file.
    """
    target = out or _beside(source)
    if (target.exists() or target.is_symlink()) and not force:
        raise UserError(f"{target} exists; give another name with -o, or --force to write over it")
    given = FieldsConfig.model_validate({k: v for k, v in fields.items() if v is not None})
    found = look(source, given)
    task = load_task(_config(source, found))
    is_file = not is_hub_address(source)
    path = os.path.relpath(source, target.resolve().parent) if is_file else source
    text = config_text(path, found, task, model)
    config = check_config(parse_yaml(text)[0], str(target))
    if is_file:  # as it is found from where the configuration will be
        config = config.model_copy(update={"task": config.task.model_copy(update={"path": source})})
    task = load_task(config.task)
    if not force:  # made here: not what a link leads to
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    else:
        target.write_text(text, encoding="utf-8")
    return target, task


def _beside(source: str) -> Path:
    name = f"{task_name(source)}.yaml"
    return Path(name) if is_hub_address(source) else Path(source).with_name(name)


def _config(source: str, found: Found) -> TaskConfig:
    """Return the task as the configuration has it, with as many examples as there are."""
    fields = found.fields
    if fields is not None and found.choices:
        fields = fields.model_copy(update={"choices": list(found.choices)})
    return check_section(TaskConfig, {"path": source, "fields": fields, **MOST}, source)


def look(source: str, given: FieldsConfig) -> Found:
    """Return what the columns of a file are: as it is said, by their names, or by what they hold.

    Raises:
        UserError: it is not clear.
    """
    if given == FieldsConfig() and is_native(TaskConfig(path=source)):
        return Found(None, (), (), ())
    with open_table(source) as table:
        rows = list(table.rows(table.columns))
        again = Table(table.columns, lambda _: iter(rows), table.label_names)
        alike: tuple[str, ...] = ()
        try:
            fields, _ = resolve(given, again, source)
        except UserError as error:
            values = {c: [row.values.get(c) for row in rows] for c in table.columns}
            given, alike = _by_content(given, values, error)
            fields, _ = resolve(given, again, source)
        filled = list(fill(fields, again, source))
    texts = [_written(p.pieces) if p is not None else "" for p in (fields.input, fields.target)]
    asked = given.choices
    if fields.choices is not None and asked == "auto":
        asked = getattr(fields.choices, "key", asked)
    said = given.model_copy(update={"input": texts[0], "target": texts[1], "choices": asked})
    targets = Counter((f.target or "").strip() for f in filled)
    listed = 20 < len(targets) <= min(MOST_LABELS, len(filled) // 4) and asked == "auto"
    unused = tuple(c for c in table.columns if c not in fields.names)
    return Found(said, unused, alike, tuple(sorted(targets)) if listed else ())


def _by_content(
    given: FieldsConfig, values: Mapping[str, Sequence[object]], error: UserError
) -> tuple[FieldsConfig, tuple[str, ...]]:
    """Return the fields with the last column of few values that repeat as the target, and the one
    of the longest texts as the input; and other columns that could be the target.

    Raises:
        UserError: there are no such columns, or what was given is wrong.
    """
    texts = {c: found for c, v in values.items() if (found := _texts(v)) is not None}
    few = [
        c
        for c, v in texts.items()
        if 2 <= len(set(v)) <= min(MOST_LABELS, len(v) // 2) and c != given.input
    ]
    target = given.target or (few[-1] if few else None)
    if given.target is None and few and (blank := len(values[few[-1]]) - len(texts[few[-1]])):
        others = f", or name another column: --target {quoted(few[-2])}" if few[1:] else ""
        raise UserError(
            f"the column {quoted(few[-1])} looks like the answers, and {blank} of "
            f"{len(values[few[-1]])} rows have none there; fill it in, or delete these rows{others}"
        )
    many = {c: fmean(map(len, v)) for c, v in texts.items() if c != target and c not in few}
    text = given.input or (max(many, key=lambda c: many[c]) if many else None)
    if text is None or target is None:
        raise error
    update = {"input": text, "target": target}
    return given.model_copy(update=update), tuple(c for c in few if c != target)


def _texts(values: Iterable[object]) -> list[str] | None:
    """Return the values as texts but for those that are missing; None where one is no text, or more
    are missing than a slip leaves out.
    """
    try:
        found = [text_of(value) for value in values]
    except TypeError:
        return None
    texts = [text for text in found if text and text.strip()]
    return texts if len(texts) >= (1 - MOST_BLANK) * len(found) else None


def _written(pieces: Sequence[object]) -> str:
    """Return a pattern as a configuration has it."""
    texts = [getattr(piece, "key", None) for piece in pieces]
    if len(pieces) == 1 and texts[0] is not None:
        return str(texts[0])
    return "".join(
        f"{{{key}}}" if key is not None else str(piece).replace("{", "{{").replace("}", "}}")
        for key, piece in zip(texts, pieces, strict=True)
    )


def config_text(path: str, found: Found, task: Task, model: str) -> str:
    """Return the configuration."""
    sizes = dict(zip(SIZES, map(len, task.splits.values()), strict=True))
    number = sum(len(split) for split in task.splits.values())
    lines = [
        f"# Made by evoprompt init of {_comment(path)}; run it by: evoprompt run, and this file.",
        "# Every key that is not here has its default.",
        f"model: {{name: {scalar(model)}}}  # or a hub id, or a folder with a model",
        "task:",
        f"  path: {scalar(path)}",
        *_fields_lines(found, task),
        *_label_lines(task),
        f"  # {number} examples are used; the search never sees those of the test",
        *(f"  {key}: {sizes[key]}" for key in SIZES[1:]),
        "  # What the search starts from; without this, from prompts that suit any such task:",
        "  # starting_policies:",
        '  #   - {instruction: "Say what it is.", input_prefix: "Text: ", '
        'output_prefix: "\\nAnswer:"}',
        *_metric_lines(task),
        "evolution: {generations: 100}  # the budget ends it",
        "# Tokens through the model. The quickstart's 40,000 take one to two minutes on two cores.",
        f"budget: {{prefill_tokens: {budget(task)}}}",
    ]
    return "\n".join(lines) + "\n"


def _fields_lines(found: Found, task: Task) -> list[str]:
    if found.fields is None:
        return []
    fields = found.fields
    other = found.alike[0] if found.alike else "a"
    both = f"{{{other}}}\\n{{{fields.input if found.alike else 'b'}}}"
    lines = [
        f'  fields:  # each a column, or a text with columns in braces: "{_comment(both)}"',
        f"    input: {scalar(fields.input or '')}",
        f"    target: {scalar(fields.target or '')}",
    ]
    if found.alike:
        lines[-1] += f"  # guessed; it could be {_comment(', '.join(found.alike))}"
    if found.choices:
        lines.append(f"    choices: [{', '.join(map(scalar, found.choices))}]")
    elif fields.choices != "auto":
        lines.append(f"    choices: {json.dumps(fields.choices)}")
    elif task.choices is None and not task.has_choices:
        lines.append("    choices: none  # answers are free text; list labels where they are meant")
    lines += [f"    {k}: {scalar(v)}" for k in ("id", "split") if (v := getattr(fields, k))]
    if found.unused:
        lines.append(f"    # not used: {_comment(', '.join(found.unused))}")
    return lines


def _metric_lines(task: Task) -> list[str]:
    """Return how answers in free text may be graded as they are written."""
    if task.has_choices:
        return []
    targets = [e.target for split in task.splits.values() for e in split]
    name = "number" if all(map(numbers, targets)) else "f1"
    return [
        "# The search goes by likelihood. To choose and test by what the model writes:",
        f"# final: {{metric: {{name: {name}}}}}  # evoprompt config --explain final.metric",
    ]


def _label_lines(task: Task) -> list[str]:
    """Return the labels with their numbers, and how they are called otherwise."""
    if task.choices is None:
        return []
    counts = Counter(e.target for split in task.splits.values() for e in split)
    told = ", ".join(f"{label} {number}" for label, number in counts.most_common())
    first, *_ = task.choices
    numbers = all(c.lstrip("-").isdecimal() for c in task.choices)
    advice = "give numbers a meaning" if numbers else "a model knows some words better than others"
    return [
        f"  # the labels are {_comment(told)}",
        f"  # labels: {{{scalar(first)}: another name}}  # {advice}",
    ]


def budget(task: Task) -> int:
    """Return the tokens of a search that is worth its while on a task, roughly, to two digits: what
    the test and the validation take, and a number of policies on some of the fitness examples.
    """
    examples = [e for split in task.splits.values() for e in split]
    example = fmean(_tokens(e.input) + 4 for e in examples)
    answers = fmean(sum(_tokens(c) + 1 for c in e.candidates) for e in examples)
    shown = SHOWN * (example + fmean(_tokens(e.target) + 1 for e in examples)) + 16

    def policy(number: int) -> float:
        return shown + number * (example + answers)

    tokens = (
        TESTED * policy(len(task.test))
        + VALIDATED * policy(len(task.validation))
        + POLICIES * policy(min(24, len(task.fitness)))
    )
    digits = int(10 ** max(0, int(log10(tokens)) - 1))
    return ceil(tokens / digits) * digits


def _tokens(text: str) -> float:
    return len(text.encode()) / BYTES


def scalar(text: str) -> str:
    """Return a text as YAML has it: as it is where that is read back, else in quotes."""
    try:
        alone, listed = parse_yaml(text)[0], parse_yaml(f"[{text}]")[0]
        if text == text.strip() and (alone, listed) == (text, [text]) and "#" not in text:
            return text
    except (Mistake, yaml.YAMLError, ValueError):
        pass
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _comment(text: str) -> str:
    return clip(" ".join(printable(text).split()), 200)
