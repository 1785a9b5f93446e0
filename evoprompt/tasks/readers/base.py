"""What a reader is: a file of one form -> a table. A new one is a file of this folder and a line in
`readers.open.READERS`.

A reader knows a form, and nothing of tasks: which column is what, labels and splits come after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    place: str  #: where it stands in its file, e.g. "line 3"
    values: Mapping[str, Any]  #: by column; one that is missing has no value
    split: str = ""  #: the name that the file itself gives to the split of the row


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds. Rows are read when they are asked for, once."""

    columns: tuple[str, ...]  #: different names, in the order of the file
    #: the rows, in the order of the file, with the values of these columns at least
    rows: Callable[[Collection[str]], Iterator[Row]]
    #: by column: the names of labels that stand as integers in the rows
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Reader(Protocol):
    """Reads files of one form."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in a file, which is open at its beginning and stays open while rows are
        read; it can be sought in. `name` begins the sentence of an error.

        Raises:
            UserError: the file is malformed, here or while its rows are read (with the line).
        """
