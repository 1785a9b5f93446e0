"""What a run tells while it goes on fits the terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.display import Display
from evoprompt.jobs.evolve.ending import diff
from evoprompt.jobs.evolve.live import (
    credit_text,
    generation_text,
    price_text,
    sparkline,
    starting,
)
from evoprompt.records import TokenCount
from evoprompt.report.diff import word_diff


def line(generation: int = 12) -> SimpleNamespace:
    price = SimpleNamespace(
        reproduction=SimpleNamespace(selection=0.01),
        transmission=-0.02,
        survival=SimpleNamespace(selection=0.03),
        racing=0.005,
        transmission_by_operator={"survive": 0.0, "swap": 0.004, "add": -0.024},
    )
    account = SimpleNamespace(
        generation=generation,
        fitness=SimpleNamespace(best=-0.1162, mean=-12.3456),
        examples=16,
        best_accuracy=0.9,
        price={"fitness": price},
    )
    return SimpleNamespace(
        account=account, generation=generation, tokens=SimpleNamespace(total=10**9)
    )


@pytest.mark.parametrize("width", [30, 40, 60, 80, 103, 120, 200])
def test_a_generation_has_one_line_at_any_width(width: int):
    text = generation_text(line(100), 98 * 60 + 59, width)
    assert len(text) <= width
    assert "best  -0.1162" in text
    assert ("accuracy 0.900" in text) == (width >= 40)
    assert ("mean -12.3456" in text) == (width >= 120)
    assert ("best operator swap +0.004" in text) == (width == 200)


def test_prices_terms_in_brief_add_the_race_to_survival_and_credit_goes_to_an_operator():
    assert price_text(line()) == "parents +0.010 operators -0.020 survival +0.035"
    assert credit_text(line()) == "best operator swap +0.004"


def test_a_sparkline_goes_from_the_least_to_the_greatest():
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline(list(range(100)))) == 24


@pytest.mark.parametrize(
    ("backend", "tracker", "text"),
    [
        ("ray", "mlflow", "starting Ray, MLflow and the model"),
        ("local", "mlflow", "starting MLflow and the model"),
        ("ray", None, "starting Ray and the model"),
        ("local", None, "starting the model"),
        ("http", "my_own", "starting the model"),
    ],
)
def test_only_what_is_used_is_said_to_be_started(backend: str, tracker: str | None, text: str):
    assert starting(backend, tracker) == text


def test_a_difference_has_marks_colors_and_an_end():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(diff(word_diff("Say good\x1b[31m.", "Say great\x1b[31m.")))
    shown = console.file.getvalue()
    assert "[-good-]" in shown
    assert "{+great+}" in shown
    assert "\\x1b[31m" in shown
    long = diff(word_diff("", "x\n" * 100)).plain.split("\n")
    assert len(long) == 41
    assert long[-1] == "... 61 more lines in champion.txt"


@pytest.mark.parametrize("key", ["prefill_tokens", "logical_tokens"])
def test_what_a_budget_leaves_bounds_the_time_that_is_left(
    key: str, monkeypatch: pytest.MonkeyPatch
):
    now, told = [0.0], io.StringIO()
    clocks = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("evoprompt.jobs.evolve.display.time", clocks)
    values = {"task": {"name": "inbox"}, "evolution": {"generations": 100}, "budget": {key: 4000}}
    display = Display(check_config(values, "test"), Console(file=told, width=120))
    now[0] = 20.0
    for _ in range(4):
        display.scored(TokenCount(body_tokens=250, logical_tokens=250))
    display.generation(line())
    # 1,000 of 4,000 tokens in 20 s: 60 s for the others, and the 5 s of a policy that is begun
    assert "left about 1 min 05 s" in told.getvalue()
