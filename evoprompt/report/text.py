"""Lines of the run folder's files -> the numbers that tables and figures show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Line = Mapping[str, Any]


def interval(part: Mapping[str, Any], *, signed: bool = False) -> tuple[str, str]:
    """Return a value and its interval as text."""
    sign = "+" if signed else ""
    low, high = part["ci"]
    return format(part["value"], f"{sign}.3f"), f"[{low:{sign}.3f}, {high:{sign}.3f}]"
