"""Intervals: worked numbers, and coverage by simulation (fixed seeds; false-alarm probability
stated).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from evoprompt.stats.resampling import paired_bootstrap_interval, wilson_interval


def test_wilson_worked_by_hand():
    # p = 0.8, n = 10, z = 1.96: centre (0.8 + 0.19207) / 1.38415 = 0.71674, half 0.22661
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_wilson_stays_inside_and_is_mirrored():
    assert wilson_interval(0, 20)[0] == 0
    low, high = wilson_interval(3, 20)
    assert wilson_interval(17, 20) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
        wilson_interval(successes, trials)


def test_wilson_covers_at_its_rate():
    """Exact coverage at p = 0.8, n = 100 is 0.9475 (sum over the binomial); 4,000 draws have sd
    0.0035, and 5 sd is allowed.
    """
    counts = np.random.default_rng(1).binomial(100, 0.8, size=4000)
    covered = np.mean(
        [wilson_interval(int(k), 100)[0] <= 0.8 <= wilson_interval(int(k), 100)[1] for k in counts]
    )
    assert abs(covered - 0.9475) < 5 * sqrt(0.95 * 0.05 / 4000)
    half = np.mean([abs(k / 100 - 0.8) < 0.04 for k in counts])
    assert half < 0.8, "power twin: an interval of half the width must be found out"


def test_the_paired_bootstrap_covers_the_mean_difference():
    """Nominal 0.95; the percentile interval at n = 100 covers about 0.945. 300 draws have sd
    0.0126, 5 sd is allowed.
    """
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        differences = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=100)
        low, high = paired_bootstrap_interval(differences, rng)
        hits += low <= 0.2 <= high
    assert abs(hits / 300 - 0.945) < 0.063


def test_equal_answers_have_a_difference_of_nothing():
    assert paired_bootstrap_interval(np.zeros(5), np.random.default_rng(0)) == (0, 0)
    with pytest.raises(ValueError, match="no examples"):
        paired_bootstrap_interval(np.zeros(0), np.random.default_rng(0))
