"""Lines of a self-evaluation loop's `recurrence.jsonl` -> figures as SVG text. What is not known is
left out, a figure without anything known too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evoprompt.arrays import Floats
from evoprompt.jobs.boost.record import RoundLine
from evoprompt.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    legend_above,
    new_axes,
    plain,
    svg,
)

#: Half of the distance between two marks of one round, in rounds.
APART = 0.07


def error_figure(lines: Sequence[RoundLine]) -> str | None:
    """Return the error rate by round, measured and predicted with their intervals, what the context
    holds of it, and what the model believes.

    The believed error of a round is of answers that were given in the context of the round before,
    and is drawn there. None if nothing is known.
    """
    x = _numbers(lines, "round")
    measured, predicted, context = (
        _numbers(lines, name) for name in ("error_rate", "predicted", "context_error_rate")
    )
    believed = np.append(_numbers(lines[1:], "believed_error"), np.nan)
    if not any(_known(values) for values in (measured, predicted, context, believed)):
        return None
    figure, axes = new_axes(height=3.8)
    if _known(predicted):
        axes.fill_between(x, *_bounds(lines, "predicted_ci"), color=ORANGE, alpha=0.16, linewidth=0)
        axes.plot(
            x, predicted, color=ORANGE, marker=".", label="predicted from round 0, with interval"
        )
    if _known(believed):
        axes.plot(
            x, believed, color=GREY, linestyle="--", marker=".", label="believed by the model"
        )
    if _known(context):
        axes.plot(
            x,
            context,
            color=PURPLE,
            linestyle="none",
            marker="o",
            markersize=5,
            label="wrong share of the context",
        )
    if _known(measured):
        _with_interval(
            axes,
            x,
            measured,
            _bounds(lines, "ci"),
            BLUE,
            "measured on the test examples, with interval",
        )
    axes.set_ylim(bottom=-0.02)
    label = "error rate" if _known(measured) else "believed error rate"
    return _finish(figure, axes, "round (0 is before any context)", label, legend_columns=2)


def evaluator_figure(lines: Sequence[RoundLine]) -> str | None:
    """Return sensitivity and specificity by round, and beside it one against the other with the
    line s + c = 1; None if neither is known.
    """
    x, s, c = (_numbers(lines, name) for name in ("round", "sensitivity", "specificity"))
    if not (_known(s) or _known(c)):
        return None
    figure = Figure(figsize=(9, 3.5))
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.14, top=0.9, wspace=0.18)
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    plain(left)
    _with_interval(
        left,
        x - APART,
        s,
        _bounds(lines, "sensitivity_ci"),
        BLUE,
        "sensitivity s: right answers accepted",
    )
    _with_interval(
        left,
        x + APART,
        c,
        _bounds(lines, "specificity_ci"),
        ORANGE,
        "specificity c: wrong answers not accepted",
    )
    left.set_ylim(-0.03, 1.03)
    left.set_xlabel("round (0 is the calibration)")
    legend_above(figure, left, 2)
    _draw_plane(right, x, s, c)
    return svg(figure)


def acceptance_figure(lines: Sequence[RoundLine]) -> str | None:
    """Return what became of each round's answers as stacked bars; None before the first round."""
    rounds = [line for line in lines if line.round > 0]
    if not rounds:
        return None
    x = _numbers(rounds, "round")
    answered, accepted = _numbers(rounds, "answered"), _numbers(rounds, "accepted")
    abstained = _numbers(rounds, "abstained")
    figure, axes = new_axes(height=2.8)
    below = np.zeros(len(rounds))
    for height, color, label in (
        (accepted, GREEN, "accepted"),
        (answered - accepted, ORANGE, "rejected"),
        (abstained, "#BBBBBB", "abstained"),
    ):
        if height.any():
            axes.bar(x, height, bottom=below, color=color, width=0.7, label=label)
        below = below + height
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return _finish(figure, axes, "round", "answers", legend_columns=3)


def coverage_figure(coverage: Mapping[str, Any]) -> str:
    """Return the error rate among the most confident answers against their share of all, with the
    error rate of all answers as a line.

    Args:
        coverage: `coverage` (shares of all answers, ascending to 1) and `error_rate` among them, of
            equal length.
    """
    figure, axes = new_axes(height=3.0)
    x, y = np.array(coverage["coverage"]), np.array(coverage["error_rate"])
    axes.axhline(y[-1], color=GREY, linewidth=1, linestyle="--", label=f"all answers: {y[-1]:.3f}")
    axes.plot(x, y, color=BLUE, linewidth=1.6, label="the most confident answers")
    axes.plot(x[-1:], y[-1:], color=GREY, marker="o", linestyle="none", clip_on=False, zorder=3)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator())
    axes.set_ylim(bottom=min(0.0, -0.02 * float(y.max())))
    return _finish(
        figure,
        axes,
        "coverage (share of the questions that are answered)",
        "error rate among them",
        legend_columns=2,
    )


def _draw_plane(axes: Axes, x: Floats, s: Floats, c: Floats) -> None:
    """Draw each round's evaluator as a point; above the line acceptance picks out right answers."""
    plain(axes)
    axes.fill_between([0, 1], [1, 0], 1, color=GREEN, alpha=0.1, linewidth=0)
    axes.plot([0, 1], [1, 0], color="black", linewidth=0.8)
    axes.text(
        0.27,
        0.68,
        "s + c = 1",
        fontsize=8,
        rotation=-45,
        rotation_mode="anchor",
        ha="center",
        va="top",
    )
    axes.plot(c, s, color=GREY, linewidth=0.6, alpha=0.6)
    axes.scatter(c[1:], s[1:], s=16, color=GREY, zorder=3)
    axes.scatter(c[:1], s[:1], s=36, color=PURPLE, zorder=4)
    for place in sorted({0, len(x) - 1}):
        if np.isfinite(c[place] + s[place]):
            axes.annotate(
                f"{x[place]:.0f}",
                (c[place], s[place]),
                xytext=(-5, 4),
                textcoords="offset points",
                fontsize=9,
                ha="right",
            )
    axes.set(
        xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="specificity c", ylabel="sensitivity s"
    )
    axes.set_xticks(np.linspace(0, 1, 6))


def _with_interval(
    axes: Axes, x: Floats, values: Floats, bounds: tuple[Floats, Floats], color: str, label: str
) -> None:
    if not _known(values):
        return
    low, high = bounds
    # rounding must not make a length negative
    spread = np.nan_to_num(np.maximum([values - low, high - values], 0))
    axes.errorbar(
        x,
        values,
        yerr=spread,
        color=color,
        marker=".",
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
        label=label,
    )


def _numbers(lines: Sequence[RoundLine], name: str) -> Floats:
    """Return a field of each line, shape (line,), NaN where it is None."""
    values = (getattr(line, name) for line in lines)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _bounds(lines: Sequence[RoundLine], name: str) -> tuple[Floats, Floats]:
    """Return the ends of an interval in each line, NaN where it is None."""
    intervals = [getattr(line, name) or (np.nan, np.nan) for line in lines]
    ends = np.array(intervals, dtype=np.float64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def _known(values: Floats) -> bool:
    return bool(np.isfinite(values).any())


def _finish(figure: Figure, axes: Axes, x_label: str, y_label: str, *, legend_columns: int) -> str:
    """Label the axes, add the legend above them, and return the figure as SVG."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    legend_above(figure, axes, legend_columns)
    return svg(figure)
