"""Which column of a table is what: the section `task.fields`, and what is guessed where it does not
say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

from evoprompt.config.task import FieldsConfig
from evoprompt.errors import UserError, clip, nearest, quoted
from evoprompt.tasks.readers.base import Row, Table

#: What people call the columns, the likelier name first; in lower case, words apart by blanks.
INPUTS = (
    *("input", "text", "sentence", "question", "prompt", "query", "message", "utterance"),
    *("review", "comment", "content", "body", "document", "description", "context", "title"),
)
TARGETS = (
    *("target", "label text", "label name", "label", "labels", "answer", "answerkey", "category"),
    *("class", "output", "intent", "sentiment", "topic", "completion", "response", "gold"),
    "expected",
)
CHOICES = ("choices", "options", "candidates", "classes")

#: Columns that make an input together, and how.
TOGETHER: Mapping[tuple[str, ...], str] = {
    ("premise", "hypothesis"): "{premise}\nHypothesis: {hypothesis}",
    ("sentence1", "sentence2"): "{sentence1}\nSecond sentence: {sentence2}",
    ("question1", "question2"): "{question1}\nSecond question: {question2}",
    ("context", "question"): "{context}\nQuestion: {question}",
    ("passage", "question"): "{passage}\nQuestion: {question}",
    ("subject", "body"): "{subject}\n{body}",
    ("title", "body"): "{title}\n{body}",
}

#: Columns that an error lists.
MOST_LISTED = 20

_PIECES = re.compile(r"\{\{|\}\}|\{[^{}]+\}|[^{}]+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or what is inside its values."""

    key: str  #: as it was asked for
    name: str  #: of the column
    inside: tuple[str, ...] = ()  #: keys of objects and places in lists

    def value(self, row: Row) -> Any:
        """Return the value in a row; None where there is none."""
        value = row.values.get(self.name)
        for part in self.inside:
            if isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return None
        return value


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with columns in it; one column alone is the simplest."""

    pieces: tuple[str | Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in it."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Column))

    @property
    def only(self) -> Column | None:
        """The column that it is, where there is no text around it."""
        first = self.pieces[0] if len(self.pieces) == 1 else None
        return first if isinstance(first, Column) else None

    def text(self, row: Row, name: str) -> str | None:
        """Return the text for a row; None where no column in it has a text.

        Raises:
            UserError: a value is no text, number or truth value.
        """
        parts = [_text(piece, row, name) for piece in self.pieces]
        found = [p for p, piece in zip(parts, self.pieces, strict=True) if piece in self.columns]
        if not any(part is not None and part.strip() for part in found):
            return None
        return "".join(part or "" for part in parts)


@dataclass(frozen=True, slots=True)
class Fields:
    """What is read of each row."""

    input: Pattern
    target: Pattern | None
    choices: Column | tuple[Pattern, ...] | None  #: of each row; None where rows have none
    id: Column | None
    split: Column | None

    @property
    def names(self) -> frozenset[str]:
        """The columns that are read."""
        given = self.choices if isinstance(self.choices, tuple) else ()
        patterns = [p for p in (self.input, self.target, *given) if p is not None]
        single = [c for c in (self.choices, self.id, self.split) if isinstance(c, Column)]
        return frozenset(c.name for c in (*single, *(c for p in patterns for c in p.columns)))


@dataclass(frozen=True, slots=True)
class Filled:
    """What a row gives."""

    where: str  #: it stands, e.g. "x.csv, line 3"
    input: str
    target: str | None  #: None where there is none
    choices: tuple[str, ...] | None
    id: str | None
    split: str
    also: tuple[str, ...] = ()  #: further right answers


def text_of(value: object) -> str | None:
    """Return a value as text: integers without a point, true and false in lower case; None where
    there is none.

    Raises:
        TypeError: it is a list, an object or bytes.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float, Decimal, date, time)):
        return str(value)
    raise TypeError


def resolve(
    config: FieldsConfig, table: Table, name: str, *, labelled: bool = True
) -> tuple[Fields, str]:
    """Return what is read of a table, and a sentence on what was guessed; empty where nothing was.

    Args:
        config: what the user says.
        table: has the columns.
        name: of the file, for errors.
        labelled: whether a target is needed. Where it is not, its column and that of the split may
            be missing.

    Raises:
        UserError: a column is not there, or what is needed is not said and cannot be guessed.
    """
    columns, guessed = table.columns, {}
    if not labelled:
        config = _without_missing(config, columns)
    given = config.input or _guess(INPUTS, columns, TOGETHER)
    target = config.target or _guess(TARGETS, columns)
    missing = [key for key, found in (("input", given), ("target", target)) if not found]
    if not given or (labelled and not target):
        raise UserError(
            f"{name}: no column says by its name that it is the {' or the '.join(missing)}; give "
            f"task.fields={{input: COLUMN, target: COLUMN}} with columns of {_listed(columns)}, or "
            f"have evoprompt init write a configuration"
        )
    if config.input is None:
        guessed["input"] = given
    if config.target is None and target:
        guessed["target"] = target
    choices = config.choices
    if choices == "auto" and (found := _guess(CHOICES, columns)):
        guessed["choices"] = choices = found
    fields = Fields(
        input=_pattern(given, columns, f"{name}: task.fields.input"),
        target=_pattern(target, columns, f"{name}: task.fields.target") if target else None,
        choices=_choices(choices, columns, f"{name}: task.fields.choices"),
        id=_column(config.id, columns, f"{name}: task.fields.id") if config.id else None,
        split=_column(config.split, columns, f"{name}: task.fields.split")
        if config.split
        else None,
    )
    return fields, _said(guessed, fields, columns)


def _without_missing(config: FieldsConfig, columns: Sequence[str]) -> FieldsConfig:
    """Return what the user says, but for a target and a split that are not there."""
    missing: dict[str, None] = {}
    for key in ("target", "split"):
        try:
            _pattern(getattr(config, key) or "", [*columns, ""], "")
        except UserError:
            missing[key] = None
    return config.model_copy(update=missing)


def names_of(fields: Fields, table: Table) -> tuple[str, ...]:
    """Return the names that a table itself gives to the integers that are its targets."""
    only = fields.target.only if fields.target is not None else None
    return table.label_names.get(only.name, ()) if only is not None and not only.inside else ()


def fill(fields: Fields, table: Table, name: str) -> Iterator[Filled]:
    """Yield what each row gives.

    Raises:
        UserError: an input is missing, or a value is not what it should be (with its line).
    """
    names = names_of(fields, table)
    for row in table.rows(fields.names):
        text = fields.input.text(row, name)
        if text is None:
            keys = " and ".join(quoted(c.key) for c in fields.input.columns)
            raise UserError(
                f"{name}, {row.place}: {keys} is empty, and an example needs an input; fill it in, "
                f"or delete the row"
            )
        target, *also = _targets(fields, row, name)
        where = f"{name}, {row.place}"
        yield Filled(
            where,
            text,
            _named(target, names, where),
            _offered(fields.choices, row, name),
            _text(fields.id, row, name) if fields.id is not None else None,
            row.split if fields.split is None else (_text(fields.split, row, name) or ""),
            tuple(text for text in also if text),
        )


def _targets(fields: Fields, row: Row, name: str) -> list[str | None]:
    """Return the right answers of a row, of which all but the first are further ones: a list in
    the column of the target has several, where no choices are offered.
    """
    column = fields.target.only if fields.target is not None else None
    value = column.value(row) if column is not None else None
    several = value if isinstance(value, list) and fields.choices is None else []
    if several and all(isinstance(each, str | int | float) for each in several):
        return list(dict.fromkeys(map(text_of, several)))
    return [fields.target.text(row, name) if fields.target is not None else None]


def _named(target: str | None, names: Sequence[str], where: str) -> str | None:
    """Return a target as the file's own labels name it; -1 is none, as the package datasets has
    it.
    """
    if target is None or not names or target == "-1":
        return target if not names else None
    if target.isdecimal() and int(target) < len(names):
        return names[int(target)]
    if target in names:
        return target
    raise UserError(
        f"{where}: the label {quoted(target)} is none of the {len(names)} that the file names"
    )


def _guess(
    likely: Sequence[str], columns: Sequence[str], together: Mapping[tuple[str, ...], str] = {}
) -> str | None:
    plain = {re.sub(r"[\s_-]+", " ", column).strip().lower(): column for column in columns}
    for names, pattern in together.items():
        if all(name in plain for name in names) and not {"input", "text"} & plain.keys():
            for name in names:
                pattern = pattern.replace(f"{{{name}}}", f"{{{plain[name]}}}")
            return pattern
    return next((plain[name] for name in likely if name in plain), None)


def _said(guessed: Mapping[str, str], fields: Fields, columns: Sequence[str]) -> str:
    if not guessed:
        return ""
    unused = [quoted(c) for c in columns if c not in fields.names]
    told = ", ".join(f"{key} is {quoted(value)}" for key, value in guessed.items())
    more = f"; not used: {clip(', '.join(unused))}" if unused else ""
    return f"guessed from the names of the columns: {told}{more}; task.fields says it otherwise"


def _pattern(text: str, columns: Sequence[str], where: str) -> Pattern:
    """Return a column where the text is the name of one, or has no brace; else a text with columns
    in braces.
    """
    if text in columns or not re.search(r"\{[^{}]+\}", text.replace("{{", "").replace("}}", "")):
        return Pattern((_column(text, columns, where),))
    pieces: list[str | Column] = []
    for piece in _PIECES.findall(text):
        if len(piece) > 2 and piece[0] == "{":
            pieces.append(_column(piece[1:-1], columns, where))
        else:
            pieces.append({"{{": "{", "}}": "}"}.get(piece, piece))
    return Pattern(tuple(pieces))


def _column(key: str, columns: Sequence[str], where: str) -> Column:
    if key in columns:
        return Column(key, key)
    parts = key.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        if name in columns:
            return Column(key, name, tuple(parts[cut:]))
    lower = {column.lower(): column for column in columns}
    hint = f"did you mean '{lower[key.lower()]}'?" if key.lower() in lower else ""
    raise UserError(f"{where}: there is no column {quoted(key)}; {hint or _nearest(key, columns)}")


def _nearest(key: str, columns: Sequence[str]) -> str:
    hint = nearest(key, columns)
    return hint if hint.endswith("?") else f"there are {_listed(columns)}"


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - MOST_LISTED} more" if len(columns) > MOST_LISTED else ""
    return f"{', '.join(map(quoted, columns[:MOST_LISTED]))}{more}"


def _choices(
    given: str | Sequence[str], columns: Sequence[str], where: str
) -> Column | tuple[Pattern, ...] | None:
    if isinstance(given, str):
        return None if given in ("auto", "none") else _column(given, columns, where)
    if any("{" in text for text in given):
        return tuple(_pattern(text, columns, where) for text in given)
    return None


def _text(piece: str | Column, row: Row, name: str) -> str | None:
    if isinstance(piece, str):
        return piece
    value = piece.value(row)
    try:
        return text_of(value)
    except TypeError:
        within = f"; give what is inside it, as in {piece.key}.{_inside(value)}" if value else ""
        raise UserError(
            f"{name}, {row.place}: {quoted(piece.key)} must be a text, a number or true or false"
            f"{within} (given: {quoted(value)})"
        ) from None


def _inside(value: Collection[Any]) -> str:
    return clip(str(next(iter(value)))) if isinstance(value, Mapping) else "0"


def _offered(
    choices: Column | tuple[Pattern, ...] | None, row: Row, name: str
) -> tuple[str, ...] | None:
    """Return the choices of a row; None where it has none."""
    if choices is None:
        return None
    if isinstance(choices, tuple):
        texts = [pattern.text(row, name) for pattern in choices]
        return tuple(t.strip() for t in texts if t is not None)
    value = choices.value(row)
    where = f"{name}, {row.place}: the choices in {quoted(choices.key)}"
    if isinstance(value, str):
        value = _listed_in(value)
    if value is None:
        return None
    try:
        found = [text_of(v) for v in value] if isinstance(value, list) else []
    except TypeError:
        found = []
    if not found or None in found:
        raise UserError(
            f"{where} must be a list of texts, or a text with | between them (given: "
            f"{quoted(value)}); for choices that all examples share list them in "
            f"task.fields.choices"
        )
    return tuple(text.strip() for text in found if text is not None)


def _listed_in(text: str) -> Any:
    """Return the list in a text: JSON, or texts with | between them; None of an empty one."""
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list):
        return value
    return text.split("|") if "|" in text else text
