"""The winner's curse against its truth, which simulated policies have. All fixed seeds."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest

from evoprompt.stats.optimism import (
    Optimism,
    analytic_optimism,
    expected_maximum,
    shrinkage_optimism,
    split_half_optimism,
)
from evoprompt.stats.two_way import side_by_side

EXAMPLES, DIFFICULTY, NOISE = 64, 0.35, 0.25


def test_the_expected_greatest_of_few():
    """1/sqrt(pi) of two, 3/(2 sqrt(pi)) of three; 2.249 of 50 and 2.746 of 200 by tables."""
    assert expected_maximum(1) == pytest.approx(0, abs=1e-5)
    assert expected_maximum(2) == pytest.approx(1 / sqrt(pi), abs=1e-5)
    assert expected_maximum(3) == pytest.approx(1.5 / sqrt(pi), abs=1e-5)
    assert expected_maximum(50) == pytest.approx(2.249, abs=1e-3)
    assert expected_maximum(200) == pytest.approx(2.746, abs=1e-3)
    with pytest.raises(ValueError, match="at least one"):
        expected_maximum(0)


def test_three_policies_by_hand():
    """sigma^2 = 2 of a case, 1 of a mean of two; tau^2 = 20 (see `test_two_way`). Of any three's
    best 1/sqrt(21) * .8463 is luck.
    """
    cases = np.array([[-1.0, 1.0], [3.0, 3.0], [7.0, 11.0]])
    assert analytic_optimism(cases) == pytest.approx(1.5 / sqrt(pi * 21), rel=1e-4)


def test_where_policies_do_not_differ_all_is_luck():
    """tau^2 = 0 of these two (see `test_two_way`), whose excesses are -1 and 1."""
    cases = np.array([[0.0, 2.0], [4.0, 2.0]])
    best, worst = shrinkage_optimism(cases), shrinkage_optimism(cases, 0)
    assert (best, worst) == (Optimism(1, 0, 2), Optimism(-1, 0, 2))


def test_where_there_is_no_noise_nothing_is_luck():
    found = shrinkage_optimism(np.array([[0.0, 1, 2], [1, 2, 3], [5, 6, 7]]))
    assert found is not None
    assert found.value == pytest.approx(0, abs=1e-6)


def test_a_policy_that_is_far_from_all_others_had_less_luck_than_the_best_of_equals():
    """The best of nine equals has the whole of its excess by luck, less what a spread that is not
    there would explain; with a tenth, 10 above, the normal spread would explain nearly all.
    """
    rng = np.random.default_rng(4)
    equals = rng.normal(size=(9, 16))
    best = int(equals.mean(axis=1).argmax())
    among_equals = shrinkage_optimism(equals, best)
    with_far = np.concatenate([equals, 10 + rng.normal(size=(1, 16))])
    still, far = shrinkage_optimism(with_far, best), shrinkage_optimism(with_far, 9)
    assert among_equals is not None
    assert still is not None
    assert far is not None
    assert still.value > 0.5 * among_equals.value
    assert abs(far.value) < 0.1 * among_equals.value


def test_it_is_undefined_of_one_policy_and_of_one_example():
    rng = np.random.default_rng(0)
    for shape in ((1, 9), (9, 1)):
        cases = rng.normal(size=shape)
        assert analytic_optimism(cases) is None
        assert shrinkage_optimism(cases) is None
        assert split_half_optimism(cases, rng) is None
    unequal = side_by_side([rng.normal(size=8), rng.normal(size=4), rng.normal(size=8)])
    assert analytic_optimism(unequal) is None
    assert split_half_optimism(unequal, rng) is None
    assert shrinkage_optimism(unequal) is not None


def test_the_best_is_looked_for_among_those_that_met_most():
    rng = np.random.default_rng(1)
    rows = [rng.normal(size=12), 1 + rng.normal(size=12), 9 + rng.normal(size=3)]
    assert shrinkage_optimism(side_by_side(rows)) == shrinkage_optimism(side_by_side(rows), 1)


def bootstrap(cases: np.ndarray, rng: np.random.Generator) -> float:
    """The estimate that is too low: the winner of each resample, there less on all examples."""
    num = cases.shape[1]
    weights = rng.multinomial(num, np.full(num, 1 / num), 60) / num
    again, means = weights @ cases.T, cases.mean(axis=1)
    best = again.argmax(axis=1)
    gain = again[np.arange(60), best] - means[best]
    return float(gain.mean() - (again - means).mean())


@pytest.mark.statistical
@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_what_is_estimated_is_the_luck_of_the_best_of_fifty(spread: float):
    """50 policies, 64 examples, 100 runs: a run's luck has sd about .015, its mean .0015, and the
    difference of two such means 5 sd = .011. Estimates from no spread at all are 5 % too low (a
    spread below 0 counts as 0), halves up to 15 % too high. The bootstrap has to be found out.
    """
    rng = np.random.default_rng(2)
    found = []
    for _ in range(100):
        true = rng.normal(0, spread, 50)
        difficulty = rng.normal(0, DIFFICULTY, EXAMPLES)
        noise = rng.normal(0, NOISE, (50, EXAMPLES))
        cases = true[:, None] + difficulty + noise
        best = int(np.argmax(cases.mean(axis=1)))
        shrunk, luck = shrinkage_optimism(cases), noise[best].mean()
        assert shrunk is not None
        halves, low = split_half_optimism(cases, rng), bootstrap(cases, rng)
        found.append([luck, shrunk.value, analytic_optimism(cases), halves, low])
    luck, shrunk, analytic, halves, low = np.array(found, dtype=float).mean(axis=0)
    assert abs(shrunk - luck) < 0.011
    assert abs(analytic - luck) < 0.011
    assert abs(halves - luck) < 0.011 + 0.15 * luck
    assert luck - low > 0.011, "power twin: the bootstrap is too low by more than is allowed"


def raced(rng: np.random.Generator, spread: float) -> tuple[np.ndarray, int, float]:
    """Return the cases of 48 policies that were halved on 8, 16, 32 and 64 examples, the best of
    the last, and its luck.
    """
    true = rng.normal(0, spread, 48)
    difficulty = rng.normal(0, DIFFICULTY, EXAMPLES)
    noise = rng.normal(0, NOISE, (48, EXAMPLES))
    every = true[:, None] + difficulty + noise
    alive, met = np.arange(48), np.full(48, 8)
    for m in (8, 16, 32, 64):
        met[alive] = m
        ranked = alive[np.argsort(-every[alive, :m].mean(axis=1))]
        alive = ranked[: len(alive) // 2]
    cases = side_by_side([row[:m] for row, m in zip(every, met, strict=True)])
    return cases, int(ranked[0]), float(noise[ranked[0]].mean())


@pytest.mark.statistical
@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.03, 0.1])
def test_a_race_is_estimated_by_each_policys_own_number_of_examples(spread: float):
    """150 races: as above. The twin takes those on all examples for all there were: of two or three
    it finds too little luck, where policies hardly differ.
    """
    rng = np.random.default_rng(3)
    found, short = [], []
    for _ in range(150):
        cases, best, luck = raced(rng, spread)
        shrunk = shrinkage_optimism(cases, best)
        assert shrunk is not None
        assert shrunk.num == 48
        found.append((luck, shrunk.value))
        last = cases[~np.isnan(cases).any(axis=1)]
        short.append(analytic_optimism(last))
    luck, shrunk_mean = np.mean(found, axis=0)
    assert abs(shrunk_mean - luck) < 0.009
    if spread == 0.03:
        assert luck - np.mean(np.array(short, dtype=float)) > 0.009, "power twin"


@pytest.mark.statistical
@pytest.mark.slow
def test_two_groups_of_policies_hide_no_luck():
    """25 hopeless ones and 25 alike, 60 runs: a run's luck has sd about .02; 5 sd of the mean are
    .013. The twin, for normal spreads, takes the groups for true differences among the best.
    """
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        true = np.concatenate([rng.normal(-0.3, 0.05, 25), rng.normal(0, 0.01, 25)])
        noise = rng.normal(0, NOISE, (50, EXAMPLES))
        cases = true[:, None] + rng.normal(0, DIFFICULTY, EXAMPLES) + noise
        best = int(np.argmax(cases.mean(axis=1)))
        shrunk = shrinkage_optimism(cases)
        assert shrunk is not None
        found.append([noise[best].mean(), shrunk.value, analytic_optimism(cases)])
    luck, estimate, normal = np.array(found, dtype=float).mean(axis=0)
    assert abs(estimate - luck) < 0.013
    assert luck - normal > 0.013, "power twin"
