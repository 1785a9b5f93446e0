"""Weights of regions: their promises against rewards of any kind, and games worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evoprompt.arrays import Floats
from evoprompt.evolution.curriculum import (
    entropy,
    exp3_bound,
    exploration_share,
    game,
    hedge_bound,
    hedge_rate,
    importance_weighted,
    minimax_regret,
    weights_of,
)

rewards = st.tuples(st.integers(2, 40), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1))
)


def collected(rows: Floats, rate: float) -> float:
    """Return the rewards that weights collect which know the rounds before each, shape (round,
    region).
    """
    before = np.vstack([np.zeros(rows.shape[1]), rows.cumsum(axis=0)[:-1]])
    return float(sum(weights_of(t, rate) @ row for t, row in zip(before, rows, strict=True)))


@given(rewards)
def test_hedge_keeps_its_promise_for_any_rewards(rows: Floats):
    """Also where each round's rewards are what harms the weights the most: regions that lead get
    -1.
    """
    rounds, num = rows.shape
    rate, bound = hedge_rate(num, rounds), hedge_bound(num, rounds)
    assert rows.sum(axis=0).max() - collected(rows, rate) <= bound + 1e-9
    totals, harmful = np.zeros(num), np.zeros((rounds, num))
    for row in harmful:
        row[:] = np.where(totals == totals.max(), -1, 1)
        totals += row
    assert harmful.sum(axis=0).max() - collected(harmful, rate) <= bound + 1e-9


def test_following_the_leader_breaks_the_promise():
    """The power twin: a rate without end collects -1 in each of 100 rounds of rewards that take
    turns, and either region 0; Hedge's bound is 2 sqrt(50 ln 2) = 11.8.
    """
    rows = np.tile([[-1.0, 1.0], [1.0, -1.0]], (50, 1))
    rows[0] = [-0.5, 0.5]
    late = rows.sum(axis=0).max() - collected(rows, 1e6)
    assert late > 8 * hedge_bound(2, 100)


def exp3_regret(rewards: Floats, seed: int, share: float) -> float:
    """Return how far EXP3 is behind the best of regions with fixed chances of a reward of 1, after
    2,000 draws, in the mean of its weights.
    """
    num, draws = len(rewards), 2000
    rng = np.random.default_rng(seed)
    totals, behind = np.zeros(num), 0.0
    for _ in range(draws):
        weights = weights_of(totals, share / num, share)
        drawn = rng.choice(num, p=weights)
        counts = np.bincount([drawn], minlength=num)
        reward = np.full(num, float(rng.random() < rewards[drawn]))
        totals += importance_weighted(reward, counts, weights)
        behind += rewards.max() - rewards[drawn]
    return behind


def test_exp3_keeps_its_promise_and_learns():
    """5 regions, one rewarded with chance .8 and others with .5: drawn alike they are .24 a draw
    behind, 480 in all. The bound is 2.62 sqrt(2000 5 ln 5) = 332.6, for the mean over draws; here
    that of 5 seeds. The power twin draws all alike for ever.
    """
    chances, share = np.array([0.5, 0.5, 0.8, 0.5, 0.5]), exploration_share(5, 2000)
    bound = exp3_bound(5, 2000, span=1.0)
    assert bound == pytest.approx(332.6, abs=0.1)
    assert np.mean([exp3_regret(chances, seed, share) for seed in range(5)]) <= bound
    assert np.mean([exp3_regret(chances, seed, 1.0) for seed in range(5)]) > bound


def test_estimates_of_drawn_regions_are_right_in_the_mean():
    """By hand: chances .2 and .8, rewards .5 and 1, one draw: .2 (.5 / .2) = .5, .8 (1 / .8) =
    1.
    """
    weights, reward = np.array([0.2, 0.8]), np.array([0.5, 1.0])
    first = importance_weighted(reward, np.array([1, 0]), weights)
    second = importance_weighted(np.array([np.nan, 1.0]), np.array([0, 1]), weights)
    assert first == pytest.approx([2.5, 0])
    assert second == pytest.approx([0, 1.25])
    assert 0.2 * first + 0.8 * second == pytest.approx(reward)


def test_a_game_by_hand():
    """Two policies that are each perfect in one region and one half in the other: regret ((0, .5),
    (.5, 0)). At (1/2, 1/2) either side has 1/4, the value. The pure first policy has .5 in its
    worst region, and against all weight there the second policy has 0: gap .5.
    """
    regret = np.array([[0.0, 0.5], [0.5, 0.0]])
    even = np.array([0.5, 0.5])
    found = game(regret, even, even)
    assert (found.worst, found.best) == (0.25, 0.25)
    assert found.minimax == pytest.approx(0.25)
    pure = game(regret, np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert (pure.worst, pure.best, pure.gap) == (0.5, 0.0, 0.5)


def test_the_gap_of_hedge_against_hedge_goes_to_zero():
    """The game ((2, 0), (0, 1)) / 2, for which weights of either side are (1/3, 2/3) and the value
    is 1/3: 2 x = 1 - x. The gap of the averages is at most the sum of both bounds by round.
    """
    regret = np.array([[1.0, 0.0], [0.0, 0.5]])
    assert minimax_regret(regret) == pytest.approx(1 / 3)
    gaps = []
    for rounds in (100, 400, 1600):
        rate = hedge_rate(2, rounds, span=1.0)
        ours, theirs = np.zeros(2), np.zeros(2)
        mean = np.zeros((2, 2))
        for _ in range(rounds):
            policies, regions = weights_of(-ours, rate), weights_of(theirs, rate)
            ours, theirs = ours + regret @ regions, theirs + policies @ regret
            mean += np.array([policies, regions]) / rounds
        found = game(regret, *mean)
        assert 0 <= found.gap <= 2 * hedge_bound(2, rounds, span=1.0) / rounds
        assert found.best - 1e-9 <= found.minimax <= found.worst + 1e-9
        gaps.append(found.gap)
    assert gaps[2] < gaps[0] / 2


@given(
    arrays(np.float64, (3, 4), elements=st.floats(-1, 1)),
    arrays(np.float64, 3, elements=st.floats(0.01, 1)),
    arrays(np.float64, 4, elements=st.floats(0.01, 1)),
)
def test_no_gap_is_negative_and_the_value_is_between(regret: Floats, p: Floats, q: Floats):
    found = game(regret, p / p.sum(), q / q.sum())
    assert found.gap >= -1e-9
    assert found.best - 1e-7 <= found.minimax <= found.worst + 1e-7


def test_weights_say_how_even_they_are():
    assert weights_of(np.zeros(4), 1.0).tolist() == [0.25] * 4
    assert entropy(np.full(4, 0.25)) == pytest.approx(1)
    assert entropy(np.array([1.0, 0.0])) == 0
    # (1, 1/2) after a reward of ln 2, and a fifth for both alike: .8 2/3 + .1
    assert weights_of(np.array([np.log(2), 0.0]), 1.0, 0.2) == pytest.approx([19 / 30, 11 / 30])
