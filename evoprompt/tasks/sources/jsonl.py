"""Lines of JSON that have the keys of an example: a user's examples and questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError, nearest, quoted
from evoprompt.records import Example
from evoprompt.tasks.paths import read_path
from evoprompt.tasks.readers.open import open_plain
from evoprompt.text_files import (
    check_choices,
    check_keys,
    in_quotes,
    numbered,
    parse_json,
    read_lines,
    refuse,
    text_lines,
)

#: What is read of a line, with what other programs call it.
KEYS: Mapping[str, Sequence[str]] = {
    "input": ("text", "question", "prompt", "sentence", "query", "context"),
    "target": ("label", "labels", "answer", "output", "completion", "response", "gold", "expected"),
    "choices": ("options", "candidates", "classes"),
    "id": (),
}

#: What a line is, for errors.
FORM = '{"input": text, "target": text, "choices": list or null}'


def read_jsonl(path: Path, *, labelled: bool = True) -> list[Example]:
    """Return the examples of a JSONL file; where they need not be `labelled`, a target may be
    missing or null, and is empty then.

    Raises:
        UserError: the file cannot be read, has no line, or a line is malformed; the message has the
            line's number.
    """
    examples = []
    known: dict[str, tuple[int, Example]] = {}
    with open_plain(path) as file:
        for number, line in numbered(text_lines(file, f"the examples {path}")):
            where = f"{path}, line {number}"
            example = read_example(line, where, labelled=labelled, origin=f"{path}:{number}")
            first, same = known.setdefault(example.example_id, (number, example))
            if content_of(same) != content_of(example):
                raise UserError(
                    f"{where}: the id {example.example_id!r} is that of line {first}, another "
                    f"example; give each an own id"
                )
            examples.append(example)
    if not examples:
        raise UserError(f"the examples {path} have no line; give some, one a line")
    return examples


def read_questions(path: Path) -> tuple[Example, ...]:
    """Return the questions of a JSONL file, each once, whatever the order of its choices, with the
    last target that it has there. A target may be missing or null, and is empty then.

    Raises:
        UserError: as `read_jsonl`; some questions have choices and some have none.
    """
    unique: dict[object, Example] = {}
    for example in read_jsonl(path, labelled=False):
        if example.path:
            raise UserError(f"{path}: a question has one input, and a line has 'steps'")
        text, _, offered = content_of(example)
        if example.target or (text, offered) not in unique:
            unique[text, offered] = example
    questions = tuple(unique.values())
    if len({e.choices is None for e in questions}) != 1:
        raise UserError(f"{path}: expected questions that all have choices or all none")
    return questions


def read_answers(path: Path) -> dict[str, str]:
    """Return the answers of a JSONL file of `{"input", "answer"}` lines by input; of an input that
    is there twice the last.

    Raises:
        UserError: the file cannot be read, or a line has no input or no answer in words.
    """
    answers: dict[str, str] = {}
    for number, line in read_lines(path, "file of answers"):
        row = parse_json(line, f"{path}, line {number}")
        text, answer = (row.get("input"), row.get("answer")) if isinstance(row, dict) else ("", "")
        if not (isinstance(text, str) and isinstance(answer, str) and text and answer):
            raise UserError(f"{path}, line {number}: expected an input and an answer, both texts")
        answers[text] = answer
    if not answers:
        raise UserError(f"{path}: there is no answer in it")
    return answers


def read_example(line: str, where: str, *, labelled: bool = True, origin: str = "") -> Example:
    """Return the example of a line; `where` names the line in errors.

    Raises:
        UserError: the line is malformed.
    """
    needed = ("input", "target") if labelled else ("input",)
    row = parse_json(line, where)
    if isinstance(row, dict) and "steps" in row:
        path = read_path(row, where, origin)
        return replace(path, example_id=_id(row, where) or content_hash(path))
    row = check_keys(row, where, FORM, KEYS, needed)
    text, choices = row["input"], row.get("choices")
    target, *also = _golds(row.get("target"), where) if choices is None else (row.get("target"),)
    if not isinstance(text, str):
        refuse(where, f"'input' must be a text{in_quotes(text)}", text)
    if target is None and not labelled:
        target = ""
    if not isinstance(target, str):
        refuse(where, f"'target' must be a text{in_quotes(target)}", target)
    if (labelled or target) and not target.strip():
        what = "blank" if target else "empty"
        refuse(where, f"the target is {what}, and such an answer has no likelihood", target)
    if choices is not None:
        check_choices(choices, where)
        if target not in choices and (labelled or target):
            raise UserError(
                f"{where}: the target {quoted(target)} is not among the choices {quoted(choices)}; "
                f"{nearest(target, choices)}"
            )
    offered = tuple(choices) if choices is not None else None
    example = Example("", text, target, offered, origin, tuple(also))
    return replace(example, example_id=_id(row, where) or content_hash(example))


def _golds(target: Any, where: str) -> list[Any]:
    """Return the right answers of a line without choices: a list has several, the first of which
    is the target.
    """
    if not isinstance(target, list):
        return [target]
    if not target or any(not isinstance(text, str) or not text.strip() for text in target):
        refuse(where, "a list of targets must have texts that are not blank", target)
    return list(dict.fromkeys(target))


def content_hash(example: Example) -> str:
    """Return 16 hexadecimal digits of BLAKE2b over input and target; of a path over the states and
    actions.
    """
    return hashlib.blake2b(
        json.dumps([_asked(example), example.target]).encode(), digest_size=8
    ).hexdigest()


def _asked(example: Example) -> str:
    """Return the input; of a path its states."""
    return "\n".join([example.input, *(move.state for move in example.path[1:])])


def content_of(example: Example) -> tuple[str, str, frozenset[str] | None]:
    """Return what makes two lines one example: input, target and choices, these in any order."""
    offered = frozenset(example.choices) if example.choices is not None else None
    return _asked(example), example.target, offered


def _id(row: Mapping[str, Any], where: str) -> str:
    given = row.get("id")
    if given is not None and (isinstance(given, bool) or not isinstance(given, (str, int, float))):
        refuse(where, "'id' must be a text or a number", given)
    return "" if given is None else str(given)
