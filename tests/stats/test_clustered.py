"""Standard errors of means over draws and examples: by hand, and against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.stats.clustered import clustered_mean


def test_a_mean_without_noise_has_the_errors_of_both():
    # draws have means 1 and 4: variance 4.5 / 2 = 2.25; examples 1.5, 1.5, 4.5: 3 / 3 = 1
    found = clustered_mean(np.array([[0.0, 0.0, 3.0], [3.0, 3.0, 6.0]]))
    assert found.value == 2.5
    assert found.error_draws == pytest.approx(1.5)
    assert found.error_examples == pytest.approx(1.0)
    assert found.error == pytest.approx(3.25**0.5)


def test_noise_is_not_counted_twice():
    # both cluster to 0.125 / 2 = 0.0625; residuals of +-0.25 have a mean square of 0.25, and
    # 0.25 / 4 = 0.0625 is taken off
    found = clustered_mean(np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert (found.value, found.error_examples, found.error_draws) == (0.75, 0.25, 0.25)
    assert found.error == pytest.approx(0.25)


def test_one_draw_has_no_error_of_draws_and_one_example_none():
    # 1, 0, 1, 0: variance 1/3, over 4
    found = clustered_mean(np.array([[1.0, 0.0, 1.0, 0.0]]))
    assert found.error_draws is None
    assert found.error == found.error_examples == pytest.approx((1 / 12) ** 0.5)
    assert clustered_mean(np.array([[1.0]])).error is None


def test_the_error_is_that_of_simulated_means():
    """400 sets of 4 draws of 25 examples; the mean variance has a standard error of about 3 %, and
    four of them are allowed. Power twin: as if all 100 values were independent."""
    rng = np.random.default_rng(3)
    truth = 0.3**2 / 4 + 0.5**2 / 25 + 1.0 / 100
    found, naive = [], []
    for _ in range(400):
        values = rng.normal(0, 0.3, (4, 1)) + rng.normal(0, 0.5, (1, 25)) + rng.normal(size=(4, 25))
        found.append((clustered_mean(values).error or 0.0) ** 2)
        naive.append(values.var(ddof=1) / values.size)
    assert abs(np.mean(found) / truth - 1) < 0.12
    assert np.mean(naive) / truth < 0.5
