"""Plain text: an input a line."""

from __future__ import annotations

from typing import BinaryIO

from evoprompt.errors import UserError
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.text_files import numbered, text_lines

#: The one column of such a file.
COLUMN = "input"


class LinesReader:
    """Reads lines. Implements `base.Reader`."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the lines that are not blank as a table of one column, `input`.

        Raises:
            UserError: it is not UTF-8, or has no line.
        """
        rows = [Row(f"line {n}", {COLUMN: line}) for n, line in numbered(text_lines(file, name))]
        if not rows:
            raise UserError(f"{name} has no line; give an input a line")
        return Table((COLUMN,), lambda _: iter(rows))
