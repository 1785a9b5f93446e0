"""Files of JSON lines: appended to, replaced in one step, read from any line on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError

#: The end of a file's name until it is whole; another process may write the same meanwhile.
SCRATCH = ".new"
#: Of a line: its first byte and its length.
Place = tuple[int, int]


def append_lines(file: Path, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Append lines to a file, to the disk; return them."""
    lines = [(json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows]
    with file.open("ab") as stream:
        stream.write(b"".join(lines))
        stream.flush()
        os.fsync(stream.fileno())
    return lines


def places_before(end: int, lines: Sequence[bytes]) -> list[Place]:
    """Return where lines are that end at a byte of their file."""
    begin = end - sum(map(len, lines))
    begins = accumulate(map(len, lines), initial=begin)
    return [(at, len(line)) for at, line in zip(begins, lines, strict=False)]


def placed_lines(file: Path, begin: int, end: int) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the lines between two bytes of a file at which lines begin, and where each is.

    Raises:
        UserError: one is not a JSON object.
    """
    if end <= begin:
        return
    with file.open("rb") as stream:
        stream.seek(begin)
        while begin < end and (line := stream.readline()):
            yield (begin, len(line)), line_of(line, f"{file}, at byte {begin}")
            begin += len(line)


def place_of(file: Path, end: int, is_before: Callable[[Mapping[str, Any]], bool]) -> int:
    """Return the byte at which the first line of a file begins that is not before something, where
    the lines up to `end` are in that order; `end` where all are.

    Raises:
        UserError: a line that is looked at is not a JSON object.
    """
    low, high = 0, end
    if not high:
        return 0
    with file.open("rb") as stream:
        # lines that begin before `low` are before it, those from `high` on are not
        while low < high:
            middle = (low + high) // 2
            stream.seek(max(0, middle - 1))
            if middle:
                stream.readline()
            begin = stream.tell()  # of the first line that begins at the middle or later
            if begin >= high:
                high = middle
            elif is_before(line_of(line := stream.readline(), f"{file}, at byte {begin}")):
                low = begin + len(line)
            else:
                high = begin
    return low


def line_of(text: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        UserError: it is none; `where` begins the sentence.
    """
    try:
        row = json.loads(text.decode())
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg})") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: no JSON object")
    return row


def replace_text(file: Path, text: str) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new, never a part."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}{SCRATCH}")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)
