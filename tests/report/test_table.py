"""One table, three ways to show it; and that a cell cannot get out of its cell in any of them."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table as RichTable

from evoprompt.report.table import (
    Cell,
    Table,
    new_table,
    pairs_table,
    to_html,
    to_markdown,
    to_rich,
)

TABLE = new_table(
    ("run", "status", "accuracy"),
    [
        (Cell("first", "2 runs\nseeds 0 1", link="first/report.html"), "done", "0.500"),
        ("second", Cell("failed", emphasis="bad"), Cell("0.75", "[0.6, 0.9]", emphasis="strong")),
    ],
    align="ll",
    title="Runs",
)


def printed(table: RichTable, **options: object) -> str:
    console = Console(file=io.StringIO(), width=60, **options)
    console.print(table)
    return console.file.getvalue()


def test_a_page_has_a_row_for_each_row_with_the_class_of_its_side_and_emphasis():
    assert to_html(TABLE) == (
        '<div class="wide" tabindex="0"><table><thead><tr>'
        '<th scope="col">run</th><th scope="col">status</th>'
        '<th scope="col" class="n">accuracy</th></tr></thead><tbody>'
        '<tr><td><a href="first/report.html">first</a>'
        '<br><span class="muted">2 runs, seeds 0 1</span></td>'
        '<td>done</td><td class="n">0.500</td></tr>'
        '<tr><td>second</td><td class="bad">failed</td>'
        '<td class="n big">0.75<br><span class="muted">[0.6, 0.9]</span></td></tr>'
        "</tbody></table></div>"
    )


def test_markdown_has_a_line_for_each_row_below_the_title():
    assert to_markdown(TABLE).split("\n") == [
        "Runs",
        "",
        "| run | status | accuracy |",
        "|---|---|---|",
        "| [first](<first/report.html>) 2 runs seeds 0 1 | done | 0.500 |",
        "| second | failed | **0.75** [0.6, 0.9] |",
    ]


def test_a_terminal_has_columns_words_left_and_numbers_right_intervals_below():
    assert [line.rstrip() for line in printed(to_rich(TABLE)).splitlines()] == [
        "Runs",
        "run        status    accuracy",
        "first      done         0.500",
        "2 runs",
        "seeds 0 1",
        "second     failed        0.75",
        "                   [0.6, 0.9]",
    ]
    coloured = printed(to_rich(TABLE), force_terminal=True, color_system="standard")
    assert "\x1b[31mfailed" in coloured
    assert re.search("\x1b\\[1m *0.75\x1b\\[0m", coloured)
    assert "\x1b[2m[0.6, 0.9]" in coloured


def test_pairs_have_no_heads():
    table = pairs_table([("time", "3 s"), ("report", "x.html")])
    assert "<th" not in to_html(table)
    assert [line.rstrip() for line in printed(to_rich(table)).splitlines()] == [
        "time    3 s",
        "report  x.html",
    ]


def test_each_column_is_set_to_its_side_and_those_left_open_to_the_right():
    table = new_table(("a", "b", "c", "d"), [], align="rl")
    assert [column.align for column in table.columns] == ["right", "left", "right", "right"]


def test_a_row_that_does_not_fit_the_heads_is_refused():
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        new_table(("a", "b"), [("x",)])


# --- hostile text


class Reader(HTMLParser):
    """The cells of a page as a browser shows them, and every tag that it meets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.cells += [""] if tag in ("td", "th") else []

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data


def markdown_cells(line: str) -> list[str]:
    """The cells of a line as GitHub's Markdown reads them: an escaped character parts nothing."""
    inner = line.removeprefix("|").removesuffix("|")
    cells = re.findall(r"((?:\\.|[^|\\])*)(?:\||$)", inner)[: len(TABLE.columns)]
    return [re.sub(r"\\(.)", r"\1", cell).strip() for cell in cells]


#: Text that would be something else than itself in one of the targets.
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "a\\|b",
    "ends in \\",
    "[bold]x[/bold]",
    '"><i>',
    "&",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str):
    table = new_table((text, "b", "c"), [(text, Cell("v", text, link=text), "w")], title="t")
    page = Reader(to_html(table))
    assert page.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "a", "br", "span"}
    assert (page.cells[0], page.cells[3], page.cells[4]) == (text, text, f"v{text}")
    head, row = to_markdown(table).split("\n")[2], to_markdown(table).split("\n")[4]
    assert "<script" not in head + row
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert markdown_cells(head)[0] == markdown_cells(row)[0] == shown
    assert markdown_cells(row)[2] == "w"
    assert text in printed(to_rich(new_table((text,), [(text,)])))


def test_the_reader_of_markdown_would_see_a_pipe_that_is_not_escaped():
    """Power twin: without the escape the cells move."""
    assert markdown_cells("| a|b | v | w |")[2] != "w"
    assert markdown_cells("| a\\\\|b | v | w |")[2] != "w"


@given(st.text(), st.text(), st.text())
def test_no_text_adds_a_line_or_a_cell_to_markdown(value: str, below: str, link: str):
    table: Table = new_table(("a", "b", "c"), [("x", Cell(value, below, link), "w")])
    lines = to_markdown(table).split("\n")
    assert len(lines) == 3
    assert len("".join(lines).splitlines()) == 1
    assert markdown_cells(lines[2])[2] == "w"
