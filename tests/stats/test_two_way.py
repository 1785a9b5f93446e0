"""The additive model: worked numbers, the closed form where all met all, and the likelihood itself
where they did not.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from evoprompt.stats.two_way import adjusted_means, side_by_side, two_way


def restricted_log_likelihood(cases: np.ndarray, noise: float, spread: float) -> float:
    """An obvious twin: the multivariate normal density of all that no difficulty explains."""
    rows, columns = np.nonzero(~np.isnan(cases))
    x = cases[rows, columns]
    v = noise * np.eye(len(x)) + spread * (rows[:, None] == rows[None, :])
    design = (columns[:, None] == np.unique(columns)[None, :]).astype(float)
    inverse = np.linalg.inv(v)
    information = design.T @ inverse @ design
    residual = x - design @ np.linalg.solve(information, design.T @ inverse @ x)
    return -0.5 * float(
        np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + residual @ inverse @ residual
    )


def halved(rng: np.random.Generator, policies: int, spread: float) -> np.ndarray:
    """Cases of a race: the better half goes on from 4 examples to 8, of them to 16."""
    true = rng.normal(0, spread, (policies, 1)) + rng.normal(0, 1, 16)
    every = true + rng.normal(0, 1, (policies, 16))
    alive, met = np.arange(policies), np.full(policies, 4)
    for m in (8, 16):
        alive = alive[np.argsort(-every[alive, : m // 2].mean(axis=1))][: len(alive) // 2]
        met[alive] = m
    return side_by_side([row[:m] for row, m in zip(every, met, strict=True)])


def test_two_policies_on_two_examples_by_hand():
    """Means 1 and 3; residuals of (0, 2), (4, 2) beside policy and example are all 1 in size: their
    squares sum to 4 over (K-1)(n-1) = 1, so sigma^2 = 4; tau^2 = var(1, 3) - 4/2 = 0.
    """
    found = two_way(np.array([[0.0, 2.0], [4.0, 2.0]]))
    assert found is not None
    assert (found.noise, found.spread) == (pytest.approx(4), 0)


def test_three_policies_on_two_examples_by_hand():
    """Means 0, 3, 9 and example means 3, 5 about 4. Residuals x - mean_i - (b_e - 4): (0, 0),
    (1, -1), (-1, 1), squares 4 over (3-1)(2-1) = 2: sigma^2 = 2. var(0, 3, 9) = 21, so tau^2 = 21 -
    2/2 = 20; the excesses are -4, -1, 5.
    """
    cases = np.array([[-1.0, 1.0], [3.0, 3.0], [7.0, 11.0]])
    found = two_way(cases)
    assert found is not None
    assert found.noise == pytest.approx(2, rel=1e-5)
    assert found.spread == pytest.approx(20, rel=1e-4)
    np.testing.assert_allclose(found.difficulty, [3, 5], atol=1e-9)
    np.testing.assert_allclose(found.excess, [-4, -1, 5], atol=1e-9)
    assert found.num_examples.tolist() == [2, 2, 2]


def test_where_all_met_all_it_is_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    cases = rng.normal(0, 0.7, (12, 1)) + rng.normal(0, 2, 9) + rng.normal(0, 1, (12, 9))
    means = cases.mean(axis=1)
    residuals = cases - cases.mean(axis=0) - means[:, None] + means.mean()
    noise = (residuals**2).sum() / (11 * 8)
    found = two_way(cases)
    assert found is not None
    assert found.noise == pytest.approx(noise, rel=1e-5)
    assert found.spread == pytest.approx(means.var(ddof=1) - noise / 9, rel=1e-3)


def test_no_other_variances_are_likelier_where_policies_met_different_numbers():
    rng = np.random.default_rng(6)
    for spread in (0.5, 1.0):
        cases = halved(rng, 12, spread)
        found = two_way(cases)
        assert found is not None
        assert found.spread > 0
        best = restricted_log_likelihood(cases, found.noise, found.spread)
        for a, b in product((0.95, 1, 1.05), (0.9, 1, 1.1)):
            other = restricted_log_likelihood(cases, a * found.noise, b * found.spread)
            assert other <= best + 1e-6


def test_policies_that_do_not_differ_have_nothing_of_their_own():
    cases = np.tile([1.0, 2.0, 5.0], (4, 1)) + np.array(
        [[1, -1, 0], [-1, 1, 0], [0, 1, -1], [0, -1, 1]]
    )
    found = two_way(cases)
    assert found is not None
    assert found.spread == 0
    np.testing.assert_allclose(found.excess, 0, atol=1e-12)


def test_cases_without_any_noise_are_all_the_policies_own():
    found = two_way(np.array([[0.0, 1, 2], [1, 2, 3], [5, 6, 7]]))
    assert found is not None
    np.testing.assert_allclose(found.excess, [-2, -1, 3], atol=1e-9)
    assert found.noise < 1e-2
    flat = two_way(np.ones((3, 4)))
    assert flat is not None
    assert (flat.noise, flat.spread) == (0, 0)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (0, 0)])
def test_too_little_is_undefined(shape):
    assert two_way(np.random.default_rng(0).normal(size=shape)) is None


def test_an_example_that_nobody_met_says_nothing():
    cases = np.array([[-1.0, np.nan, 1.0], [3.0, np.nan, 3.0], [7.0, np.nan, 11.0]])
    found, less = two_way(cases), two_way(cases[:, [0, 2]])
    assert found is not None
    assert less is not None
    assert np.isnan(found.difficulty[1])
    assert found.excess.tolist() == less.excess.tolist()


def test_means_are_those_of_the_cases_where_all_met_all():
    cases = np.random.default_rng(7).normal(size=(4, 6))
    np.testing.assert_array_equal(adjusted_means(cases), cases.mean(axis=1))


def test_nobody_gains_by_an_example_that_the_other_did_not_meet():
    """Both met the first: 1 and 2, so the second is 1 better, though its mean is 2 and the first
    one's 3. The difficulty of the second example is 5 - a_1.
    """
    first, second = adjusted_means(np.array([[1.0, 5.0], [2.0, np.nan]]))
    assert second - first == pytest.approx(1)


def test_policies_are_compared_by_way_of_third_ones():
    """1 is 3 better than 0 on the first example, and 2 is 4 better than 1 on the second."""
    nan = np.nan
    found = adjusted_means(np.array([[0.0, nan], [3.0, 1.0], [nan, 5.0]]))
    np.testing.assert_allclose(np.diff(found), [3, 4])


def test_adjusted_means_solve_the_least_squares():
    rng = np.random.default_rng(8)
    cases = halved(rng, 9, 1.0)
    rows, columns = np.nonzero(~np.isnan(cases))
    design = np.concatenate(
        [rows[:, None] == np.arange(9), columns[:, None] == np.arange(16)], axis=1
    ).astype(float)
    solution = np.linalg.lstsq(design, cases[rows, columns], rcond=None)[0]
    expected = solution[:9] + solution[9:].mean()
    np.testing.assert_allclose(adjusted_means(cases), expected, atol=1e-9)


def test_policies_without_a_common_example_are_told_to_be_equal():
    found = adjusted_means(np.array([[9.0, np.nan], [np.nan, 1.0]]))
    assert found[0] == pytest.approx(found[1])
