"""Races: who goes on, worked by hand, and what is undefined drops nobody."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from evoprompt.config.evolution import RacingConfig
from evoprompt.evolution.racing import Rule, behind, better_half, lead, rule_of, rungs
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.likelihood import Accuracy, LabelNormalized, PerToken

METHODS = ("off", "halving", "fast", "certified")


def rule(method: str, **settings: float) -> Rule:
    return Rule(RacingConfig(method=method, **settings), "log_probability")


def test_rungs_double_and_end_with_all():
    assert rungs(8, 64) == (8, 16, 32, 64)
    assert rungs(8, 50) == (8, 16, 32, 50)
    assert rungs(8, 8) == (8,)
    assert rungs(20, 8) == (8,)
    assert rule("off").rungs(64) == (64,)
    assert rule("fast", first=16).rungs(64) == (16, 32, 64)


def test_off_keeps_everybody():
    cases = np.array([[-9.0, -9.0], [0.0, 0.0]])
    assert rule("off").keeps(cases, np.zeros(2), 4).tolist() == [True, True]


def test_the_better_half_is_rounded_up_and_its_last_takes_its_ties_along():
    assert better_half(np.array([[1.0], [3.0], [2.0]])).tolist() == [False, True, True]
    assert better_half(np.array([[1.0], [2.0], [2.0], [2.0]])).tolist() == [False, True, True, True]
    assert better_half(np.array([[5.0]])).tolist() == [True]
    # equal but for rounding: .1 + .2 and .3
    assert better_half(np.array([[0.1 + 0.2], [0.3]])).tolist() == [True, True]


def test_behind_worked_by_hand():
    # d = -1, -2, -3, -2: mean -2, s = sqrt(2/3) = .8165, s / sqrt(4) = .40825; with n = 16 the
    # factor is sqrt(3/4) = .8660, so that 5.6 * .35355 = 1.9799 < 2 and 5.7 * .35355 = 2.0152 > 2
    cases, rival = np.array([[-1.0, -2.0, -3.0, -2.0]]), np.zeros(4)
    assert behind(cases, rival, 16, 5.6).tolist() == [True]
    assert behind(cases, rival, 16, 5.7).tolist() == [False]
    assert behind(cases, rival, 4, 1e6).tolist() == [True], "with all examples there is no doubt"


def test_fast_drops_from_the_better_half_who_is_behind():
    rival = np.array([0.0, 0.1, 0.0, 0.1])
    cases = np.array([[-1.0, -1, -1, -2], [-3.0, -3, -3, -3], [0.2, 0, 0, 0], [-4.0, -4, -4, -4]])
    assert rule("halving").keeps(cases, rival, 64).tolist() == [True, False, True, False]
    assert rule("fast").keeps(cases, rival, 64).tolist() == [False, False, True, False]
    assert rule("fast").keeps(cases, None, 64).tolist() == [True, False, True, False]


@pytest.mark.parametrize("method", METHODS)
def test_nobody_is_dropped_by_undefined_numbers(method: str):
    rival = np.array([0.0])
    # one candidate, one example: no standard deviation
    assert rule(method).keeps(np.array([[-5.0]]), rival, 8).tolist() == [True]
    # differences that are all the same: no standard deviation either
    same = np.full((1, 8), -0.1)
    assert rule(method).keeps(same, np.zeros(8), 64).tolist() == [True]
    # ties with the rival, and with each other
    ties = np.tile(np.linspace(-2, -1, 8), (4, 1))
    assert rule(method).keeps(ties, ties[0], 8).all()
    # nobody left, no rival
    assert rule(method).keeps(np.zeros((0, 8)), rival, 64).shape == (0,)
    assert rule(method).keeps(ties, None, 64).all()


def test_certified_drops_at_the_level_that_is_shared():
    # Probabilities 1 and 0: each example's lead is 1. First bet: u = m = 1/2: no edge
    # and no bet. The bound on the bet, 9/10 / m, makes each further example at most x 1.9.
    rival, cases = np.zeros(64), np.full((2, 64), -50.0)
    dropped = {
        (births, g): next(
            m
            for m in range(1, 65)
            if not rule("certified")
            .keeps(cases[:, :m], rival[:m], 64, num_births=births, generation=g)
            .any()
        )
        for births, g in [(1, 1), (2, 1), (16, 1), (2, 4)]
    }
    # levels .05/2, .05/4, .05/32, .05/40
    assert dropped[1, 1] < dropped[2, 1] < dropped[16, 1] <= dropped[2, 4] < 32
    assert dropped[1, 1] > log(40) / log(1.9)
    default = rule("certified").keeps(cases[:, : dropped[2, 1]], rival[: dropped[2, 1]], 64)
    assert not default.any(), "births are those that are still in, where nothing else is said"


def test_leads_are_of_probabilities_where_the_numbers_are():
    first, second = np.log([0.9, 0.2]), np.log([0.5, 0.6])
    assert lead(first, second, "log_probability") == pytest.approx([0.7, 0.3])
    right, wrong = np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])
    assert lead(right, wrong, "zero_one").tolist() == [1, 0.5, 0]
    assert lead(np.array([1.0, 9, -9]), np.zeros(3), "other").tolist() == [0.75, 1, 0]


def test_the_scale_follows_from_the_fitness():
    accuracy = Fitness("accuracy", Accuracy())
    assert rule_of(RacingConfig(), accuracy).scale == "zero_one"
    by_label = Fitness("label_normalized", LabelNormalized(), demonstrations_prior=3.0)
    assert rule_of(RacingConfig(), by_label).scale == "log_probability"
    assert rule_of(RacingConfig(), replace(accuracy, self_evaluation=1.0)).scale == "other"
    assert rule_of(RacingConfig(), replace(accuracy, prompt_token_penalty=0.1)).scale == "other"
    assert rule_of(RacingConfig(), Fitness("per_token", PerToken())).scale == "other"
    assert rule_of(RacingConfig()).scale == "other"


@pytest.mark.parametrize("method", ["halving", "fast"])
def test_a_rule_goes_by_what_candidates_are_not_by_their_place(method: str):
    rng = np.random.default_rng(0)
    for _ in range(50):
        cases, rival = rng.normal(size=(7, 8)), rng.normal(size=8)
        order = rng.permutation(7)
        kept = rule(method).keeps(cases, rival, 64)
        assert (rule(method).keeps(cases[order], rival, 64) == kept[order]).all()
        # of differences only: the same for all
        assert (rule(method).keeps(cases + 5, rival + 5, 64) == kept).all()
