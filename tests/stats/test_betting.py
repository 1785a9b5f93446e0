"""Betting: the capital worked by hand, and its promise in all orders of small cases."""

from __future__ import annotations

from itertools import permutations, product
from math import inf, log

import numpy as np
import pytest

from evoprompt.stats.betting import certified_winner, log_capital

LEVELS = (0.05, 0.2, 0.5, 0.8)


def test_the_capital_worked_by_hand():
    # N = 4, x = 1, 1, ...: first m = 1/2 and r = (4/2 - 0)/4 = 1/2: no edge, no bet.
    # Then S = 1, m = (2 - 1)/3 = 1/3, u = 1.5/2 = 3/4, r = (3 - 1)/3 = 2/3, D = 1/3,
    # v = (1/16 + (1 - 3/4)^2)/2 = 1/16; D/(v + D^2) = (1/3)/(25/144) = 48/25, below the limit
    # 27/10: K = 1 + 48/25 * 2/3 = 57/25. S = 2 = N/2: m = 0, nothing can be bet, and a third 1 is
    # impossible under the hypothesis.
    logs = log_capital(np.array([1.0, 1.0, 1.0, 0.0]), 4)
    assert logs[:2] == pytest.approx([0, log(57 / 25)], abs=1e-12)
    assert logs[2:].tolist() == [inf, inf]
    # a population without end: m = 1/2, u = r = 3/4, D = 1/4, D/(1/16 + 1/16) = 2, limit 9/5
    assert log_capital(np.ones(2), None)[1] == pytest.approx(log(1 + 9 / 5 / 2), abs=1e-12)


def test_level_values_are_no_evidence():
    assert (log_capital(np.full(20, 0.5), 20) == 0).all()
    assert (log_capital(np.full(20, 0.5), None) == 0).all()


def test_with_all_values_seen_the_answer_is_exact():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x = rng.integers(0, 3, size=rng.integers(1, 7)) / 2
        assert (log_capital(x, len(x))[-1] == inf) == (x.mean() > 0.5)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 6])
def test_what_is_true_is_refuted_at_most_at_the_level_in_all_orders(num: int):
    """Exact: every population of {0, 1/2, 1} with mean at most 1/2, all its orders, as if one could
    look after every value and stop at the best.
    """
    for population in product((0.0, 0.5, 1.0), repeat=num):
        if sum(population) > num / 2 or list(population) != sorted(population):
            continue
        orders = np.array(list(permutations(population)))
        ever = log_capital(orders, num).max(axis=1)
        for alpha in LEVELS:
            assert np.mean(ever >= -log(alpha)) <= alpha + 1e-12, (population, alpha)


def test_a_gambler_who_sees_a_value_before_he_bets_is_caught():
    """Power twin: three wins of x 1.75 make 5.4 in every order, a rate of 1 at level .2."""
    orders = np.array(list(permutations((0.0, 0.0, 0.0, 1.0, 1.0, 1.0))))
    bets = np.where(orders > 0.5, 1.5, 0.0)
    ever = np.cumprod(1 + bets * (orders - 0.5), axis=1).max(axis=1)
    assert max(np.mean(ever >= 1 / alpha) - alpha for alpha in LEVELS) > 0.1


@pytest.mark.parametrize("places", ["ababab", "ababa", "aabaab", "abcabc", "aaabaa", "bbaaaa"])
def test_groups_with_fixed_places_keep_the_promise(places: str):
    """Exact: every population of {0, 1/2, 1} with mean at most 1/2, each group's values in all
    orders at the group's places.
    """
    num, names = len(places), sorted(set(places))
    where = [[i for i, c in enumerate(places) if c == name] for name in names]
    for population in product((0.0, 0.5, 1.0), repeat=num):
        if sum(population) > num / 2:
            continue
        if any(unsorted(population, w) for w in where):
            continue
        parts = [list(permutations([population[i] for i in w])) for w in where]
        orders = np.zeros((int(np.prod([len(p) for p in parts])), num))
        for row, chosen in zip(orders, product(*parts), strict=True):
            for w, values in zip(where, chosen, strict=True):
                row[w] = values
        ever = log_capital(orders, num, groups=list(places)).max(axis=1)
        for alpha in LEVELS:
            assert np.mean(ever >= -log(alpha)) <= alpha + 1e-12, (population, alpha)


def unsorted(population: tuple[float, ...], places: list[int]) -> bool:
    values = [population[i] for i in places]
    return values != sorted(values)


def test_a_gambler_who_bets_on_one_group_is_caught():
    """Power twin: with values 1 in one group and 0 in the other, in turns, whoever bets on the
    first alone wins for sure. Within a turn of the tested gambler all bets are the same.
    """
    order, groups = np.tile([1.0, 0.0], 4), ["a", "b"] * 4
    on_the_first = np.tile([1.5, 0.0], 4)
    assert np.prod(1 + on_the_first * (order - 0.5)) > 1 / 0.2
    logs = log_capital(order, 8, groups=groups)
    assert logs.max() < -log(0.2)
    assert logs[::2].tolist() == [0, *logs[1:-1:2]], "until a turn ends, what it was before"


def test_where_a_turn_has_more_of_a_group_than_is_to_come_the_mean_is_greater():
    # 16 of a, 4 of b, in turns of 20/4 = 5. With 4 of a and 1 of b each, as all have, m = 1/2: no
    # bet in the first, where r = 1/2.
    x = np.concatenate([np.full(5, 0.9), np.full(15, 0.8)])
    even = log_capital(x, None, groups="aaaab" * 4)
    # all seen 0.9: u = (1/2 + 4.5)/6 = 5/6, D = 1/3; bet at most 9/5, x - m = 0.3
    squares = 1 / 16 + sum((0.9 - (0.5 + 0.9 * t) / (t + 1)) ** 2 for t in range(1, 6))
    assert even[:9].tolist() == [0.0] * 9
    bet = min(1.8, (1 / 3) / (squares / 6 + 1 / 9))
    assert even[9] == pytest.approx(5 * log(1 + bet * 0.3), abs=1e-12)
    uneven = log_capital(x, None, groups="aaaaaaaabbaaaabaaaab")
    # 5 of a, then 3 of a and 2 of b: (2/5)/(1/5) = 2, m = 1, and nothing is bet
    assert uneven[:10].tolist() == [0.0] * 10


def test_a_winner_is_named_where_it_is_ahead_of_every_other():
    rng = np.random.default_rng(1)
    good = (rng.random(60) < 0.95).astype(float)
    bad = (rng.random((2, 60)) < 0.3).astype(float)
    assert certified_winner(np.array([bad[0], good, bad[1]])) == 1
    assert certified_winner(np.array([bad[0], good, good])) is None
    assert certified_winner(bad) is None
    # with all examples seen it is arithmetic, ties aside
    assert certified_winner(np.array([[1.0, 0, 1], [0, 0, 1]]), num_all=3) == 0
    assert certified_winner(np.array([[1.0, 0, 1], [0, 1, 1]]), num_all=3) is None
    # nobody to be ahead of, nothing to go by
    assert certified_winner(np.ones((1, 9))) is None
    assert certified_winner(np.ones((2, 0))) is None


@pytest.mark.parametrize("values", [[1.1], [-0.1], [float("nan")]])
def test_values_out_of_range_are_refused(values: list[float]):
    with pytest.raises(ValueError, match=r"all in \[0, 1\]"):
        log_capital(np.array(values), 5)
    with pytest.raises(ValueError, match="at most 1 values"):
        log_capital(np.ones(2), 1)
    with pytest.raises(ValueError, match="groups of 3 values, given 2"):
        log_capital(np.ones(2), 3, groups=[0, 1])
