"""Filters and exact_match by hand; that they are the harness's own is asked beside its tasks."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from evoprompt.config.filters import FilterConfig
from evoprompt.config.metric import MetricConfig
from evoprompt.fitness.filters import filtered
from evoprompt.fitness.grading import Grader
from evoprompt.records import Example


def regex(pattern: str, **more: object) -> FilterConfig:
    return FilterConfig(function="regex", regex_pattern=pattern, **more)


@pytest.mark.parametrize(
    ("text", "filters", "left"),
    [
        ("12, then 34", [regex(r"\d+")], "12"),
        ("12, then 34", [regex(r"\d+", group_select=-1)], "34"),
        ("12", [regex(r"\d+", group_select=1, fallback="none")], "none"),
        ("twelve", [regex(r"\d+")], "[invalid]"),
        ("is B", [regex(r"(A)|( B)")], "B"),  # of two groups the one that is not empty
        ("is B", [regex(r"(A)|(B)|is(C?)", fallback="?")], "?"),  # the match has no group at all
        (" Yes ", [FilterConfig(function="lowercase")], " yes "),
        (" Yes ", [FilterConfig(function=f) for f in ("remove_whitespace", "uppercase")], "YES"),
        ("b", [FilterConfig(function="map", mapping_dict={"b": "no"}, default_value="?")], "no"),
        ("c", [FilterConfig(function="map", mapping_dict={"b": "no"}, default_value="?")], "?"),
    ],
)
def test_filters_take_an_answer_out_of_a_text(text: str, filters: list[FilterConfig], left: str):
    assert filtered(text, filters) == left


@pytest.mark.parametrize(
    ("answer", "gold", "config", "grade"),
    [
        ("Paris", "paris", {}, 0.0),
        ("Paris", "paris", {"ignore": ["case"]}, 1.0),
        ("Paris!", "Paris", {"ignore": ["punctuation"]}, 1.0),
        ("Paris 9", "Paris", {"ignore": ["numbers"]}, 0.0),  # the space before it stays
        ("x9", "x", {"ignore": ["numbers"]}, 1.0),
        ("1,000", "so it is #### 1000", {"regexes_to_ignore": [",", "(?s).*#### "]}, 1.0),
    ],
)
def test_exact_match_leaves_out_what_it_is_told(answer: str, gold: str, config, grade: float):
    grader = Grader(MetricConfig(name="exact_match", **config))
    assert grader.grade(f" {answer}\n", Example("1", "q", gold)).value == grade


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValidationError, match="give either extract or filters"):
        MetricConfig(extract="a", filters=[regex("a")])
    with pytest.raises(ValidationError, match="ignore goes with the metric 'exact_match'"):
        MetricConfig(name="f1", ignore=["case"])
