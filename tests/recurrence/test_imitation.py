"""Partial imitation: worked numbers, the fixed point against iteration, the regression against
simulation (fixed seeds, power twins).
"""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from evoprompt.recurrence.error_rate import error_rates, impurity
from evoprompt.recurrence.imitation import (
    PERFECT,
    Imitation,
    ImitationFit,
    convergence_rate,
    draw_limits,
    fit_imitation,
    fixed_point,
    partial_imitation,
    partial_limits,
    trajectory,
)

inner = st.floats(0.02, 0.98)


def test_a_partly_imitated_round_worked_by_hand():
    # e0 = .4, alpha = .7: impurity 2/9. With l = .6: .4 * .4 + .6 * 2/9 = .16 + .13333
    imitation = partial_imitation(0.4, 0.6)
    assert (imitation.floor, imitation.ceiling) == pytest.approx((0.16, 0.76))
    assert trajectory(0.4, 0.7, 0.7, 1, imitation=imitation) == pytest.approx([0.4, 0.29333333])


def test_drawn_limits_have_the_estimates_mean_and_error_and_stay_possible():
    # With 1,000 degrees of freedom Student's distribution is normal.
    floor, ceiling, deviation = draw_limits(
        ImitationFit(0.2, 0.7, 0.03, 0.05, 1_002, 0.1), 20_000, np.random.default_rng(0)
    )
    assert (floor.mean(), ceiling.mean(), deviation.mean()) == (
        pytest.approx(0.2, abs=0.001),
        pytest.approx(0.7, abs=0.002),
        pytest.approx(0.1, abs=0.001),
    )
    assert (floor.std(), ceiling.std()) == (
        pytest.approx(0.03, rel=0.03),
        pytest.approx(0.05, rel=0.03),
    )
    floor, ceiling, deviation = draw_limits(
        ImitationFit(0.5, 0.48, 0.4, None, 2), 2_000, np.random.default_rng(0)
    )
    assert ((floor >= 0) & (floor <= ceiling) & (ceiling <= 1)).all()
    assert (floor == ceiling).mean() > 0.3, "a line that falls is level"
    assert not deviation.any()


def test_few_contexts_leave_their_spread_open():
    """With two contexts of each kind 2 degrees of freedom: the quartiles of Student's distribution
    are at -+.816 and its outer 5 % beyond 4.303.
    """
    fit = ImitationFit(0.5, 0.5, 0.01, 0.01, 4, 0.02)
    floor, ceiling, deviation = draw_limits(fit, 40_000, np.random.default_rng(0))
    apart = (ceiling - floor) / 0.01 / np.sqrt(2)  # level where it falls: half of |T| is 0
    assert np.quantile(apart[apart > 0], 0.5) == pytest.approx(0.816, rel=0.03)
    assert np.quantile(apart[apart > 0], 0.95) == pytest.approx(4.303, rel=0.05)
    # sqrt(2 / chi^2_2) at the median of chi^2_2, 2 ln 2
    assert np.median(deviation) == pytest.approx(0.02 / np.sqrt(np.log(2)), rel=0.02)


def test_two_rounds_of_an_accumulated_context_worked_by_hand():
    # s = .8, 1 - c = .2, e0 = .5: h = .2; the second round adds h(.2) = .04 / (.04 + .64) = 1/17,
    # so the mean is (.2 + 1/17) / 2
    assert trajectory(0.5, 0.8, 0.8, 2, buffer="accumulate") == pytest.approx(
        [0.5, 0.2, (0.2 + 1 / 17) / 2]
    )


@given(inner, inner, inner)
def test_perfect_imitation_of_the_newest_buffer_is_the_closed_form(e, s, c):
    assert trajectory(e, s, c, 8) == pytest.approx(error_rates(e, s, c, 8), rel=1e-9, abs=1e-15)


@given(inner, inner, inner)
def test_no_imitation_leaves_the_error_rate_as_it_is(e, s, c):
    for buffer in ("replace", "accumulate"):
        assert trajectory(
            e, s, c, 4, imitation=partial_imitation(e, 0), buffer=buffer
        ) == pytest.approx([e] * 5)


@given(inner, inner, inner, inner)
def test_an_accumulated_context_lags_behind_a_replaced_one(e, s, c, share):
    assume(abs(s + c - 1) > 1e-6)
    imitation = partial_imitation(e, share)
    replaced, accumulated = (
        trajectory(e, s, c, 8, imitation=imitation, buffer=buffer)
        for buffer in ("replace", "accumulate")
    )
    assert ((replaced - accumulated) * (1 if s + c > 1 else -1) <= 1e-12).all()


def test_an_accumulated_context_decays_as_a_power_of_the_rounds():
    """Exponent -(1 - 1/Lambda) = -4/7 at alpha = .7; after ten rounds .073, where a replaced buffer
    has 1.4e-4.
    """
    accumulated = trajectory(0.4, 0.7, 0.7, 10_000, buffer="accumulate")
    exponent = np.log(accumulated[10_000] / accumulated[1_000]) / np.log(10)
    assert exponent == pytest.approx(-4 / 7, abs=1e-3)
    assert accumulated[10] == pytest.approx(0.073, abs=5e-4)
    assert trajectory(0.4, 0.7, 0.7, 10)[10] == pytest.approx(1.4e-4, abs=5e-6)


def test_a_changing_evaluator_is_taken_round_by_round():
    rates = trajectory(0.4, [0.8, 0.6], [0.7, 0.9], 2, imitation=partial_imitation(0.4, 0.5))
    first = 0.2 + 0.5 * float(impurity(0.4, 0.8, 0.7))
    assert rates == pytest.approx([0.4, first, 0.2 + 0.5 * float(impurity(first, 0.6, 0.9))])


def test_a_round_that_accepts_nothing_leaves_the_rest_undefined():
    assert np.isnan(trajectory(0.4, [0.7, 0, 0.7], [0.7, 1, 0.7], 3)).tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectory(0.4, 0.7, 0.7, 1, buffer="append"), "valid are: replace, accumulate"),
        (lambda: trajectory(1.4, 0.7, 0.7, 1), "error_rate has the value 1.4"),
        (lambda: Imitation(0.5, 0.4), "floor <= ceiling"),
        (lambda: partial_imitation(0.5, 1.2), "share has the value 1.2"),
        (lambda: fixed_point(PERFECT, -1.0), "0 or more"),
        (lambda: fit_imitation([0.1, 0.2], [0.3]), "one of each"),
        (lambda: fit_imitation([0.1, 0.2], [0.3, 0.3], [0, 5]), "above 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# The fixed point


def test_fixed_points_worked_by_hand():
    # fl = .08, ce = .88, Lambda = 7/3: -4/3 x^2 + (7/3 - .88 + .186667) x - .186667 = 0: x = (1.64
    # - sqrt(2.6896 - .995556)) / (8/3) = .126917
    imitation = partial_imitation(0.4, 0.8)
    assert fixed_point(imitation, 7 / 3) == pytest.approx(0.126917, abs=1e-6)
    # .8 * (7/3) / (.126917 + (7/3) * .873083)^2 = 1.866667 / 4.683375
    assert convergence_rate(imitation, 7 / 3) == pytest.approx(0.39857, abs=1e-5)


@given(inner, st.floats(0, 0.95), inner, inner)
def test_the_loop_goes_to_its_fixed_point_from_above_and_below(e, share, s, c):
    imitation, ratio = partial_imitation(e, share), s / (1 - c)
    end, rate = fixed_point(imitation, ratio), convergence_rate(imitation, ratio)
    assert 0 < end < 1
    assert 0 <= rate < 1
    assume(rate < 0.8)
    for start in (0.001, 0.999):
        assert trajectory(start, s, c, 120, imitation=imitation)[-1] == pytest.approx(end, abs=1e-9)


@given(inner, st.floats(0.05, 0.95), inner, inner)
def test_the_convergence_rate_is_the_slope_of_a_round(e, share, s, c):
    imitation, ratio, tiny = partial_imitation(e, share), s / (1 - c), 1e-6
    end = fixed_point(imitation, ratio)
    assume(1e-3 < end < 1 - 1e-3)
    low, high = imitation.error_rate(impurity(np.array([end - tiny, end + tiny]), s, c))
    assert (high - low) / (2 * tiny) == pytest.approx(convergence_rate(imitation, ratio), rel=1e-4)


@given(inner, st.floats(0.05, 0.95), st.floats(1.01, 20))
def test_the_fixed_point_is_never_below_the_floor(e, share, ratio):
    assert fixed_point(partial_imitation(e, share), ratio) >= (1 - share) * e


def test_few_errors_end_near_the_linear_approximation():
    assert fixed_point(partial_imitation(0.01, 0.8), 4.0) == pytest.approx(
        0.2 * 0.01 / (1 - 0.8 / 4), rel=0.01
    )


def test_fixed_points_at_the_ends():
    assert fixed_point(PERFECT, 2.0) == 0
    assert fixed_point(PERFECT, 0.5) == 1
    assert np.isnan(fixed_point(PERFECT, 1.0))
    assert fixed_point(partial_imitation(0.3, 0.5), 1.0) == pytest.approx(0.3)
    assert fixed_point(Imitation(0.1, 0.8), inf) == 0.1
    assert convergence_rate(Imitation(0.1, 0.8), inf) == 0
    assert fixed_point(Imitation(0.1, 0.8), 0.0) == pytest.approx(0.8)
    assert fixed_point(Imitation(0.0, 0.8), 0.9) == 0  # slope .8 / .9 at 0
    # (ce - Lambda) / (1 - Lambda) = .3 / .5 attracts where 0 repels; (ce - fl) Lambda / (x + Lambda
    # (1 - x))^2 = .4 / .64 there
    assert fixed_point(Imitation(0.0, 0.8), 0.5) == pytest.approx(0.6)
    assert convergence_rate(Imitation(0.0, 0.8), 0.5) == pytest.approx(0.625)
    assert fixed_point(Imitation(0.0, 0.8), 0.8) == 0
    # fl Lambda / (Lambda - 1) = .2 * 2 / 1
    assert fixed_point(Imitation(0.2, 1.0), 2.0) == pytest.approx(0.4)
    assert fixed_point(Imitation(0.2, 1.0), 1.1) == 1
    assert fixed_point(Imitation(0.0, 0.0), 0.0) == 0


@given(inner, st.floats(0, 1))
def test_limits_of_partial_imitation_for_arrays_are_those_of_each(e, share):
    floor, ceiling = partial_limits(np.array([e, 1.0]), share)
    assert (floor[0], ceiling[0]) == (
        partial_imitation(e, share).floor,
        partial_imitation(e, share).ceiling,
    )
    assert ceiling[1] == 1.0 == partial_imitation(1.0, share).ceiling


# The regression


def test_a_floor_and_ceiling_are_estimated_by_hand():
    # x = 0, .5, 1 and y = .1, .4, .5: slope .4, mean 1/3, floor .133333, ceiling .533333; residuals
    # -.1/3, .2/3, -.1/3: s^2 = .02/3. Var at the ends: s^2 (1/3 + .25 / .5) = .0055556
    fit = fit_imitation([0, 0.5, 1], [0.1, 0.4, 0.5])
    assert (fit.floor, fit.ceiling, fit.num_rounds) == (
        pytest.approx(2 / 15),
        pytest.approx(8 / 15),
        3,
    )
    assert (
        fit.floor_standard_error
        == fit.ceiling_standard_error
        == pytest.approx(np.sqrt(0.02 / 3 * 5 / 6))
    )


def test_the_regression_weighs_rounds_by_their_answers():
    """100 answers at impurity 0 and 300 at 1, so that the ends are the rounds: .1 and .5, with p
    (1-p) / m of (10.5/101) and (150.5/301).
    """
    fit = fit_imitation([0, 1], [0.1, 0.5], [100, 300])
    assert (fit.floor, fit.ceiling) == pytest.approx((0.1, 0.5))
    assert fit.floor_standard_error == pytest.approx(np.sqrt(10.5 / 101 * 90.5 / 101 / 100))
    assert fit.ceiling_standard_error == pytest.approx(np.sqrt(0.25 / 300))


def test_contexts_that_differ_are_a_level_of_their_own():
    """Rates .2 and .4 at impurity 0, .6 and .8 at 1, of 100 answers each: floor .3, ceiling .7,
    residuals of .1, every h = 1/2. With w = 100: Q = 100 * 4 * .01 = 4, sum w (1 - h) = 200, and
    v = p (1 - p) / 100 of p = 20.5, 40.5, 60.5, 80.5 over 101 and the mean v of .0020099:
    tau^2 = 4 / 200 - v. Var of the floor: the mean of its two var_r, halved.
    """
    fit = fit_imitation([0, 0, 1, 1], [0.2, 0.4, 0.6, 0.8], [100] * 4)
    p = np.array([20.5, 40.5, 60.5, 80.5]) / 101
    v = p * (1 - p) / 100
    assert v.mean() == pytest.approx(0.0020099, abs=1e-6)
    tau = np.sqrt(0.02 - v.mean())
    assert (fit.floor, fit.ceiling) == pytest.approx((0.3, 0.7))
    assert fit.context_deviation == pytest.approx(tau)
    assert fit.floor_standard_error == pytest.approx(np.sqrt((v[:2].mean() + tau**2) / 2))
    alike = fit_imitation([0, 0, 1, 1], [0.3, 0.3, 0.7, 0.7], [100] * 4)
    assert alike.context_deviation == 0
    assert fit_imitation([0, 1], [0.3, 0.7], [100] * 2).context_deviation is None


def test_the_variance_between_contexts_is_unbiased():
    """tau = .12, four contexts of each kind with 100 answers each: the mean of tau^2 of 2,000 fits
    has an sd near .0002; floors and ceilings far from 0 keep it from being cut.
    """
    rng, ends = np.random.default_rng(7), np.repeat([0.4, 0.6], 4)
    rates = rng.binomial(100, np.clip(rng.normal(ends, 0.12, (2_000, 8)), 0, 1)) / 100
    impurities = np.repeat([0.0, 1.0], 4)
    found = [fit_imitation(impurities, y, [100] * 8).context_deviation ** 2 for y in rates]
    assert np.mean(found) == pytest.approx(0.0144, abs=0.001)


def test_regressions_that_are_undefined():
    assert fit_imitation([0.2, 0.2, 0.2], [0.1, 0.2, 0.3]) is None
    assert fit_imitation([0.2], [0.1]) is None
    assert fit_imitation([], []) is None
    two = fit_imitation([0.0, 1.0], [0.1, 0.5])
    assert (two.floor_standard_error, two.ceiling_standard_error) == (None, None)


def test_an_estimate_beyond_the_possible_is_brought_back_to_it():
    assert fit_imitation([0.5, 0.6], [0.1, 0.3]).imitation == Imitation(0.0, 1.0)
    level = fit_imitation([0.0, 1.0], [0.4, 0.2]).imitation
    assert (level.floor, level.ceiling) == pytest.approx((0.3, 0.3))


@given(inner, inner, st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True), st.booleans())
def test_a_line_without_noise_is_found_whatever_the_weights(one, other, impurities, weighted):
    assume(np.ptp(impurities) > 0.01)
    imitation = Imitation(min(one, other), max(one, other))
    answers = [10 * (i + 1) for i in range(len(impurities))] if weighted else None
    fit = fit_imitation(impurities, imitation.error_rate(impurities), answers)
    assert (fit.floor, fit.ceiling) == pytest.approx((imitation.floor, imitation.ceiling), abs=1e-9)


def covered(num_answers_known: bool, scale: float = 1.0) -> tuple[int, int]:
    """How many intervals of 2,000 simulated regressions cover the floor .15 and the ceiling .7."""
    rng = np.random.default_rng(5)
    x, m = np.array([0.4, 0.3, 0.2, 0.12, 0.05]), np.array([200, 200, 400, 200, 100])
    quantile = stats.norm.ppf(0.975) if num_answers_known else stats.t.ppf(0.975, 3)
    floor = ceiling = 0
    for wrong in rng.binomial(m, 0.15 + 0.55 * x, size=(2_000, 5)):
        fit = fit_imitation(x, wrong / m, m if num_answers_known else None)
        floor += abs(fit.floor - 0.15) < scale * quantile * fit.floor_standard_error
        ceiling += abs(fit.ceiling - 0.7) < scale * quantile * fit.ceiling_standard_error
    return floor, ceiling


@pytest.mark.parametrize("num_answers_known", [True, False])
def test_intervals_of_floor_and_ceiling_cover_at_their_rate(num_answers_known):
    """Nominal .95; 2,000 simulations have sd .005, and 4 of them are allowed (false-alarm
    probability 6e-5 for a fresh seed).
    """
    assert all(abs(count / 2_000 - 0.95) < 0.02 for count in covered(num_answers_known))
    assert all(count / 2_000 < 0.8 for count in covered(num_answers_known, 0.5)), (
        "power twin: half the standard error"
    )
