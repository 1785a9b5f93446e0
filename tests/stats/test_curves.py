"""Curves through few points: known ones are found, by hand and exactly; their intervals cover."""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import pytest

from evoprompt.stats.curves import Law, fit, fit_law, held_out_error

X = np.array([3.0, 2.6, 2.2, 2.0, 1.9])


def logistic(x, k, m):
    return 1 / (1 + np.exp(k * (x - m)))


def test_a_line_by_hand():
    """x 0 1 2, y 0 1 1: b = .5, a = 1/6; residuals 1/6 -1/3 1/6, s^2 = 1/6; var b = s^2 / 2."""
    curve = fit("linear", np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]))
    assert curve.parameters == pytest.approx((1 / 6, 0.5))
    assert curve.rmse == pytest.approx(sqrt(1 / 18))
    assert curve.errors[1] == pytest.approx(sqrt(1 / 12))
    assert curve.where(1.0).value == pytest.approx(5 / 3)
    # y 2/3 at the mean of x: there the curve's error is s / sqrt(3), and x's is that over b
    assert curve.where(2 / 3).error == pytest.approx(sqrt(1 / 18) / 0.5)


@pytest.mark.parametrize(("k", "m"), [(2.2, 1.7), (11.0, 2.1), (0.7, 3.0), (-1.5, 2.0)])
def test_a_logistic_curve_without_noise_is_found_exactly(k, m):
    curve = fit("logistic", X, logistic(X, k, m))
    assert curve.parameters == pytest.approx((k, m), abs=1e-7)
    assert curve.where(0.9).value == pytest.approx(m - log(9) / k)
    assert held_out_error("logistic", X, logistic(X, k, m)) == pytest.approx(0, abs=1e-7)
    # power twin: a line does not predict a curve
    if k == 2.2:
        assert abs(held_out_error("linear", X, logistic(X, k, m))) > 0.001


def test_weights_are_like_so_many_points():
    y = np.array([0.1, 0.2, 0.5, 0.55, 0.7])
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0])
    times = weights.astype(int)
    for form in ("linear", "logistic"):
        one = fit(form, X, y, weights)
        many = fit(form, np.repeat(X, times), np.repeat(y, times))
        assert one.parameters == pytest.approx(many.parameters, rel=1e-6)


def test_where_nothing_is_reached_it_says_so():
    flat = fit("linear", X, np.full(5, 0.5))
    assert flat.where(0.9).value in (inf, -inf) or abs(flat.where(0.9).value) > 1e6
    with pytest.raises(ValueError, match="3 points"):
        fit("linear", X[:2], X[:2])
    assert np.isnan(held_out_error("linear", X[:3], X[:3]))


def test_power_laws_are_found_and_say_what_a_loss_costs():
    cost = 10.0 ** np.arange(6)
    plain = fit_law(cost, 2.5 * cost**-0.05)
    assert (plain.factor, plain.exponent) == pytest.approx((2.5, 0.05))
    assert plain.cost(2.5 * 1e9**-0.05) == pytest.approx(1e9)
    offset = fit_law(cost, 1.5 + 1.2 * cost**-0.2, offset=True)
    assert (offset.least, offset.factor, offset.exponent) == pytest.approx(
        (1.5, 1.2, 0.2), abs=1e-4
    )
    assert offset.cost(1.4) == inf
    assert offset.cost(1.6) == pytest.approx(12**5, rel=1e-2)
    assert Law(0.0, 2.57, 0.048).cost(-0.1) == inf
    with pytest.raises(ValueError, match="4 models"):
        fit_law(cost[:3], 1 / cost[:3], offset=True)


@pytest.mark.statistical
@pytest.mark.parametrize("form", ["linear", "logistic"])
def test_intervals_of_parameters_cover(form):
    """1,500 draws: .95 is met within .93 and .97 (its standard error is .006)."""
    rng = np.random.default_rng(0)
    x = np.linspace(1.6, 3.0, 8)
    truth = (0.9, -0.25) if form == "linear" else (2.2, 1.9)
    y = truth[0] + truth[1] * x if form == "linear" else logistic(x, *truth)
    hits = np.zeros(2)
    for _ in range(1500):
        curve = fit(form, x, y + rng.normal(0, 0.02, 8), near=truth)
        for i in range(2):
            low, high = curve.interval(i)
            hits[i] += low <= truth[i] <= high
    assert ((hits / 1500 > 0.93) & (hits / 1500 < 0.97)).all()
