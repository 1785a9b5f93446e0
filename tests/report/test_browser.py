"""Every page in a browser, wide and light, narrow and dark: nothing reaches out of the window, and
axe-core finds nothing that keeps people out. Skipped where there is no browser.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reference.wright_fisher import lineage
from toys.browser import Viewer, viewer

from evoprompt.jobs.boost import session as boost_session
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.compare.comparison import Settings, compare_runs
from evoprompt.jobs.compare.page import write_comparison
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.page import write_lineage_page
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.sweep.page import page_text
from evoprompt.jobs.sweep.record import SweepRow, SweepState
from evoprompt.report.interactive import axes, bar, interactive_page
from evoprompt.report.markup import page

pytestmark = pytest.mark.slow

METHOD = "evolution.parent_selection.method"


@pytest.fixture(scope="module")
def browser() -> Iterator[Viewer]:
    with viewer() as opened:
        yield opened


def lineages(folder: Path) -> list[Path]:
    """Two folders that have nothing but a lineage."""
    for seed in range(2):
        (folder / str(seed)).mkdir()
        rows = list(lineage(8, 4, np.random.default_rng(seed), mutation=0.5))
        for row in rows:
            row["traits"]["fitness"] = row["traits"]["z"]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / str(seed) / "lineage.jsonl").write_text(text)
    return [folder / "0", folder / "1"]


def sweep_page(folder: Path) -> Path:
    """A sweep of two schemes of selection over two seeds; one run has failed."""
    rows = []
    for number, (method, seed) in enumerate(
        (m, s) for m in ("tournament", "nsga2") for s in (0, 1)
    ):
        result = {"objective": 0.1 * number, "fitness_best": -0.5, "accuracy_after": 0.75}
        settings = {METHOD: method, "seed": seed}
        rows.append(SweepRow(number, f"{number:03d}", settings, "done", None, result))
    rows.append(SweepRow(4, "004", {METHOD: "nsga2", "seed": 2}, "failed", "it broke " * 30))
    state = SweepState("mood", "grid", "test.champion.value", (METHOD, "seed"), rows)
    file = folder / "sweep.html"
    file.write_text(page_text(state, folder), encoding="utf-8")
    return file


def test_the_page_of_a_run(browser: Viewer, config_file: Path, tmp_path: Path):
    start(load_config(config_file), tmp_path / "run")
    assert browser.faults((tmp_path / "run" / "report.html").as_uri()) == []


def test_the_page_of_a_loop(browser: Viewer, boost_file: Path, tmp_path: Path):
    boost_session.start(load_boost(boost_file), tmp_path / "loop")
    assert browser.faults((tmp_path / "loop" / "report.html").as_uri()) == []


def test_the_pages_of_a_lineage_and_a_comparison(browser: Viewer, tmp_path: Path):
    folders = lineages(tmp_path)
    assert browser.faults(write_lineage_page(folders[0]).as_uri()) == []
    comparison = compare_runs(folders, Settings(align="generations"))
    assert browser.faults(write_comparison(comparison, tmp_path).as_uri()) == []


def test_the_page_of_a_sweep(browser: Viewer, tmp_path: Path):
    assert browser.faults(sweep_page(tmp_path).as_uri()) == []


def test_a_chart_to_point_at(browser: Viewer, tmp_path: Path):
    chart = {"data": [bar("gain", [1, 2], [0.5, -0.25], "black")], "layout": axes("x", "nats")}
    file = tmp_path / "chart.html"
    file.write_text(interactive_page("A chart", "a note", chart), encoding="utf-8")
    assert browser.faults(file.as_uri()) == []


def test_a_page_that_overflows_or_cannot_be_read_is_found(browser: Viewer, tmp_path: Path):
    """Power twin: a box wider than a telephone, with grey letters that only a white page shows."""
    box = '<h1>a page</h1><p style="width:700px;color:#666">a text</p>'
    file = tmp_path / "wide.html"
    file.write_text(page("t", [box]), encoding="utf-8")
    assert [fault.split(": <")[0] for fault in browser.faults(file.as_uri())] == [
        "420 pixels, dark: the page is 716 pixels wide",
        "420 pixels, dark: color-contrast",
    ]
