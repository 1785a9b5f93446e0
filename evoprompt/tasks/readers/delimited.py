"""CSV and its like: a row a line, values between delimiters, names of columns in the first line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from evoprompt.errors import UserError, quoted
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.text_files import text_lines

#: What may stand between values; of those that suit a file alike, the first is taken.
DELIMITERS = (",", ";", "\t", "|")

#: Lines that are looked at to find the delimiter.
LOOKED_AT = 50


class DelimitedReader:
    """Reads CSV; the delimiter is found out. Implements `base.Reader`."""

    delimiters: Sequence[str] = DELIMITERS

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in a file: values are texts, a text in quotes may have line ends, and
        lines without a value are passed over.

        Raises:
            UserError: it is not UTF-8, has no line, a quote is not closed, a column has no name of
                its own, or a row has more or fewer values than there are columns.
        """
        lines = text_lines(file, name)
        head = list(islice(lines, LOOKED_AT))
        delimiter = _delimiter(head, self.delimiters)
        records = _records(chain(head, lines), delimiter, name)
        first = next(records, None)
        if first is None:
            raise UserError(
                f"{name} is empty; give a line with the names of the columns, and a line for each "
                f"example"
            )
        columns = _columns(first[1], f"{name}, line {first[0]}")
        return Table(columns, lambda _: _rows(records, columns, delimiter, name))


class TabReader(DelimitedReader):
    """Reads TSV. Implements `base.Reader`."""

    delimiters = ("\t",)


def _delimiter(head: Sequence[str], delimiters: Sequence[str]) -> str:
    """Return the delimiter by which most of the first rows have as many values as the first one,
    and that more than one; where there is none, the first delimiter.
    """

    def suits(delimiter: str) -> tuple[float, int]:
        widths = []
        try:
            widths += [len(row) for row in csv.reader(head, delimiter=delimiter) if row]
        except csv.Error:
            return 0.0, 0
        if not widths or widths[0] == 1:
            return 0.0, 0
        return widths.count(widths[0]) / len(widths), widths[0]

    return max(delimiters, key=suits)


def _records(lines: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that have a value, each with the number of the line that it begins in."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{name}, line {line}: {_meant(str(error))}; a text with {quoted(delimiter)}, "
                f"quotes or line ends in it stands in quotes, and a quote in it twice: "
                f'"say ""yes"""'
            ) from None
        if record is None:
            return
        if any(value.strip() for value in record):
            yield line, record
        line = reader.line_num + 1


def _meant(message: str) -> str:
    """Return what is wrong, from the csv module's own words."""
    if "unexpected end" in message or "field larger" in message:
        return "a quote is opened here that is not closed"
    if "new-line" in message:
        return "a carriage return stands alone; save the file with line feeds"
    if "expected after" in message:
        return "text follows a closing quote"
    return f"not CSV ({message})"


def _columns(header: Sequence[str], where: str) -> tuple[str, ...]:
    names = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        places = [str(place) for place, name in enumerate(names, 1) if name == twice[0]]
        raise UserError(
            f"{where}: the name {quoted(twice[0])} is that of columns {' and '.join(places)}; the "
            f"first line names the columns: give each a name of its own"
        )
    return tuple(names)


def _rows(
    records: Iterable[tuple[int, list[str]]], columns: tuple[str, ...], delimiter: str, name: str
) -> Iterator[Row]:
    for line, record in records:
        if len(record) != len(columns):
            raise UserError(
                f"{name}, line {line}: {_count(len(record), 'value')}, and the first line names "
                f"{_count(len(columns), 'column')}; put a text that has {quoted(delimiter)} in it "
                f"in quotes, or give the row a value for each column"
            )
        yield Row(f"line {line}", dict(zip(columns, record, strict=True)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
