"""Lines of the run folder's files -> figures as SVG text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from evoprompt.errors import printable
from evoprompt.stats.significance import LEAST_INTERVAL, Estimate

#: Colours that people with colour-blindness can tell apart (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
MINT, YELLOW = "#7FD1B9", "#F0E442"

Line = Mapping[str, Any]


def plain(axes: Axes) -> None:
    """Take away what a chart does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def new_axes(height: float = 3.2, left: float = 0.11) -> tuple[Figure, Axes]:
    """Return a new figure with one chart; sizes in inches, `left` the share of the width that
    labels take.
    """
    figure = Figure(figsize=(6.6, height))
    figure.subplots_adjust(left=left, right=0.98, bottom=0.5 / height, top=1 - 0.1 / height)
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def reach(estimate: Estimate, values: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of what is drawn of replicates beside their mean: its interval, or of few of
    them their range; None where all are equal, or there is one.
    """
    if len(values) >= LEAST_INTERVAL:
        return estimate.ends
    low, high = min(values, default=0.0), max(values, default=0.0)
    return (low, high) if high > low else None


def finish(figure: Figure, axes: Axes, label: str) -> str:
    """Label the axes, add the legend, and return the figure as SVG."""
    axes.set_xlabel("generation")
    axes.set_ylabel(label)
    legend_above(figure, axes, 3)
    return svg(figure)


def legend_above(figure: Figure, axes: Axes, columns: int) -> None:
    """Add a legend above the axes, where it hides nothing, in so many columns; the figure grows by
    its height.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    axes.legend(
        handles,
        labels,
        fontsize=8,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.2,
    )
    room, height = 0.08 + 0.18 * -(-len(labels) // columns), figure.get_figheight()
    below = figure.subplotpars.bottom * height
    above = (1 - figure.subplotpars.top) * height
    figure.set_figheight(height + room)
    figure.subplots_adjust(bottom=below / (height + room), top=1 - (above + room) / (height + room))


def svg(figure: Figure, *, tight: bool = False) -> str:
    """Return a figure as SVG text, on request with its charts moved so that all texts have room.
    Black is the page's own ink and nothing is white, so that it can be read on a dark page too; its
    title, for those who do not see it, is what its axes say.
    """
    stream = io.StringIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    for words in figure.findobj(Text):
        assert isinstance(words, Text)
        words.set_parse_math(False)  # a dollar sign in a label is a dollar sign
    with (
        warnings.catch_warnings(),
        rc_context(
            {
                "text.parse_math": False,
                "svg.fonttype": "none",  # letters stay text: smaller, and can be searched
                "svg.hashsalt": "evoprompt",
                "font.family": ["DejaVu Sans", "sans-serif"],
            }
        ),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's own font has it
        if tight:
            figure.tight_layout()
        FigureCanvasSVG(figure).print_figure(stream, format="svg", metadata={"Date": None})
    text = re.sub("(fill|stroke): #000000", r"\1: currentColor", stream.getvalue())
    title = escape(_title(figure))
    named = f'<svg role="img" aria-label="{title}"' + text[text.index("<svg") + 4 :]
    end = named.index(">") + 1
    return f"{named[:end]}<title>{title}</title>{named[end:]}"


def _title(figure: Figure) -> str:
    """Return what a figure shows, in the words of its axes."""
    shown = []
    for axes in figure.axes:
        what = axes.get_title(loc="left") or axes.get_ylabel()
        by = axes.get_xlabel()
        shown.append(f"{what} by {by}" if what and by else what or by)
    return printable("; ".join(dict.fromkeys(text for text in shown if text))) or "a chart"
