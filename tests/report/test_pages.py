"""Pages show texts of users as they are, and can be opened whatever the run's length."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.session import conduct as conduct_loop
from evoprompt.jobs.compare.comparison import Settings, compare_runs
from evoprompt.jobs.compare.page import write_comparison
from evoprompt.jobs.evolve import dynamics_page
from evoprompt.jobs.evolve import page as evolve_page
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.page import write_lineage_page
from evoprompt.jobs.evolve.session import conduct
from evoprompt.jobs.sweep.page import page_text
from evoprompt.jobs.sweep.record import SweepRow, SweepState
from evoprompt.report.markup import SCRIPT, page, preformatted, section
from evoprompt.report.plots import reach
from evoprompt.report.table import Cell, new_table, to_html, to_markdown
from evoprompt.report.text import thinned, thinned_note
from evoprompt.stats.significance import mean_interval

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg></pre><xss>",
    "' onload='x",
    "&lt;b&gt; & ]]> <!-- --> <![CDATA[",
    r"$\frac{1}{$ $x$ 100%",
    "_hidden",
    "灯 👍 \u202e",
    "[bold] | \\| `a`",
)
#: All elements that pages and figures are made of.
ELEMENTS = {
    *("html", "meta", "title", "style", "h1", "h2", "p", "pre", "table", "tr", "td", "th"),
    *(
        "div",
        "span",
        "br",
        "a",
        "ul",
        "li",
        "svg",
        "g",
        "defs",
        "path",
        "polyline",
        "use",
        "text",
        "rect",
    ),
    *("clippath", "metadata", "image", "tspan", "circle", "line", "rdf:rdf", "cc:work"),
    *("section", "main", "header", "nav", "body", "head", "h3", "details", "summary", "button"),
    *("thead", "tbody", "abbr", "ins", "del", "dl", "dt", "dd"),
    *("dc:type", "dc:format", "dc:creator", "cc:agent", "dc:title"),
}


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def check(text: str) -> Page:
    text.encode()
    assert not any(ord(c) < 32 and c not in "\n\t" for c in text)
    seen = Page(text.replace(f"<script>{SCRIPT}</script>", "", 1))
    assert seen.elements <= ELEMENTS
    assert not {name for name in seen.attributes if name.startswith("on")}
    return seen


def test_a_page_that_does_not_escape_is_found():
    """Power twin."""
    for text in HOSTILE[:2]:
        with pytest.raises(AssertionError):
            check(page("x", [f"<p>{text}</p>"]))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_pieces_of_pages_escape(text: str):
    table = new_table((text, "n"), [[Cell(text, text, f"{text}/x.html"), text]], title=text)
    whole = page(text, [section(text, preformatted(text) + to_html(table), text)])
    shown = text.replace("\u202e", "\\u202e")
    assert check(whole).text.count(shown) == 8
    assert all(line.startswith("|") for line in to_markdown(table).split("\n")[2:])


class Charts(HTMLParser):
    """The attributes of every chart and its first child, and every identifier and link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.charts: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.first: list[str] = []
        self._in = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        if self._in:
            self.first.append(tag)
        self._in = tag == "svg"
        if tag == "svg":
            self.charts.append(own)
        if tag in ("h2", "main", "pre") and own.get("id"):
            self.ids.append(str(own["id"]))
        if tag == "a" and str(own.get("href", "")).startswith("#"):
            self.links.append(str(own["href"])[1:])


def test_of_few_replicates_the_range_is_drawn_and_of_more_an_interval():
    few, more = [0.1, 0.2, 0.6], [0.1, 0.2, 0.3, 0.6]
    assert reach(mean_interval(few), few) == (0.1, 0.6)
    assert reach(mean_interval(more), more) == mean_interval(more).ends
    assert reach(mean_interval([0.5, 0.5]), [0.5, 0.5]) is None
    assert reach(mean_interval([0.5]), [0.5]) is None


def test_charts_have_names_links_lead_somewhere_and_nothing_is_fetched(tmp_path: Path):
    text = write_lineage_page(write_lineage(tmp_path / "run", lineage(("edit", "x")))).read_text()
    seen = Charts(text)
    assert len(seen.charts) > 3
    assert all(c["role"] == "img" and c["aria-label"] for c in seen.charts)
    assert set(seen.first) == {"title"}
    assert len(set(seen.ids)) == len(seen.ids)
    assert set(seen.links) <= set(seen.ids)
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text
    assert "#000000" not in text
    assert "<th></th>" not in text


def lineage(names: tuple[str, ...], generations: int = 4, births: int = 6) -> list[dict]:
    rows = []
    for generation in range(generations):
        for n in range(births):
            parent = f"{generation - 1}-{n}{names[0]}"
            fitness = (generation + n * n % 7) / 10
            rows.append(
                {
                    "generation": generation,
                    "birth_id": f"{generation}-{n}{names[0]}",
                    "policy_id": f"{generation}-{n}{names[0]}",
                    "parent_ids": [parent] if generation else [],
                    "shares": [1.0] if generation else [],
                    "operator": names[n % len(names)] if generation else "found",
                    "selected": True,
                    "fitness": fitness,
                    "traits": {"fitness": fitness, names[-1]: float(n * generation % 5)},
                }
            )
    return rows


def write_lineage(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir()
    (folder / "lineage.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_a_lineage_of_another_program_is_shown(tmp_path: Path):
    folder = write_lineage(tmp_path / "run", lineage(HOSTILE, births=18))
    seen = check(write_lineage_page(folder).read_text(encoding="utf-8"))
    assert seen.text.count(HOSTILE[0]) >= 2


def test_a_comparison_is_shown(tmp_path: Path):
    names = [text.replace("/", "|") for text in HOSTILE]
    folders = [write_lineage(tmp_path / name, lineage(("edit", "x"))) for name in names]
    out = tmp_path / "out"
    out.mkdir()
    comparison = compare_runs(folders, Settings(("folder",), "generations", "fitness", None, None))
    seen = check(write_comparison(comparison, out).read_text(encoding="utf-8"))
    assert names[0] in seen.text


def test_a_sweep_is_shown():
    texts = [*HOSTILE, "\x00\x1b[1m"]
    result = {"objective": 1.0, "fitness_best": 1.0, "accuracy_after": 0.5}
    rows = [
        SweepRow(n, text, {"task.name": text, "a": n % 2}, "done", text, result)
        for n, text in enumerate(texts, 1)
    ]
    rows.append(SweepRow(99, "<b>", {"task.name": "<i>", "a": 0}, "failed", HOSTILE[0]))
    for method in ("grid", "bayes"):
        state = SweepState(HOSTILE[0], method, "fitness.best", ["task.name", "a"], rows)
        seen = check(page_text(state, Path("/none")))
        assert seen.text.count(HOSTILE[0]) > 3


def hostile_overrides() -> list[str]:
    """All hostile texts where a run shows texts: labels are in the examples."""
    return [f"task.phrases={json.dumps(HOSTILE)}", f"task.label_words={json.dumps({})}"]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["run", "loop"])
def test_a_run_and_a_loop_on_hostile_examples_are_shown(
    tmp_path: Path, config_file: Path, boost_file: Path, start: str
):
    labels = list(HOSTILE[:3])
    rows = [
        {"input": f"{n} {HOSTILE[n % 9]}", "target": labels[n % 3], "choices": labels}
        for n in range(200)
    ]
    file = tmp_path / "<i>'.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    overrides = [f"task.path={json.dumps(str(file))}"]
    out = tmp_path / "<b>[bold]"
    make: dict[str, Callable[[], object]] = {
        "run": lambda: conduct(
            load_config(config_file, [*overrides, *hostile_overrides(), "evolution.generations=2"]),
            out,
            show=False,
        ),
        "loop": lambda: conduct_loop(
            load_boost(boost_file, [*overrides, "loop.rounds=1", "loop.context_tokens=900"]),
            out,
            show=False,
        ),
    }
    make[start]()
    seen = check((out / "report.html").read_text(encoding="utf-8"))
    assert "<b>[bold]" in seen.text


def test_rows_are_thinned_evenly_and_that_is_said():
    # 10 rows to 4: every third
    assert list(thinned(range(10), 4)) == [0, 3, 6, 9]
    assert list(thinned([1, 2], 4)) == [1, 2]
    assert thinned_note(10, 4, "births") == "Shown are 4 of 10 births, evenly spread."
    assert thinned_note(4, 4, "births") == ""


@pytest.mark.slow
def test_a_page_of_a_long_run_is_no_longer_than_that_of_a_shorter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three times the births, marks and page the same: 60 generations of 8 and 180, limits 99 and
    20.
    """
    for module in (evolve_page, dynamics_page):
        monkeypatch.setattr(module, "POINTS", 20)
    monkeypatch.setattr(evolve_page, "DOTS", 99)
    sizes = []
    for num in (60, 180):
        rows = lineage(("edit", "tokens"), num, 8)
        path = write_lineage_page(write_lineage(tmp_path / str(num), rows))
        text = path.read_text(encoding="utf-8")
        sizes.append(len(text))
        assert f"Shown are 99 of {8 * num:,} births" in text
        assert f"Shown are 20 of {num:,} generations" in text
        assert f"Shown are 20 of {num - 1:,} generations" in text
    assert sizes[1] < 1.1 * sizes[0]
