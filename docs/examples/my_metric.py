"""A metric of written answers."""

from __future__ import annotations

from evoprompt.records import Example


def brief(answer: str, example: Example) -> tuple[float, str]:
    """Return 1 where the right answer stands in at most five words, and what there is to say."""
    if example.target not in answer:
        return 0.0, f"{example.target!r} is missing"
    num_words = len(answer.split())
    return float(num_words <= 5), f"{num_words} words"
