"""Lines of a loop's `recurrence.jsonl` -> a chart to point at and zoom in; see
`report.interactive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from evoprompt.jobs.boost.record import Ends, RoundLine
from evoprompt.report.interactive import axes, interactive_page, line
from evoprompt.report.plots import BLUE, GREY, ORANGE


def loop_pages(rounds: Sequence[RoundLine]) -> dict[str, Callable[[], str]]:
    """Return what makes the pages of a loop, by file name."""
    return {"error_rate.html": partial(error_page, rounds)}


def error_page(rounds: Sequence[RoundLine]) -> str:
    """Return the error rate by round, measured with its intervals over the predicted band; what is
    not known is left out.
    """
    x = [r.round for r in rounds]
    ends = {r.round: r.predicted_ci for r in rounds if r.predicted_ci is not None}
    traces: list[dict[str, Any]] = []
    if ends:
        around = list(ends)
        traces.append(
            {
                "type": "scatter",
                "name": "interval of the prediction",
                "x": [*around, *reversed(around)],
                "y": [*(ends[r][0] for r in around), *(ends[r][1] for r in reversed(around))],
                "fill": "toself",
                "fillcolor": "rgba(213,94,0,0.15)",
                "line": {"width": 0},
                "hoverinfo": "skip",
            }
        )
    traces.append(line("predicted from round 0", x, [r.predicted for r in rounds], ORANGE))
    measured = line("measured on the test examples", x, [r.error_rate for r in rounds], BLUE)
    measured["error_y"] = {
        "type": "data",
        "symmetric": False,
        "array": [_off(r.ci, r.error_rate, 1) for r in rounds],
        "arrayminus": [_off(r.ci, r.error_rate, 0) for r in rounds],
    }
    believed = line("believed by the model", x, [r.believed_error for r in rounds], GREY)
    believed["line"] = {"color": GREY, "dash": "dash"}
    layout = axes("round (0 is before any context)", "error rate")
    layout["xaxis"]["dtick"] = max(1, len(rounds) // 12)
    layout["yaxis"]["rangemode"] = "tozero"
    note = "Each round is predicted from the judge's rates in round 0 alone, before it is measured."
    chart = {"data": [*traces, measured, believed], "layout": layout}
    return interactive_page("Error rate: measured and predicted", note, chart)


def _off(ends: Ends | None, value: float | None, side: int) -> float:
    """Return how far an end of an interval is from its value; 0 where it is not known."""
    return 0.0 if ends is None or value is None else abs(ends[side] - value)
