"""What each metric gives, by hand, and what graders make of an answer and of own functions."""

from __future__ import annotations

import math
import sys
from importlib import metadata
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError
from evoprompt.fitness.grading import Grader
from evoprompt.fitness.metrics import METRICS, f1, normalized_text, numbers
from evoprompt.records import Example, Grade

HERE = sys.modules[__name__].__name__


def grade(name: str, answer: str, *golds: str, **keys: Any) -> float:
    grader = Grader(MetricConfig(name=name, **keys))
    return grader.grade(answer, Example("e1", "q", golds[0], also=golds[1:])).value


@pytest.mark.parametrize(
    ("name", "answer", "gold", "value"),
    [
        ("exact", " Paris ", "Paris", 1),
        ("exact", "paris", "Paris", 0),
        ("normalized", "The  Eiffel-Tower!", "eiffeltower", 1),
        ("normalized", "a tower", "tower", 1),
        ("normalized", "towers", "tower", 0),
        ("normalized", "", "A", 0),  # nothing is left of "A" but itself
        ("normalized", "a", "A", 1),
        ("contains", "It is in Paris, France.", "paris", 1),
        ("contains", "parisian", "paris", 0),
        ("contains", "100 %", "%", 1),
        ("number", "She has 3 + 4 = 7 apples.", "7", 1),
        ("number", "$1,000", "1000.0", 1),
        ("number", "17-5", "5", 1),  # a sign right after a number is none
        ("number", "it fell by -5", "-5", 1),
        ("number", "\u22125", "-5", 1),
        ("number", ".50", "0.5", 1),
        ("number", "1e3", "1000", 1),
        ("number", "seven", "7", 0),
        ("number", "70", "7", 0),
        ("choice", "The answer is (B), not A.", "B", 1),
        ("choice", "A good question. B.", "(B)", 1),
        ("choice", "Because", "B", 0),
        ("f1", "the cat sat", "a cat slept", 0.5),  # of cat sat, cat slept: one of two, both ways
        ("f1", "cat cat", "cat", 2 / 3),  # P = 1/2, R = 1
        ("f1", "dog", "cat", 0),
        ("f1", "", "cat", 0),
    ],
)
def test_a_metric_gives_what_is_worked_out_by_hand(
    name: str, answer: str, gold: str, value: float
) -> None:
    assert grade(name, answer, gold) == pytest.approx(value)


def test_rouge_l_is_that_of_the_longest_common_subsequence():
    pytest.importorskip("rouge_score")
    # police the gunman of 4 words each have "police the gunman" in common: P = R = 3/4
    assert grade("rouge_l", "police kill the gunman", "police killed the gunman") == 0.75
    assert grade("rouge_l", "the gunman kill police", "police killed the gunman") == 0.5


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    from evoprompt.fitness import metrics

    metrics._rouge_scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(UserError, match=r"needs the package rouge-score.*evoprompt\[rouge\]"):
        Grader(MetricConfig(name="rouge_l"))


def test_the_best_of_several_right_answers_counts():
    assert grade("exact", "NYC", "New York", "NYC") == 1
    assert grade("f1", "new york city", "NYC", "New York") == pytest.approx(0.8)


def test_extraction_comes_first_and_what_is_not_found_is_empty():
    keys = {"extract": r"####\s*(\S+)"}
    assert grade("number", "3 and 4 make 8 #### 7 (of 9)", "7", **keys) == 1
    assert grade("number", "3 and 4 make 7", "7", **keys) == 0
    assert grade("exact", "x = 12;", "12", extract=r"\d+") == 1
    assert Grader(MetricConfig(extract="(a)|b")).extracted("b") == ""  # a group that took no part


def test_the_first_number_and_options_are_asked_for():
    assert grade("number", "7, that is 3 + 4", "7", which="first") == 1
    assert grade("choice", "Very positive", "positive", options=["positive", "negative"]) == 1
    assert grade("choice", "non-negative", "positive", options=["positive", "negative"]) == 0
    assert grade("choice", "new york city", "New York City", options=["new york", "New York City"])


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_metrics_are_between_0_and_1_and_give_1_to_the_right_answer(answer: str, gold: str):
    for name in ("exact", "normalized", "contains", "f1"):
        metric = METRICS[name](MetricConfig())
        assert 0 <= metric(answer, gold) <= 1
        assert metric(gold, gold) == 1
    assert f1(answer, gold) == pytest.approx(f1(gold, answer))
    assert normalized_text(normalized_text(answer)) == normalized_text(answer)


@given(st.integers(-(10**15), 10**15))
def test_a_number_is_read_as_it_is_written(value: int):
    assert [int(n) for n in numbers(f"so {value:,} it is")] == [value]
    assert [int(n) for n in numbers(f"so {value} it is")] == [value]


def half(answer: str, example: Example) -> tuple[float, str]:
    return 0.5, f"{answer} for {example.target}"


def broken(answer: str, example: Example) -> float:
    raise KeyError("no such thing")


def undefined(answer: str, example: Example) -> float:
    return math.nan


def worded(answer: str, example: Example) -> str:
    return "good"


def slow(answer: str, example: Example) -> float:
    Event().wait(60)
    return 1.0


def test_a_function_of_ones_own_may_say_what_is_wrong():
    grader = Grader(MetricConfig(name=f"{HERE}:half"))
    assert grader.grade(" x ", Example("e1", "q", "y")) == Grade(0.5, "x for y")
    assert grader.title == "half"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken", r"on example 'e1' \(f\.jsonl:3\) with the answer 'x' raised KeyError"),
        ("undefined", r"on example 'e1' \(f\.jsonl:3\) with the answer 'x' gave nan; .* finite"),
        ("worded", "gave 'good'"),
        ("slow", r"took longer than 0\.05 seconds; make it faster, or raise fitness\.metric\.sec"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_the_example(name: str, sentence: str):
    # the slow one waits for a minute; the others have as long, on a busy machine too
    seconds = 0.05 if name == "slow" else 60
    grader = Grader(MetricConfig(name=f"{HERE}:{name}", seconds=seconds))
    with pytest.raises(UserError, match=sentence):
        grader.grade("x", Example("e1", "q", "y", origin="f.jsonl:3"))


def test_a_judge_gives_the_probability_of_its_verdict():
    judge = Grader(MetricConfig(name="judge"))
    assert judge.grade("x", Example("e", "q", "y"), log_odds=math.log(3)).value == pytest.approx(
        0.75
    )
    assert judge.grade("x", Example("e", "q", "y"), log_odds=-1e6).value < 1e-200


def test_what_does_not_go_with_a_metric_is_refused():
    with pytest.raises(UserError, match="did you mean 'number'"):
        Grader(MetricConfig(name="numbr"))
    with pytest.raises(ValueError, match="is no regular expression"):
        MetricConfig(extract="(")
    with pytest.raises(ValueError, match="which goes with the metric 'number'"):
        MetricConfig(which="first")
    with pytest.raises(UserError, match="example 'e1' has choices"):
        Grader(MetricConfig()).check([Example("e1", "q", "a", ("a", "b"))])
    with pytest.raises(UserError, match="example 'e1': the right answer 'seven' has no number"):
        Grader(MetricConfig(name="number")).check([Example("e1", "q", "7", also=("seven",))])


def test_a_plug_in_offers_a_metric_by_name(monkeypatch: pytest.MonkeyPatch):
    points = metadata.EntryPoints(
        [metadata.EntryPoint("metric.halved", f"{HERE}:half", "evoprompt")]
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **wanted: points.select(**wanted))
    assert Grader(MetricConfig(name="halved")).grade("x", Example("e", "q", "y")).value == 0.5
