"""Lines of the run folder's files -> the numbers and words that tables and figures show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from evoprompt.calibration import LabelCalibration

T = TypeVar("T")
Line = Mapping[str, Any]

#: The most dots for births, and the most points of a curve, bars and rows of a table: a page of a
#: run of any length can be opened.
DOTS, POINTS = 5000, 500
#: Labels whose offsets are told in a line.
LABELS = 8


def thinned(rows: Sequence[T], most: int) -> Sequence[T]:
    """Return at most this many of the rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(place * step)] for place in range(most)]


def thinned_note(num: int, most: int, what: str, known: int | None = None) -> str:
    """Return what a page says of rows that are not all shown; nothing where they are. `known` is
    how many of all `num` were at hand; None is all.
    """
    shown = min(most, num if known is None else known)
    return f"Shown are {shown:,} of {num:,} {what}, evenly spread." if num > shown else ""


class Measured(Protocol):
    """A number with its interval."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def ci(self) -> tuple[float, float]:
        """The ends of its interval."""


def interval(part: Measured, *, signed: bool = False) -> tuple[str, str]:
    """Return a value and its interval as text."""
    sign = "+" if signed else ""
    low, high = part.ci
    return format(part.value, f"{sign}.3f"), f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def calibration_text(calibration: LabelCalibration) -> str:
    """Return in a line what is done to choices before they are compared: what is added to the
    log-likelihood of each label, nats, and what multiplies the sums, which moves confidence alone.
    """
    if calibration.way == "off":
        return "none: it makes the right answers of the starting prompts no likelier"
    shares = {label: o / calibration.temperature for label, o in calibration.offsets.items()}
    told = [f"{label} {nats:+.2f}" for label, nats in shares.items()]
    more = f", and {len(told) - LABELS} more labels" if len(told) > LABELS else ""
    fits = calibration.way in ("labelled", "head")
    scale = f", and multiplying by {calibration.temperature:.2f}" if fits else ""
    head = ""
    if calibration.head is not None:
        num = len(calibration.head.words)
        head = f", and what {num} other words tell, by a linear head"
    return (
        f"answers are compared after adding: {', '.join(told[:LABELS])}{more}{scale}{head} "
        f"({calibration.way}, fitted on {calibration.examples} examples)"
    )
