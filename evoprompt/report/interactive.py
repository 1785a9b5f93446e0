"""Charts to point at and zoom in: one file each that needs no network. The only module that imports
plotly, for its program in the browser; a chart is a plain mapping, as plotly.js takes it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from evoprompt.errors import printable
from evoprompt.report.markup import STYLE

#: `data` (traces) and `layout`, as plotly.js takes them.
Chart = Mapping[str, Any]

LAYOUT: Mapping[str, Any] = {
    "template": {
        "layout": {
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1a1a1a"},
            "colorway": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
            "xaxis": {"gridcolor": "#e8eaed", "zerolinecolor": "#999999"},
            "yaxis": {"gridcolor": "#e8eaed", "zerolinecolor": "#999999"},
            "plot_bgcolor": "white",
            "hoverlabel": {"align": "left"},
        }
    },
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "margin": {"l": 70, "r": 20, "t": 30, "b": 55},
    "height": 520,
    "autosize": True,
}
#: The program is packed in the page: 2 MB instead of 5.
START = """
const bytes=Uint8Array.from(atob(document.getElementById("plotly").textContent),
  c=>c.charCodeAt(0));
const stream=new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
new Response(stream).text().then(text=>{
  const program=document.createElement("script");program.textContent=text;
  document.head.append(program);
  const chart=JSON.parse(document.getElementById("data").textContent);
  return Plotly.newPlot("chart",chart.data,chart.layout,{responsive:true,displaylogo:false});
}).catch(error=>{document.getElementById("chart").textContent="This chart needs a browser of 2023 "
  +"or later ("+error+").";});
"""
MORE_STYLE = """
body{max-width:75rem}
ins{background:#d7f2e3;text-decoration:none} del{background:#fbdcd3}
"""


def interactive_page(title: str, note: str, chart: Chart, below: str = "") -> str:
    """Return a page with one chart that needs nothing else.

    Args:
        title: its heading.
        note: a sentence below it: what is shown, in which unit.
        chart: without what all charts have in common.
        below: HTML after the chart.
    """
    whole = {"data": chart["data"], "layout": {**LAYOUT, **chart["layout"]}}
    # in a script only "<" could end it
    data = json.dumps(whole, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = (
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>evoprompt: {escape(title)}</title><style>{STYLE}{MORE_STYLE}</style>",
        f'<main><h1>{escape(title)}</h1><p class="muted">{escape(note)}</p>',
        f'<div id="chart" role="group" aria-label="{escape(title)}"></div>{below}</main>',
        f'<script type="application/json" id="data">{data}</script>',
        f'<script type="text/plain" id="plotly">{_program()}</script>',
        f"<script>{START}</script></html>\n",
    )
    return printable("".join(parts))


def bar(name: str, x: Sequence[Any], y: Sequence[float], color: str) -> dict[str, Any]:
    """Return bars."""
    return {"type": "bar", "name": name, "x": x, "y": y, "marker": {"color": color}}


def line(name: str, x: Sequence[Any], y: Sequence[float | None], color: str) -> dict[str, Any]:
    """Return a line with marks at its points."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color},
    }


def axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return a layout with titles of both axes."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, **more}


@cache
def _program() -> str:
    """Return plotly.js, packed, in base 64."""
    from plotly.offline import get_plotlyjs

    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()
