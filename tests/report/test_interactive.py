"""Charts in one file each: what they say is plotly's, the page needs nothing else, and no text of a
user ends its scripts.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest
from toys.browser import shown

from evoprompt.report.interactive import LAYOUT, axes, bar, interactive_page, line

CHART = {
    "data": [bar("</script><b>", [1, 2], [0.5, -0.25], "black"), line("sum", [1], [None], "red")],
    "layout": axes("generation", "nats", barmode="relative"),
}


def chart_of(page: str) -> dict:
    """What the page gives to plotly."""
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(data)


def test_a_page_has_its_chart_and_the_program_that_draws_it():
    page = interactive_page("A <title>", "a note", CHART, "<p>below</p>")
    chart = chart_of(page)
    assert chart["data"] == CHART["data"]
    assert chart["layout"] == {**LAYOUT, **CHART["layout"]}
    go.Figure(chart)  # refuses what plotly does not know
    [packed] = re.findall(r'<script type="text/plain" id="plotly">([^<]*)</script>', page)
    assert gzip.decompress(base64.b64decode(packed)).startswith(b"/**\n* plotly.js")
    assert "<h1>A &lt;title&gt;</h1>" in page
    # nothing is fetched
    assert not re.search(r'(?:src|href)="', page)
    assert "http://" not in page.split('id="plotly"')[0]


def test_a_chart_that_plotly_does_not_know_is_found():
    """Power twin of the check above."""
    with pytest.raises(ValueError, match="barmod"):
        go.Figure({"data": [], "layout": {"barmod": "relative"}})


def test_the_same_chart_is_the_same_page():
    assert interactive_page("t", "n", CHART) == interactive_page("t", "n", CHART)


@pytest.mark.slow
def test_a_browser_draws_it(tmp_path: Path):
    file = tmp_path / "chart.html"
    file.write_text(interactive_page("A chart", "a note", CHART), encoding="utf-8")
    page = shown(file.as_uri(), tmp_path / "profile", 10)
    assert 'class="main-svg"' in page
    assert "nats" in page.split('id="chart"')[1].split("</main>")[0]
