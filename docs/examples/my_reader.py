"""A reader of a form of files: blocks of `key: value` lines with a blank line between them."""

from __future__ import annotations

from typing import BinaryIO

from evoprompt.errors import UserError
from evoprompt.tasks.readers.base import Row, Table


class Blocks:
    """Makes a row of each block."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in an open file; `name` begins the sentence of an error."""
        rows = []
        for number, block in enumerate(file.read().decode("utf-8").strip().split("\n\n"), 1):
            pairs = [line.partition(": ") for line in block.splitlines()]
            if any(not colon for _, colon, _ in pairs):
                raise UserError(f"{name}, block {number}: expected lines like 'input: the text'")
            rows.append(Row(f"block {number}", {key: value for key, _, value in pairs}))
        columns = tuple(dict.fromkeys(key for row in rows for key in row.values))
        return Table(columns, lambda _: iter(rows))
