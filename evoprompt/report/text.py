"""Lines of the run folder's files -> the numbers that tables and figures show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Line = Mapping[str, Any]

#: The most dots for births, and the most points of a curve, bars and rows of a table: a page of a
#: run of any length can be opened.
DOTS, POINTS = 5000, 500


def thinned(rows: Sequence[T], most: int) -> Sequence[T]:
    """Return at most this many of the rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(place * step)] for place in range(most)]


def thinned_note(num: int, most: int, what: str) -> str:
    """Return what a page says of rows that are not all shown; nothing where they are."""
    return f"Shown are {most:,} of {num:,} {what}, evenly spread." if num > most else ""


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
