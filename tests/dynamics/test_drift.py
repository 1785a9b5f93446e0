"""The drift test, by hand: which statistics are too large, and when one is too small."""

import numpy as np
import pytest
from scipy.stats import chi2

from evoprompt.dynamics.drift import SEVERAL, drift_test


def test_few_generations_without_drift_are_no_evidence():
    # one parent of two drawn twice each: by chance there is none in half of such generations
    for num in range(1, SEVERAL):
        assert drift_test(np.zeros(num), np.ones(num)).p_value == 1.0
    assert drift_test(np.zeros(SEVERAL), np.ones(SEVERAL)).p_value == 0.0


@pytest.mark.parametrize("num", [1, 3, SEVERAL - 1])
def test_with_few_generations_p_is_twice_that_of_so_large_a_statistic(num: int):
    drift = np.full(num, 1.7)
    found = drift_test(drift, np.ones(num))
    assert found.p_value == pytest.approx(2 * chi2.sf((drift**2).sum(), num), rel=1e-9)


def test_with_several_p_is_two_sided():
    small, large = np.full(12, 0.2), np.full(12, 1.5)
    assert drift_test(small, np.ones(12)).p_value == pytest.approx(
        2 * chi2.cdf((small**2).sum(), 12), rel=1e-6
    )
    assert drift_test(large, np.ones(12)).p_value == pytest.approx(
        2 * chi2.sf((large**2).sum(), 12), rel=1e-6
    )


def test_drift_that_has_no_variance_is_impossible():
    found = drift_test(np.array([0.5, 0.1]), np.array([0.0, 1.0]))
    assert found.p_value == 0.0
    assert found.num_impossible == 1
