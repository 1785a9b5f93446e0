"""Dashboards -> saved views of MLflow: one experiment tag each, as its pages write and read them.

MLflow documents neither the tag nor what is in it. The form is that of version 3.17: where a later
one has another, a view does not open, its runs and charts are there as before, and the test of
this module says so.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from evoprompt.tracking.dashboards import GROUPS, Chart, Dashboard

#: Before the name of a view in the key of its tag.
TAG = "mlflow.sharedViewState."
#: What MLflow's SQL stores take of a tag's value.
MAX_TAG = 5000
#: In names of views, so that they are nobody else's.
OURS = "evoprompt-"


def view_key(dashboard: Dashboard) -> str:
    """Return the key of the tag that has a dashboard."""
    return f"{TAG}{OURS}{dashboard.name}"


def view_value(dashboard: Dashboard, now_ms: int, made_ms: int | None = None) -> str:
    """Return the value of the tag that has a dashboard.

    Args:
        dashboard: which.
        now_ms: since 1970.
        made_ms: when it was first made; None is now.
    """
    text = json.dumps(view_state(dashboard), separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    envelope = {
        "name": dashboard.title,
        "createdAt": now_ms if made_ms is None else made_ms,
        "updatedAt": now_ms,
        "state": f"deflate;{packed}",
    }
    return json.dumps(envelope)


def read_view(value: str) -> dict[str, Any]:
    """Return the state that is in a tag's value, and its `createdAt`.

    Raises:
        ValueError: it is not of the form of `view_value`.
    """
    try:
        envelope = json.loads(value)
        packed = base64.b64decode(envelope["state"].removeprefix("deflate;"), validate=True)
        state = json.loads(zlib.decompress(packed))
        return {"createdAt": int(envelope["createdAt"]), "state": state}
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise ValueError(f"no view: {error}") from None


def missing_views(
    dashboards: tuple[Dashboard, ...], tags: Mapping[str, str], now_ms: int
) -> dict[str, str]:
    """Return the tags that an experiment needs to have these dashboards as they are now; nothing
    of what it has already.

    Args:
        dashboards: all that are wanted.
        tags: of the experiment.
        now_ms: since 1970.
    """
    wanted = {}
    for dashboard in dashboards:
        made = None
        if (found := tags.get(view_key(dashboard))) is not None:
            try:
                known = read_view(found)
            except ValueError:
                known = {"createdAt": now_ms, "state": None}
            if known["state"] == view_state(dashboard):
                continue
            made = known["createdAt"]
        wanted[view_key(dashboard)] = view_value(dashboard, now_ms, made)
    return wanted


def view_link(server: str, experiment_id: str, dashboard: Dashboard) -> str:
    """Return the address that opens a dashboard of an experiment on a server."""
    name = quote(OURS + dashboard.name)
    return (
        f"{server.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
        f"?viewStateShareKey={name}&compareRunsMode=CHART"
    )


def view_state(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as MLflow's page of runs keeps what it shows. Groups of metrics without a
    chart of ours stand closed below.
    """
    charts, sections = [], []
    for place, section in enumerate(dashboard.sections):
        key = f"{dashboard.name}-{place}"
        sections.append(_section(key, section.title, is_open=True) | {"columns": section.columns})
        charts += [_card(f"{key}-{n}", key, chart) for n, chart in enumerate(section.charts)]
    for group in GROUPS:
        sections.append(_section(f"{dashboard.name}-{group}", group, is_open=False))
    return {
        "searchFilter": dashboard.search,
        # the latest first; as "attributes.start_time" runs of a sweep would be hidden below it
        "orderByKey": "attribute.`start_time`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in dashboard.columns],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": f"FIRST_{dashboard.num_runs}_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else sections are put in the order of the alphabet
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _section(key: str, title: str, *, is_open: bool) -> dict[str, Any]:
    return {
        "uuid": key,
        "name": title,
        "display": is_open,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }


def _card(key: str, section: str, chart: Chart) -> dict[str, Any]:
    card: dict[str, Any] = {
        "uuid": key,
        "type": chart.kind.upper(),
        "runsCountToCompare": 10,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": chart.title,
    }
    if chart.kind == "bar":
        return card | {"metricKey": chart.metrics[0]}
    if chart.kind == "scatter":
        x, y = ({"key": name, "type": "METRIC"} for name in chart.metrics)
        return card | {"xaxis": x, "yaxis": y, "runsCountToCompare": 100}
    if chart.kind == "parallel":
        axes = {"selectedParams": list(chart.parameters), "selectedMetrics": list(chart.metrics)}
        return card | axes | {"showAllRuns": True}
    return card | _line(chart)


def _line(chart: Chart) -> dict[str, Any]:
    # MLflow's title of lines is the names of their metrics, but where this is set; then, however,
    # it does not read the metric along x
    own_title = {"metric": chart.title, "type": "evoprompt"}
    titled = {} if chart.by else {"nodeLevelSystemMetricConfiguration": own_title}
    return {
        "metricKey": chart.metrics[0],
        "selectedMetricKeys": list(chart.metrics),
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "metric" if chart.by else "step",
        "selectedXAxisMetricKey": chart.by or "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": not chart.by,
        "useGlobalLineSmoothing": True,
        **titled,
    }
