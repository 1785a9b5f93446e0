"""A program that nobody looks into, as MLflow hands it to an optimizer, and its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

TEXT = "Say what it is.\n\nText: {{text}}\nLabel:"
CHAT = json.dumps(
    [
        {"role": "system", "content": "Say what it is."},
        {"role": "user", "content": "Text: {{text}}"},
    ]
)


def data(num: int = 16) -> list[dict[str, Any]]:
    return [
        {
            "inputs": {"text": f"{('poor', 'nice')[i % 2]} thing {i}"},
            "expectations": {"expected_response": ("bad", "good")[i % 2]},
        }
        for i in range(num)
    ]


class Program:
    """Scores prompts by `worth`: (templates, inputs) -> from 0 to 1; counts its calls."""

    def __init__(self, worth: Callable[[dict[str, str], dict[str, Any]], float]) -> None:
        self.worth = worth
        self.asked: list[tuple[dict[str, str], str]] = []

    def __call__(self, prompts: dict[str, str], rows: list[dict[str, Any]]) -> list[Any]:
        self.asked += [(prompts, row["inputs"]["text"]) for row in rows]
        scores = [self.worth(prompts, row["inputs"]) for row in rows]
        return [
            SimpleNamespace(
                outputs="an answer\nof lines",
                score=score,
                rationales={"own": "so it is"},
                individual_scores={"own": score},
            )
            for score in scores
        ]
