"""Metrics of a user's own, for runs."""

from __future__ import annotations

from evoprompt.records import Example


def early(answer: str, example: Example) -> tuple[float, str]:
    """The share of letters from the first half of the alphabet."""
    good = sum(letter < "n" for letter in answer)
    return good / max(1, len(answer)), f"{len(answer) - good} letters are late"


def failing(answer: str, example: Example) -> float:
    raise LookupError("no key")
