"""One table, shown three ways: as HTML, as Markdown, and by rich in a terminal.

Who makes a table gives plain text. What is special in a target (tags, pipes, line breaks, markup)
is escaped here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from evoprompt.errors import printable

Emphasis = Literal["plain", "strong", "muted", "good", "bad", "warning"]

#: How the terminal shows an emphasis.
STYLES = {"strong": "bold", "muted": "dim", "good": "green", "bad": "red", "warning": "yellow"}
#: How a page shows it; those that are not here look like others there.
CLASSES = {"strong": "big", "muted": "muted", "good": "good", "bad": "bad"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and what stands below it: the interval of a number, the runs of a group."""

    value: str
    below: str = ""  #: smaller; its lines are parted by line breaks
    link: str = ""  #: where the value leads
    emphasis: Emphasis = "plain"  #: of the value


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column, and to which side its texts are set: words left, numbers right."""

    head: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the heads of their columns; without heads where all of them are empty."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""  #: shown above it in Markdown and in a terminal; a page has its own headings

    @property
    def has_heads(self) -> bool:
        """Whether any column has a head."""
        return any(column.head for column in self.columns)


def new_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell | str]],
    *,
    align: str = "l",
    title: str = "",
) -> Table:
    """Return a table.

    Args:
        heads: a text for each column.
        rows: cells, or their plain texts.
        align: `l` or `r` for each of the first columns; the others are numbers, to the right.
        title: shown above it.

    Raises:
        ValueError: a row has not as many cells as there are heads.
    """
    columns = tuple(
        Column(head, "left" if align[place : place + 1] == "l" else "right")
        for place, head in enumerate(heads)
    )
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)} columns")
    cells = tuple(
        tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows
    )
    return Table(columns, cells, title)


def pairs_table(pairs: Sequence[tuple[str, Cell | str]]) -> Table:
    """Return a table without heads, of labels and what belongs to them."""
    return new_table(("", ""), pairs, align="ll")


def to_html(table: Table, terms: Mapping[str, str] | None = None) -> str:
    """Return the table as HTML; a page's style sheet has the classes. A head that is among the
    terms says what it means when it is pointed at.
    """
    lines = [f"<tr>{_html_line(row, table.columns)}</tr>" for row in table.rows]
    head = ""
    if table.has_heads:
        cells = (_html_head(column, (terms or {}).get(column.head)) for column in table.columns)
        head = f"<thead><tr>{''.join(cells)}</tr></thead>"
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide" tabindex="0"><table>{head}{body}</table></div>'


def to_markdown(table: Table) -> str:
    """Return the table in Markdown, its title above it, without a line break at the end."""
    lines = [
        _markdown_line([_markdown_text(column.head) for column in table.columns]),
        "|" + "---|" * len(table.columns),
        *(_markdown_line([_markdown_cell(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join([*([_markdown_text(table.title), ""] if table.title else []), *lines])


def to_rich(table: Table, *, padding: int = 2) -> RichTable:
    """Return the table for a terminal, with this many spaces between its columns. Numbers are not
    broken over lines.
    """
    shown = RichTable(
        title=Text(printable(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=None,
        padding=(0, padding, 0, 0),
        header_style="dim",
        show_header=table.has_heads,
    )
    for column in table.columns:
        shown.add_column(
            Text(printable(column.head)),
            justify=column.align,
            vertical="top",
            overflow="fold",
            no_wrap=column.align == "right",
        )
    for row in table.rows:
        shown.add_row(*(_rich_cell(cell) for cell in row))
    return shown


def _html_head(column: Column, meaning: str | None) -> str:
    kind = ' class="n"' if column.align == "right" else ""
    if not column.head:
        return f"<td{kind}></td>"
    text = escape(column.head)
    text = f'<abbr title="{escape(meaning)}">{text}</abbr>' if meaning else text
    return f'<th scope="col"{kind}>{text}</th>'


def _html_line(cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    return "".join(_html_cell(cell, column) for cell, column in zip(cells, columns, strict=True))


def _html_cell(cell: Cell, column: Column) -> str:
    classes = ["n"] if column.align == "right" else []
    classes += [CLASSES[cell.emphasis]] if cell.emphasis in CLASSES else []
    kind = f' class="{" ".join(classes)}"' if classes else ""
    value, below = escape(cell.value), escape(", ".join(cell.below.split("\n")))
    value = f'<a href="{escape(cell.link)}">{value}</a>' if cell.link else value
    below = f'<br><span class="muted">{below}</span>' if below else ""
    return f"<td{kind}>{value}{below}</td>"


def _markdown_line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _markdown_cell(cell: Cell) -> str:
    value = _markdown_text(cell.value)
    value = f"[{value}](<{_markdown_text(cell.link)}>)" if cell.link else value
    value = f"**{value}**" if cell.emphasis == "strong" and value else value
    return f"{value} {_markdown_text(cell.below)}" if cell.below else value


def _markdown_text(text: str) -> str:
    """Return text that stays in its cell: the backslash is escaped too, or one before a `|` would
    free it.
    """
    one_line = " ".join(escape(text, quote=False).splitlines())
    return one_line.replace("\\", "\\\\").replace("|", "\\|")


def _rich_cell(cell: Cell) -> Text:
    link = printable(cell.link) or None
    style = Style.parse(STYLES.get(cell.emphasis, "")) + Style(link=link)
    below = f"\n{printable(cell.below)}" if cell.below else ""
    return Text.assemble((printable(cell.value), style), (below, "dim"))
