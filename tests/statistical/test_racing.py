"""Races keep their promise in simulation: correlated answers, ties, probabilities, right and wrong.

Each policy answers 60 examples by ability, how hard an example is, and what is its own.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from evoprompt.arrays import Floats
from evoprompt.config.evolution import RacingConfig
from evoprompt.evolution.racing import Rule, Scale, refuted
from evoprompt.stats.betting import certified_winner

pytestmark = pytest.mark.statistical

NUM, RACES = 60, 2000
LOOKS = range(6, NUM + 1, 6)


def level_pairs(scale: Scale, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two policies of exactly equal mean, RACES orders: the second has the first's numbers,
    exchanged among 40 of the examples.
    """
    strength = rng.normal(0.8, 1.2, NUM) + rng.normal(0, 1, NUM)
    first = (strength > 0).astype(float) if scale == "zero_one" else -np.logaddexp(0, -strength)
    second = first.copy()
    second[:40] = np.roll(first[:40], 7)
    orders = rng.permuted(np.tile(np.arange(NUM), (RACES, 1)), axis=1)
    return first[orders], second[orders]


def errors(first: Floats, second: Floats, scale: Scale, level: float) -> float:
    """How often the second, which is as good, is refuted before all examples are seen."""
    return float(refuted(second[:, None, :-1], first[:, :-1], NUM, level, scale).mean())


def t_errors(first: Floats, second: Floats, level: float) -> float:
    """The same by a one-sided paired t-test that looks ten times."""
    critical = {0.05: 1.67, 0.2: 0.85}[level]  # Student's quantiles at 59 degrees of freedom
    difference = np.exp(first) - np.exp(second)
    found = np.zeros(len(first), dtype=bool)
    for m in LOOKS:
        d = difference[:, :m]
        error = d.std(axis=1, ddof=1) / sqrt(m)
        found |= (error > 1e-12) & (d.mean(axis=1) > critical * error)
    return float(found.mean())


@pytest.mark.parametrize("scale", ["log_probability", "zero_one"])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_one_comparison_errs_at_most_at_its_level(scale: Scale, level: float):
    """2,000 orders: the rate may be above the level by 4 sd of a rate at the level (false-alarm
    probability below 4e-5 each).
    """
    rng = np.random.default_rng(1)
    first, second = level_pairs(scale, rng)
    bound = level + 4 * sqrt(level * (1 - level) / RACES)
    assert errors(first, second, scale, level) <= bound
    logs = first if scale == "log_probability" else np.log(np.maximum(first, 1e-300))
    others = second if scale == "log_probability" else np.log(np.maximum(second, 1e-300))
    assert t_errors(logs, others, level) > bound, "power twin: looks ten times, pays for one"


def test_a_run_of_generations_and_rivals_errs_at_most_at_alpha():
    """3 generations of 4 births, all level with the rival, at alpha 0.5 so that errors would show:
    400 runs, 4 sd. Without sharing (generation 1 of one birth each time) it is broken.
    """
    rng, alpha, runs = np.random.default_rng(2), 0.5, 400
    shared, unshared = 0, 0
    rule = Rule(RacingConfig(method="certified", first=15, alpha=alpha), "zero_one")
    for _ in range(runs):
        wrong = np.zeros(2, dtype=bool)
        for generation in (1, 2, 3):
            rival = (rng.random(NUM) < 0.6).astype(float)
            cases = np.array([rng.permutation(rival) for _ in range(4)])
            for m in rule.rungs(NUM)[:-1]:
                for k, (births, g) in enumerate([(4, generation), (1, 1)]):
                    kept = rule.keeps(cases[:, :m], rival[:m], NUM, num_births=births, generation=g)
                    wrong[k] |= not kept.all()
        shared, unshared = shared + int(wrong[0]), unshared + int(wrong[1])
    bound = alpha + 4 * sqrt(alpha * (1 - alpha) / runs)
    assert shared / runs <= bound
    assert unshared / runs > bound, "power twin"


def test_a_winner_is_seldom_named_among_equals_and_mostly_where_it_is_clear():
    """Three equally good, 500 samples of 60: at most 0.05, 4 sd allowed. Power twin: whoever is
    ahead by one standard error of the difference, without a correction, is named more often.
    """
    rng, samples = np.random.default_rng(3), 500
    named = naive = clear = 0
    for _ in range(samples):
        hard = rng.normal(0.5, 1, NUM)
        right = (hard + rng.normal(0, 1, (3, NUM)) > 0).astype(float)
        named += certified_winner(right, 0.05) is not None
        ahead = right[:, None] - right[None]
        with np.errstate(invalid="ignore", divide="ignore"):
            sure = ahead.mean(2) > 1.0 * ahead.std(2, ddof=1) / sqrt(NUM)
        np.fill_diagonal(sure, True)
        naive += sure.all(axis=1).any()
        strong = (hard + np.array([[0.0], [0.0], [2.5]]) + rng.normal(0, 1, (3, NUM)) > 0) * 1.0
        clear += certified_winner(strong, 0.05) == 2
    bound = 0.05 + 4 * sqrt(0.05 * 0.95 / samples)
    assert named / samples <= bound
    assert naive / samples > bound
    assert clear / samples > 0.5
