"""Advice is given where the numbers carry it, and nowhere else."""

from __future__ import annotations

from evoprompt.jobs.evolve.advice import advice
from evoprompt.stats.resampling import wilson_interval


def operators(**counts: tuple[int, int]) -> dict:
    """Each operator's births that beat their best parent, of how many."""
    return {
        name: {
            "num_children": num,
            "share_better": better / num,
            "share_better_ci": list(wilson_interval(better, num, 0.05)),
        }
        for name, (better, num) in counts.items()
    }


def told(found: dict, drift: dict | None = None) -> list[str]:
    return advice(None, {"operators": found, "drift": drift})


def test_an_operator_that_never_wins_among_others_that_do_is_to_be_drawn_less():
    # 20 of 92 in all, 22 %; 0 of 42 has an interval up to 8 %, 20 of 50 from 28 %
    assert told(operators(add=(0, 42), swap=(20, 50))) == [
        "20 of 50 births by swap beat their best parent, and 22% of all births did: raise its "
        "weight (evolution.operators.swap).",
        "0 of 42 births by add beat their best parent, and 22% of all births did: lower its weight "
        "(evolution.operators.add).",
    ]


def test_few_births_and_usual_ones_are_no_reason():
    assert told(operators(add=(0, 9), swap=(10, 50))) == []
    assert told(operators(add=(9, 50), swap=(10, 50))) == []
    assert told({}) == []


def test_a_small_p_of_drift_is_said_with_how_often_chance_gives_it():
    [text] = told({}, {"p_value": 0.049})
    assert "One run in 20 does so by chance alone" in text
    assert told({}, {"p_value": 0.051}) == []
    assert told({}, {"p_value": None}) == []


def test_a_p_of_nothing_is_no_division_by_it():
    [text] = told({}, {"p_value": 0.0})
    assert "Chance alone does not do so" in text
