"""Samples by model size: numbers worked by hand, a planted law, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.jobs.scaling.samples import (
    SampleCurve,
    best_sizes,
    common_targets,
    frontier,
    needed,
    needed_samples,
    power,
)
from evoprompt.jobs.scaling.samples_session import NUMBERS, PAGE, compare_samples

LADDER = Path(__file__).parents[3] / "experiments" / "scaling" / "ladder.csv"


def curve(name: str, size: float, samples: list[float], loss: list[float]) -> SampleCurve:
    flop = 6 * size * np.array(samples)
    return SampleCurve(name, size, np.array(samples), np.array(loss), flop)


def test_samples_to_a_target_are_straight_in_their_logarithm():
    found = curve("a", 1e3, [9.0, 99.0, 999.0], [3.0, 1.0, 2.0])
    # half of the way from 3 to 1: 1 + samples from 10 to 100 is then 10^1.5
    assert needed_samples(found, 2.0) == pytest.approx(10**1.5 - 1)
    assert needed_samples(found, 3.5) == 9.0
    assert needed_samples(found, 0.5) is None
    # the best so far counts: a loss that rises again is reached once
    assert needed_samples(found, 1.0) == pytest.approx(99.0)


def test_targets_that_all_reach_and_none_begins_with():
    curves = [curve("a", 1e3, [1, 10], [3.0, 1.0]), curve("b", 1e4, [1, 10], [2.0, 0.5])]
    assert common_targets(curves, 2) == [1.5, 1.0]
    assert common_targets([curves[0], curve("c", 1e5, [1, 10], [0.9, 0.5])]) == []


@given(st.floats(-0.9, 0.9), st.integers(0, 100))
def test_a_planted_exponent_is_found_and_its_direction_said(exponent: float, seed: int):
    sizes = [1e5, 1e6, 1e7, 1e8]
    noise = np.exp(0.001 * np.random.default_rng(seed).normal(size=4))
    takes = [1e6 * (n / 1e5) ** exponent * e for n, e in zip(sizes, noise, strict=True)]
    curves = [curve(str(n), n, [1.0, t], [2.0, 1.0]) for n, t in zip(sizes, takes, strict=True)]
    found = needed(curves, 1.0)
    assert found.power.exponent == pytest.approx(exponent, abs=0.01)
    if abs(exponent) > 0.05:
        assert found.verdict == ("fewer" if exponent < 0 else "more")


def test_a_law_of_two_points_has_no_error_and_shows_nothing():
    found = power([1.0, 10.0], [5.0, 500.0])
    assert (found.exponent, found.ci) == (pytest.approx(2.0), None)
    assert power([1.0, 1.0], [5.0, 6.0]) is None
    curves = [curve("a", 1e3, [1, 9], [2.0, 1.0]), curve("b", 1e4, [1, 5], [2.0, 1.0])]
    assert needed(curves, 1.0).verdict == "not shown"


def test_the_frontier_of_a_known_law_is_found():
    # L = N^-1/2 + D^-1/2 has its best N at sqrt(C / 6)
    sizes, samples = np.geomspace(1e2, 1e6, 17), np.geomspace(1e1, 1e9, 60)
    curves = [curve(str(n), n, samples.tolist(), (n**-0.5 + samples**-0.5).tolist()) for n in sizes]
    found = best_sizes(curves)
    law = frontier(found)
    assert law.exponent == pytest.approx(0.5, abs=0.1)


def test_a_model_that_was_trained_with_less_keeps_its_last_loss():
    curves = [
        curve("small", 1e3, [1.0, 10.0], [3.0, 0.1]),
        *(curve(str(n), n, [1.0, 1e3], [3.0, 1.0]) for n in (1e4, 1e5, 1e6)),
    ]
    found = best_sizes(curves)
    ended = [s for s in found if s.flop > 6e4 * 1.01]
    assert ended
    assert all(s.parameters == 1e3 and s.loss == 0.1 and s.between is None for s in ended)


def test_the_ladder_of_small_models_says_that_larger_ones_need_fewer(tmp_path: Path):
    folder = compare_samples([str(LADDER)], tmp_path / "out", targets=[2.5, 1.5, 0.7, 0.55])
    found = json.loads((folder / NUMBERS).read_text())
    assert [f["verdict"] for f in found["needed"]] == ["fewer"] * 4
    assert "larger models need fewer samples" in (folder / PAGE).read_text()


def test_a_score_is_better_where_it_is_higher_and_sizes_may_be_unknown(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text("model,samples,accuracy\na,0,.5\na,3,.9\nb,0,.5\nb,15,.9\n")
    found = compare_samples([str(table)], tmp_path / "o", performance="accuracy", targets=[0.7])
    [asked] = json.loads((found / NUMBERS).read_text())["needed"]
    # half of the way: 1 + samples is 2 and 4
    assert asked["samples"] == {"a": pytest.approx(1.0), "b": pytest.approx(3.0)}
    assert asked["verdict"] == "not shown"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,samples\na,1\n", "no column loss"),
        ("model,samples,loss\n", "no row"),
        ("model,samples,loss\na,x,1\n", "a number is needed"),
        ("model,samples,loss\na,-1,1\n", "0 or more"),
        ("model,samples,loss,parameters\na,1,1,5\na,2,1,6\n", "one number above 0"),
        ("model,samples,loss\na,1,1\n", "two models or more"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str):
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=message):
        compare_samples([str(table)], tmp_path / "out")
