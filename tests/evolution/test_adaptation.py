"""Operators drawn by what they gained per token: numbers by hand, and a planted best operator."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from evoprompt.config.evolution import AdaptationConfig
from evoprompt.dynamics.evolvability import Gain
from evoprompt.evolution.adaptation import credit_per_token, effective_number, operator_rates

WEIGHTS = {"a": 2.0, "b": 1.0, "c": 1.0}


def birth(operator: str, gain: float) -> Gain:
    return Gain(operator, f"{operator}{gain}", ("parent",), gain, 8)


def cost(gain: Gain) -> float:
    return {"a": 100.0, "b": 100.0, "c": 300.0}[gain.operator]


def adapting(method: str, floor: float = 0.2) -> AdaptationConfig:
    return AdaptationConfig(method=method, floor=floor)


def test_credit_is_gain_per_token_with_four_births_like_all_before_the_first():
    """One brood: a +.3 and -.5, b +.1, c +.4 over 100, 100, 100, 300 tokens. So g = .8 / 4 = .2 and
    t = 600 / 4 = 150: a (.8 + .3) / (600 + 200), b (.8 + .1) / (600 + 100), c 1.2 / 900.
    """
    brood = [birth("a", 0.3), birth("a", -0.5), birth("b", 0.1), birth("c", 0.4)]
    credit = credit_per_token(["a", "b", "c"], [[*brood, birth("clone", 0.0)]], cost)
    assert credit == pytest.approx({"a": 1.1 / 800, "b": 0.9 / 700, "c": 1.2 / 900})


def test_a_birth_counts_less_with_each_generation():
    """b gained .9 a generation ago (weight .9), a 1 now, 100 tokens each: g = 1.81 / 1.9, so b has
    (4 g + .81) / (400 + 90), a (4 g + 1) / 500.
    """
    credit = credit_per_token(["a", "b"], [[birth("b", 0.9)], [birth("a", 1.0)]], cost)
    g = 1.81 / 1.9
    assert credit == pytest.approx({"a": (4 * g + 1) / 500, "b": (4 * g + 0.81) / 490})


@pytest.mark.parametrize("method", ["off", "matching", "pursuit"])
@pytest.mark.parametrize("broods", [[], [[birth("a", -1.0), birth("b", 0.0)]]])
def test_where_nothing_was_gained_rates_are_the_given_weights(method, broods):
    rates = operator_rates(adapting(method), WEIGHTS, broods, cost)
    assert rates == {"a": 0.5, "b": 0.25, "c": 0.25}


def test_matching_gives_the_floor_by_weights_and_the_rest_by_credit():
    """One birth of b, .5 for 100 tokens: g = .5, t = 100, so b has 2.5 / 500 as the others have
    2 / 400: no one is better. Then c gains .5 for 300.
    """
    one = operator_rates(adapting("matching"), WEIGHTS, [[birth("b", 0.5)]], cost)
    assert one == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})
    brood = [birth("b", 0.5), birth("c", 0.5)]
    credit = credit_per_token(list(WEIGHTS), [brood], cost)
    total = 0.5 * credit["a"] + 0.25 * credit["b"] + 0.25 * credit["c"]
    rates = operator_rates(adapting("matching"), WEIGHTS, [brood], cost)
    assert rates["b"] == pytest.approx(0.2 * 0.25 + 0.8 * 0.25 * credit["b"] / total)
    assert rates["b"] > 0.25 > rates["c"]
    assert sum(rates.values()) == pytest.approx(1)


def test_pursuit_goes_to_the_best_by_three_tenths_and_never_below_the_floor():
    """Two generations in which b gained most: r = p + .3 (target - p), twice."""
    broods = [[birth("b", 1.0), birth("a", 0.0), birth("c", 0.0)]] * 2
    rates = operator_rates(adapting("pursuit"), {"a": 1, "b": 1, "c": 1}, broods, cost)
    target = 0.2 / 3 + 0.8
    assert rates["b"] == pytest.approx(target - 0.7**2 * (target - 1 / 3))
    long = operator_rates(adapting("pursuit"), {"a": 1, "b": 1, "c": 1}, broods * 30, cost)
    assert min(long.values()) == pytest.approx(0.2 / 3)


def _share_of_best(method: str, better: float) -> float:
    """The mean rate of b after 12 broods of 8, whose gains are normal with sd .1 around -.05, of b
    around `better`; over 20 runs.
    """
    found = []
    for seed in range(20):
        rng, broods = np.random.default_rng(seed), []
        for _ in range(12):
            rates = operator_rates(adapting(method), WEIGHTS, broods, lambda _: 100.0)
            drawn = rng.choice(list(rates), 8, p=list(rates.values()))
            means = (better if name == "b" else -0.05 for name in drawn)
            broods.append(
                [
                    birth(str(n), float(rng.normal(m, 0.1)))
                    for n, m in zip(drawn, means, strict=True)
                ]
            )
        found.append(operator_rates(adapting(method), WEIGHTS, broods, lambda _: 100.0)["b"])
    return float(np.mean(found))


@pytest.mark.parametrize("method", ["matching", "pursuit"])
def test_a_planted_best_operator_is_found_and_one_that_is_not_better_is_not(method):
    """Power twin: where all gain alike the mean rate of b stays about its share, .25."""
    assert _share_of_best(method, 0.05) > 0.4
    assert _share_of_best(method, -0.05) < 0.33


def test_the_effective_number_of_operators():
    assert effective_number({"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}) == pytest.approx(4)
    assert log(effective_number({"a": 1.0, "b": 0.0})) == 0
