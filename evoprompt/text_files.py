"""Text files of users: how they are read, whoever reads them.

Files are UTF-8, with or without a byte order mark. Lines end at a line feed, which a carriage
return may precede, and nowhere else: U+2028, U+2029, U+0085, vertical tab and form feed are
characters like any other. Text is taken as it is, control characters included.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO, Never

from evoprompt.errors import UserError, quoted

MARK = "\ufeff"

#: Of encodings that are not read. That of UTF-32 begins with that of UTF-16, so it comes first.
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_text(path: Path, what: str) -> str:
    """Return the text of a file, without its byte order mark; line ends are as in the file.

    Args:
        path: of the file.
        what: it is, for errors, as in "cannot read the {what} x.jsonl".

    Raises:
        UserError: there is no such file, it may not be read, it is a folder or a pipe, or it is not
            UTF-8 (with the line).
    """
    name = f"the {what} {path}"
    with open_binary(path, name) as file:
        return "".join(text_lines(file, name))


def text_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of a file with their ends, without the byte order mark that the file may
    begin with; `name` begins the sentence of an error.

    Raises:
        UserError: it is not UTF-8 (with the line).
    """
    for number, line in enumerate(file, 1):
        if number == 1:
            _check_encoding(line, name)
        try:
            yield line.decode("utf-8").removeprefix(MARK if number == 1 else "")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}, line {number}: the byte 0x{line[error.start]:02x} is not UTF-8; save the "
                f"file as UTF-8"
            ) from None


def _check_encoding(beginning: bytes, name: str) -> None:
    for mark, encoding in MARKS:
        if beginning.startswith(mark):
            raise UserError(f"{name} is {encoding}; save it as UTF-8")
    if b"\0" in beginning[:2]:
        raise UserError(f"{name} looks like UTF-16 or UTF-32 without a mark; save it as UTF-8")


def read_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not blank, each with its number, from 1.

    Raises:
        UserError: as `read_text`.
    """
    name = f"the {what} {path}"
    with open_binary(path, name) as file:
        yield from numbered(text_lines(file, name))


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, without their ends, each with its number, from 1."""
    for number, line in enumerate(lines, 1):
        # a mark inside stands in files that were put together
        plain = line.removesuffix("\n").removesuffix("\r").removeprefix(MARK)
        if plain.strip():
            yield number, plain


def parse_json(line: str, where: str) -> Any:
    """Return the value of a line of JSON; `where` begins the sentence of an error.

    Raises:
        UserError: it is not JSON, a key stands twice in an object, a number is not finite, or a
            text has half a surrogate pair, which is no character.
    """
    try:
        value = json.loads(line, object_pairs_hook=_unique, parse_constant=_not_json)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise UserError(f"{where}: not JSON ({error.msg} at {line}column {error.colno})") from None
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: \\u{ord(error.object[error.start]):04x} is half a surrogate pair and no "
            f"character; write the pair, or leave it out"
        ) from None
    except RecursionError:
        raise UserError(f"{where}: the JSON is nested too deep") from None
    except ValueError as error:  # of the hooks; also a number with thousands of digits
        raise UserError(f"{where}: {str(error).split(';')[0]}") from None
    return value


def check_keys(
    row: object, where: str, form: str, keys: Mapping[str, Sequence[str]], needed: Collection[str]
) -> dict[str, Any]:
    """Return a line's value, which must be an object with what is needed in it. Keys of others are
    passed over.

    Args:
        row: the value.
        where: begins the sentence of an error.
        form: what a line should be, for errors.
        keys: those that are read, each with what other programs call it: where one of ours is
            missing, and another name or spelling of it is there, that is a mistake.
        needed: must be there.

    Raises:
        UserError: it is not so.
    """
    if not isinstance(row, dict):
        refuse(where, f"expected an object of the form {form} in each line", row)
    plain = {key.strip().lower(): key for key in row if key not in keys}
    for key, others in keys.items():
        if key in row:
            continue
        near = get_close_matches(key, plain, n=1, cutoff=0.8) if others else []
        found = [plain[name] for name in (key, *others, *near) if name in plain]
        if found:
            raise UserError(
                f"{where}: the key {quoted(found[0])} is not known; did you mean '{key}'? expected "
                f"{form}"
            )
        if key in needed:
            refuse(where, f"expected {form}, and '{key}' is missing", row)
    return row


def check_choices(choices: object, where: str) -> None:
    """Refuse what nothing can be chosen from.

    Raises:
        UserError: it is no list of at least two texts that differ by more than blanks.
    """
    if not isinstance(choices, list):
        refuse(where, "'choices' must be null or a list of texts", choices)
    for choice in choices:
        if not isinstance(choice, str):
            refuse(where, f"'choices' must be texts{in_quotes(choice)}", choices)
        if not choice.strip():
            refuse(where, "a choice is blank, and such an answer has no likelihood", choices)
    plain = [choice.strip() for choice in choices]
    if len(set(plain)) < max(len(plain), 2):
        refuse(where, "'choices' must be at least two that differ by more than blanks", choices)


def refuse(where: str, expected: str, given: object) -> Never:
    """Raise `UserError` for a line that is not what is expected."""
    raise UserError(f"{where}: {expected} (given: {quoted(given)})")


def in_quotes(value: object) -> str:
    """Return, for a sentence, how a number or a truth value is made a text; empty for others."""
    plain = isinstance(value, (bool, int, float))
    return f'; put it in quotes: "{json.dumps(value)}"' if plain else ""


def open_binary(path: Path, name: str) -> BinaryIO:
    """Return a file of a user, open to be read; `name` is what errors call it.

    Raises:
        UserError: there is no such file, it may not be read, or it is a folder or a pipe.
    """
    try:
        mode = path.stat().st_mode
        if S_ISDIR(mode):
            raise UserError(f"cannot read {name}: it is a folder; give a file")
        if not S_ISREG(mode):
            raise UserError(f"cannot read {name}: it is a pipe or a device; give a file")
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {name}: that is no path ({error})") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return value


def _not_json(constant: str) -> Never:
    raise ValueError(f"not JSON ({constant} is no number there)")
