"""JSON: a list of objects, an object with such a list, or an object a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from evoprompt.errors import UserError, quoted
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.text_files import numbered, parse_json, text_lines

#: What the list of examples is called in an object that has several lists.
LISTS = ("data", "examples", "rows", "instances", "items", "records")

#: What is expected, for errors.
FORM = 'a list of objects, {"data": [objects]}, or an object a line'


class JsonLinesReader:
    """Reads an object a line. Implements `base.Reader`."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in a file.

        Raises:
            UserError: it is not UTF-8, or a line is no JSON object.
        """
        return _table(_lines(text_lines(file, name), name), name)


class JsonReader:
    """Reads JSON, as one value or as a value a line. Implements `base.Reader`."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in a file.

        Raises:
            UserError: it is not UTF-8, not JSON, or no table.
        """
        text = "".join(text_lines(file, name))
        if _is_lines(text):
            return _table(_lines(text.split("\n"), name), name)
        value = parse_json(text, name)
        return _table(_in(value, name), name)


def _is_lines(text: str) -> bool:
    """Return whether a whole value ends in the first line that is not blank, and more follows."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return bool(rest.strip())


def _lines(lines: Iterable[str], name: str) -> list[Row]:
    return [
        _row(parse_json(line, f"{name}, line {number}"), f"line {number}", name)
        for number, line in numbered(lines)
    ]


def _row(value: Any, place: str, name: str, split: str = "") -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{name}, {place}: expected an object (given: {quoted(value)})")
    return Row(place, value, split)


def _in(value: Any, name: str) -> list[Row]:
    """Return the rows in a value: a list, an object of lists that are splits, one list of objects
    in an object, or columns that are as long.
    """
    if isinstance(value, list):
        return [_row(v, f"item {number}", name) for number, v in enumerate(value, 1)]
    if not isinstance(value, dict):
        raise UserError(f"{name}: expected {FORM} (given: {quoted(value)})")
    lists = {key: v for key, v in value.items() if isinstance(v, list) and v}
    objects = {key: v for key, v in lists.items() if all(isinstance(row, dict) for row in v)}
    if len(objects) > 1 and len(objects) == len(value):
        return [
            _row(v, f"item {number} of {quoted(key)}", name, key)
            for key, rows in objects.items()
            for number, v in enumerate(rows, 1)
        ]
    found = [key for key in LISTS if key in objects] or list(objects)
    if len(found) == 1 or (found and found[0] in LISTS):
        rows = objects[found[0]]
        return [_row(v, f"item {n} of {quoted(found[0])}", name) for n, v in enumerate(rows, 1)]
    if lists and not objects and len(lists) == len(value):
        return _of_columns(lists, name)
    raise UserError(
        f"{name}: expected {FORM}; this is an object with the keys {', '.join(map(quoted, value))}"
    )


def _of_columns(lists: Mapping[str, Sequence[Any]], name: str) -> list[Row]:
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{quoted(key)} {length}" for key, length in lengths.items())
        raise UserError(f"{name}: the columns have lists of different lengths ({told})")
    return [
        Row(f"item {number}", dict(zip(lists, values, strict=True)))
        for number, values in enumerate(zip(*lists.values(), strict=True), 1)
    ]


def _table(rows: Sequence[Row], name: str) -> Table:
    if not rows:
        raise UserError(f"{name} has no line; give {FORM}")
    columns = tuple(dict.fromkeys(key for row in rows for key in row.values))

    def again(_: Collection[str]) -> Iterator[Row]:
        return iter(rows)

    return Table(columns, again)
