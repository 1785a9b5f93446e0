"""Lines of the run folder's files -> the numbers that tables and figures show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Line = Mapping[str, Any]


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
