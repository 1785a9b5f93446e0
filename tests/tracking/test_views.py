"""The dashboards in MLflow's form: that its pages still have this form, and that nothing of others
is changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evoprompt.tracking.dashboards import DASHBOARDS, FITNESS, GROUPS, RECURRENCE, SWEEP, Chart
from evoprompt.tracking.views import (
    MAX_TAG,
    TAG,
    missing_views,
    read_view,
    view_key,
    view_link,
    view_state,
    view_value,
)


@pytest.fixture(scope="module")
def pages() -> str:
    """The program of MLflow's pages that are about runs and their charts."""
    [mlflow] = find_spec("mlflow").submodule_search_locations
    build = Path(mlflow) / "server" / "js" / "build" / "static" / "js"
    texts = [file.read_text(encoding="utf-8") for file in sorted(build.glob("*.js"))]
    about = ("metricSectionId", "compareRun", "createdAt", "deflate;")
    return "\n".join(text for text in texts if any(word in text for word in about))


def test_the_form_of_a_view_is_that_of_the_installed_mlflow(pages: str):
    """Where this fails, MLflow has changed its pages: look at them and mend tracking/views.py."""
    what = f"MLflow {version('mlflow')} has another form of saved views than tracking/views.py"
    # the tag, the address, the envelope
    for text in (f'"{TAG}"', '"viewStateShareKey"', '"compareRunsMode"', '"deflate;"'):
        assert text in pages, f"{what}: {text}"
    envelope = r"JSON\.stringify\(\{name:\w+,createdAt:\w+,updatedAt:\w+,state:\w+\}\)"
    assert re.search(envelope, pages), f"{what}: the envelope"
    # what a page keeps of itself, and what its charts are made of
    kept = re.findall(r'\[("(?:selectedColumns|searchFilter)",[^]]*)\]', pages)
    fields = {name for names in kept for name in json.loads(f"[{names}]")}
    assert set(view_state(FITNESS)) <= fields, f"{what}: {set(view_state(FITNESS)) - fields}"
    cards = [card for d in DASHBOARDS for card in view_state(d)["compareRunCharts"]]
    for key in {key for card in cards for key in card}:
        assert f"this.{key}=" in pages, f"{what}: no chart has {key}"
    for kind in {card["type"] for card in cards}:
        assert f'e.{kind}="{kind}"' in pages, f"{what}: no chart is a {kind}"
    assert ".columns)" in pages, f"{what}: no section has columns"


def test_the_test_of_the_form_can_fail(pages: str):
    """Power twin: a key that MLflow does not know is not found in its pages."""
    assert "this.selectedMetricNames=" not in pages


def test_a_view_is_read_back_and_has_room_in_a_tag():
    for dashboard in DASHBOARDS:
        value = view_value(dashboard, 1_700_000_000_000, 1_600_000_000_000)
        assert len(value) <= MAX_TAG
        known = read_view(value)
        assert known == {"createdAt": 1_600_000_000_000, "state": view_state(dashboard)}
        assert json.loads(value)["name"] == dashboard.title


@pytest.mark.parametrize("value", ["", "{", "[]", '{"state": "deflate;e30="}', '{"state": 3}'])
def test_what_is_no_view_is_refused(value: str):
    with pytest.raises(ValueError, match="no view"):
        read_view(value)


def test_only_what_is_missing_or_has_changed_is_written_and_keeps_when_it_was_made():
    fresh = missing_views(DASHBOARDS, {"mlflow.note.content": "x"}, 5)
    assert set(fresh) == {view_key(dashboard) for dashboard in DASHBOARDS}
    assert missing_views(DASHBOARDS, fresh, 6) == {}
    earlier = replace(SWEEP, columns=())
    others = {f"{TAG}somebody": "{}", view_key(FITNESS): "broken"}
    tags = fresh | {view_key(SWEEP): view_value(earlier, 3)} | others
    changed = missing_views(DASHBOARDS, tags, 7)
    assert set(changed) == {view_key(SWEEP), view_key(FITNESS)}
    again = json.loads(changed[view_key(SWEEP)])
    assert (again["createdAt"], again["updatedAt"]) == (3, 7)


def test_a_link_opens_the_charts_of_a_dashboard():
    assert view_link("http://127.0.0.1:5000/", "12", RECURRENCE) == (
        "http://127.0.0.1:5000/#/experiments/12/runs"
        "?viewStateShareKey=evoprompt-recurrence&compareRunsMode=CHART"
    )


def test_measured_and_predicted_error_stand_in_one_chart_with_their_intervals():
    card = view_state(RECURRENCE)["compareRunCharts"][0]
    assert card["selectedMetricKeys"] == [
        *("error_rate/measured", "error_rate/measured_low", "error_rate/measured_high"),
        *("error_rate/predicted", "error_rate/predicted_low", "error_rate/predicted_high"),
    ]


def test_every_chart_is_in_an_open_section_and_other_groups_are_closed():
    for dashboard in DASHBOARDS:
        state = view_state(dashboard)
        is_open = {s["uuid"]: s["display"] for s in state["compareRunSections"]}
        assert all(is_open[card["metricSectionId"]] for card in state["compareRunCharts"])
        closed = {s["name"] for s in state["compareRunSections"] if not s["display"]}
        assert closed == set(GROUPS)
        keys = [card["uuid"] for card in state["compareRunCharts"]] + list(is_open)
        assert len(set(keys)) == len(keys)


def test_lines_along_another_metric_are_read_by_it():
    """MLflow does not read the metric along x where the title is our own."""
    card: dict[str, Any] = next(
        card for card in view_state(SWEEP)["compareRunCharts"] if card["type"] == "LINE"
    )
    assert (card["xAxisKey"], card["selectedXAxisMetricKey"]) == ("metric", "cost/tokens")
    assert "nodeLevelSystemMetricConfiguration" not in card
    assert isinstance(SWEEP.sections[0].charts[0], Chart)
