"""Exact tests: worked numbers, scipy as the twin, and their rates of false alarms computed
exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evoprompt.stats.proportions import binomial_probabilities, binomial_test, same_proportion_test

samples = st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_two_throws_by_hand():
    assert binomial_probabilities(2, 0.25).tolist() == pytest.approx([0.5625, 0.375, 0.0625])
    assert binomial_test(2, 2, 0.25) == pytest.approx(0.0625)
    assert binomial_test(0, 2, 0.5) == pytest.approx(0.5)  # none and both are equally unlikely


def test_the_tasting_lady_by_hand():
    # 3 of 4 against 1 of 4: tables 0..4 have C(4,k)^2 / 70 = 1, 16, 36, 16, 1; no more likely than
    # 16: 34 / 70
    assert same_proportion_test(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert same_proportion_test(4, 4, 0, 4) == pytest.approx(2 / 70)


@given(st.integers(0, 60), st.sampled_from([0.0, 1.0]) | st.floats(1e-6, 1 - 1e-6))
def test_probabilities_are_those_of_scipy_and_sum_to_one(n, p):
    law = binomial_probabilities(n, p)
    assert law == pytest.approx(stats.binom.pmf(np.arange(n + 1), n, p), rel=1e-9, abs=1e-300)
    assert law.sum() == pytest.approx(1, abs=1e-12)


def test_certain_outcomes_are_exact_for_each_of_an_array():
    assert binomial_probabilities(30, np.array([[0.0], [1.0]]))[:, 0, [0, 30]].tolist() == [
        [1, 0],
        [0, 1],
    ]
    assert binomial_test(0, 30, 0.0) == 1
    assert binomial_test(1, 30, 0.0) == 0


@given(samples, st.floats(0.01, 0.99))
def test_the_binomial_test_is_that_of_scipy(sample, p):
    x, n = sample
    assert binomial_test(x, n, p) == pytest.approx(
        stats.binomtest(x, n, p).pvalue if n else 1, rel=1e-6
    )


@given(samples, samples)
def test_the_test_of_two_proportions_is_that_of_scipy(first, second):
    (x, n), (y, m) = first, second
    expected = stats.fisher_exact([[x, n - x], [y, m - y]]).pvalue if n and m else 1
    assert same_proportion_test(x, n, y, m) == pytest.approx(expected, rel=1e-6)
    assert same_proportion_test(x, n, y, m) == pytest.approx(
        same_proportion_test(n - x, n, m - y, m), rel=1e-6
    )


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5])
def test_false_alarms_are_no_more_than_the_level(p):
    """Summed over all pairs of samples of 30 and 20: not simulated."""
    one, two = binomial_probabilities(30, p), binomial_probabilities(20, p)
    rejected = np.array(
        [[same_proportion_test(x, 30, y, 20) < 0.05 for y in range(21)] for x in range(31)]
    )
    assert one @ rejected @ two <= 0.05
    other = binomial_probabilities(20, p + 0.45)
    assert one @ rejected @ other > 0.75, "power twin: proportions .45 apart must be told apart"


@pytest.mark.parametrize(
    "call",
    [
        lambda: binomial_test(3, 2, 0.5),
        lambda: same_proportion_test(1, 2, -1, 3),
        lambda: binomial_probabilities(3, 1.5),
    ],
)
def test_impossible_counts_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
