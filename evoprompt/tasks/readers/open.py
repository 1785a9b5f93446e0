"""A path or an address -> a table: which reader reads what, by suffix and by content."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from evoprompt.config.task import is_hub_address
from evoprompt.errors import UserError
from evoprompt.plugins import find, names
from evoprompt.tasks.readers.base import Reader, Table
from evoprompt.tasks.readers.delimited import DELIMITERS
from evoprompt.text_files import MARK, open_binary

#: Every reader of the package by the suffix of what it reads. A new one is a file here and a line.
READERS: Mapping[str, str] = {
    "jsonl": "evoprompt.tasks.readers.json_text:JsonLinesReader",
    "ndjson": "evoprompt.tasks.readers.json_text:JsonLinesReader",
    "json": "evoprompt.tasks.readers.json_text:JsonReader",
    "csv": "evoprompt.tasks.readers.delimited:DelimitedReader",
    "tsv": "evoprompt.tasks.readers.delimited:TabReader",
    "parquet": "evoprompt.tasks.readers.parquet:ParquetReader",
    "lines": "evoprompt.tasks.readers.plain:LinesReader",
}
#: Those whose files are read as text, an object a line.
LINES = ("jsonl", "ndjson")

GZIP, PARQUET, ZIP = b"\x1f\x8b", b"PAR1", b"PK\x03\x04"

#: The most that a packed file may hold, bytes.
MOST_UNPACKED = 2**31


@contextmanager
def open_table(path: Path | str, form: str | None = None) -> Iterator[Table]:
    """Yield the table in a file, or in a data set of the hub.

    Args:
        path: of the file, which may be packed by gzip, or `hf://owner/name/config/split`.
        form: a suffix of `READERS` or of a plug-in; None finds it out.

    Raises:
        UserError: there is no such file, it has no form that is read here, or it is malformed.
    """
    if isinstance(path, str) and is_hub_address(path):
        from evoprompt.tasks.readers.hub import open_hub

        with open_hub(path) as table:
            yield table
        return
    with open_plain(Path(path)) as file:
        yield read_table(file, f"the examples {path}", form or form_of(Path(path), file))


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Yield a file of examples that is open to be read, unpacked where it is packed by gzip.

    Raises:
        UserError: it cannot be read, or what is packed is damaged.
    """
    name = f"the examples {path}"
    with open_binary(path, name) as file:
        if _beginning(file).startswith(GZIP):
            yield _unpacked(file, name)
        else:
            yield file


def read_table(file: BinaryIO, name: str, form: str) -> Table:
    """Return the table in an open file; `name` begins the sentence of an error.

    Raises:
        UserError: there is no such form, or the file is malformed.
    """
    reader: Reader = find("reader", form, READERS, name, ("read",))
    return reader.read(file, name)


def form_of(path: Path, file: BinaryIO) -> str:
    """Return the form of a file that is open at its beginning: that of its suffix, or what its
    content says where it has none that is known, or content and suffix cannot both be right.

    Raises:
        UserError: it is a spreadsheet or another packed file.
    """
    suffixes = [s.removeprefix(".").lower() for s in path.suffixes]
    suffix = next((s for s in reversed(suffixes) if s not in ("gz", "gzip")), "")
    if suffix not in READERS and suffix in names("reader", READERS):
        return suffix
    beginning = _beginning(file)
    if beginning.startswith(ZIP):
        raise UserError(
            f"the examples {path} are a spreadsheet or a zip file; save them as CSV (UTF-8), and "
            f"give that"
        )
    if beginning.startswith(PARQUET) or suffix == "parquet":
        return "parquet"
    first, is_only = _first_line(file)
    if first.startswith(('{"', "[{")) or first in ("{", "["):
        return "json" if _is_one_value(first, is_only, suffix) else "jsonl"
    if suffix in READERS:
        return suffix
    is_table = any(d in first for d in DELIMITERS) and not first.startswith("{")
    return "csv" if is_table else "jsonl"


def _is_one_value(first: str, is_only: bool, suffix: str) -> bool:
    """Return whether a file that begins so is one JSON value, and not an object a line."""
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return first == "{" or first.startswith("[")
    if isinstance(value, list):
        return True
    return is_only and (suffix == "json" or any(_is_table(v) for v in value.values()))


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _beginning(file: BinaryIO) -> bytes:
    beginning = file.read(len(ZIP))
    file.seek(0)
    return beginning


def _first_line(file: BinaryIO) -> tuple[str, bool]:
    """Return the first line that is not blank, and whether no other one follows."""
    lines = (line for line in file if line.strip())
    first, second = next(lines, b""), next(lines, b"")
    file.seek(0)
    return first.decode("utf-8", "replace").removeprefix(MARK).strip(), not second


def _unpacked(file: BinaryIO, name: str) -> BinaryIO:
    content = BytesIO()
    try:
        with gzip.open(file) as packed:
            while part := packed.read(2**20):
                content.write(part)
                if content.tell() > MOST_UNPACKED:
                    raise UserError(f"{name}: more than 2 GiB when unpacked; give a part of it")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name}: what gzip packed is damaged ({error}); pack it again") from None
    content.seek(0)
    return content
