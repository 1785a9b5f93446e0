"""JSONL files of a user's examples and questions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from evoprompt.config.sections import TaskConfig
from evoprompt.errors import UserError, nearest
from evoprompt.records import Example
from evoprompt.tasks.sources.base import Raw


class JsonlSource:
    """A user's JSONL file, with or without one for the test split. Implements `base.Source`."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples of `path`, and those of `test_path` as the test split."""
        assert config.path is not None
        test = read_jsonl(config.test_path) if config.test_path else []
        return Raw(config.path.stem, tuple(read_jsonl(config.path)), tuple(test))


def read_jsonl(path: Path, *, labelled: bool = True) -> list[Example]:
    """Return the examples of a JSONL file; where they need not be `labelled`, a target may be
    missing or null, and is empty then.

    Raises:
        UserError: the file cannot be read, or a line is malformed; the message has the line's
            number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the examples {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    examples = []
    known: dict[str, tuple[int, Example]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            example = read_example(line, f"{path}, line {number}", labelled=labelled)
            first, same = known.setdefault(example.example_id, (number, example))
            if same != example:
                raise UserError(
                    f"{path}, line {number}: the id {example.example_id!r} is that of line "
                    f"{first}, another example; give each an own id"
                )
            examples.append(example)
    return examples


def read_questions(path: Path) -> tuple[Example, ...]:
    """Return the questions of a JSONL file, each once. A target may be missing or null, and is
    empty then.

    Raises:
        UserError: as `read_jsonl`; there is no question, or some have choices and some have none.
    """
    questions = tuple({(e.input, e.choices): e for e in read_jsonl(path, labelled=False)}.values())
    if len({e.choices is None for e in questions}) != 1:
        raise UserError(
            f"{path}: expected questions that all have choices or all have none, and at least "
            f"one of them"
        )
    return questions


def read_example(line: str, where: str, *, labelled: bool = True) -> Example:
    """Return the example of a line; `where` names the line in errors.

    Raises:
        UserError: the line is malformed.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if isinstance(row, dict) and not labelled and row.get("target") is None:
        row["target"] = ""
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("input"), str)
        or not isinstance(row.get("target"), str)
    ):
        raise UserError(
            f'{where}: expected {{"input": text, "target": text, "choices": list or null}}, got '
            f"{line[:80]!r}"
        )
    choices = row.get("choices")
    if choices is not None and not (
        isinstance(choices, list)
        and all(isinstance(c, str) for c in choices)
        and len(set(choices)) > 1
    ):
        raise UserError(
            f"{where}: 'choices' must be null or a list of at least two different texts, got "
            f"{choices!r}"
        )
    if choices is not None and row["target"] not in choices and (labelled or row["target"]):
        raise UserError(
            f"{where}: the target {row['target']!r} is not among the choices {choices}; "
            f"{nearest(row['target'], choices)}"
        )
    if not row["target"] and labelled:
        raise UserError(f"{where}: the target is empty, and an empty answer has no likelihood")
    example = Example(
        "", row["input"], row["target"], tuple(choices) if choices is not None else None
    )
    return Example(
        str(row.get("id") or content_hash(example)), example.input, example.target, example.choices
    )


def content_hash(example: Example) -> str:
    """Return 16 hexadecimal digits of BLAKE2b over input and target."""
    return hashlib.blake2b(
        json.dumps([example.input, example.target]).encode(), digest_size=8
    ).hexdigest()
