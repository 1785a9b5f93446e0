"""Invariants: (1) a round divides the odds of an error by Lambda; (2) the closed form is the
iteration; (3) a round is a Price equation.

Simulations have fixed seeds. A check allows 5 standard errors, a false-alarm probability of 6e-7
for a fresh seed, and has a power twin.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf, log, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference.self_evaluation_loop import simulate_loop

from evoprompt.dynamics.population import births_of
from evoprompt.dynamics.price import generation_terms, selection_terms
from evoprompt.recurrence.error_rate import (
    FixedPoint,
    abstaining_ratio,
    acceptance_rate,
    error_rates,
    fixed_points,
    improves,
    impurity,
    likelihood_ratio,
    rounds_needed,
    specificity_of_mix,
    typed_error_rates,
)

inner = st.floats(0.01, 0.99)


def logit(rate):
    return np.log(rate) - np.log1p(-rate)


# One round


def test_a_round_worked_by_hand():
    # e = .4, s = .7, c = .8: accepted wrong .4 * .2 = .08, accepted right .6 * .7 = .42; acceptance
    # .5, impurity .08 / .5 = .16.
    assert acceptance_rate(0.4, 0.7, 0.8) == pytest.approx(0.5)
    assert impurity(0.4, 0.7, 0.8) == pytest.approx(0.16)
    assert likelihood_ratio(0.7, 0.8) == pytest.approx(3.5)


def test_a_round_of_one_accuracy_for_right_and_wrong_answers():
    # alpha = .7 for both: .4 * .3 / (.4 * .3 + .6 * .7) = .12 / .54
    assert impurity(0.4, 0.7, 0.7) == pytest.approx(2 / 9)


def test_numbers_and_arrays_agree():
    grid = np.array([[0.0, 0.3], [0.6, 1.0]])
    together = impurity(grid, 0.8, np.array([0.5, 0.9]))
    assert together.shape == (2, 2)
    assert together[1, 0] == impurity(0.6, 0.8, 0.5)
    assert isinstance(float(impurity(0.6, 0.8, 0.5)), float)


@pytest.mark.parametrize("rates", [(0.5, 0, 1), (1, 0.9, 1), (0, 0, 0.3)])
def test_impurity_is_undefined_where_nothing_is_accepted(rates):
    assert acceptance_rate(*rates) == 0
    assert np.isnan(impurity(*rates))


def test_ratios_at_the_ends():
    assert likelihood_ratio(0.5, 1) == inf
    assert np.isnan(likelihood_ratio(0, 1))
    assert likelihood_ratio(0, 0.5) == 0


@pytest.mark.parametrize("name", ["error_rate", "sensitivity", "specificity"])
def test_a_rate_outside_its_range_is_refused_by_name(name):
    rates = {"error_rate": 0.5, "sensitivity": 0.5, "specificity": 0.5} | {
        name: np.array([0.2, 1.5])
    }
    with pytest.raises(ValueError, match=f"{name} has the value 1.5; a rate is between 0 and 1"):
        impurity(**rates)


@given(inner, inner, inner)
def test_a_round_divides_the_odds_by_the_likelihood_ratio(e, s, c):
    after = float(impurity(e, s, c))
    assert after / (1 - after) == pytest.approx(e / (1 - e) / (s / (1 - c)), rel=1e-9)


@given(inner, inner, inner)
def test_a_round_improves_if_and_only_if_sensitivity_and_specificity_exceed_one_together(e, s, c):
    assume(abs(s + c - 1) > 1e-9)
    assert improves(s, c) == (impurity(e, s, c) < e)
    assert improves(s, c) == (likelihood_ratio(s, c) > 1)


def test_one_accuracy_below_at_and_above_one_half():
    for alpha, sign in [(0.4, 1), (0.5, 0), (0.6, -1)]:
        assert (
            np.sign(np.round(error_rates(0.3, alpha, alpha, 5)[1:] - 0.3, 12)).tolist()
            == [sign] * 5
        )
        assert improves(alpha, alpha) == (sign < 0)


# Rounds in closed form


def test_four_rounds_worked_by_hand():
    # odds 1.5 -> 1.5 (3/7)^n: .642857, .275510, .118076, .050604; rate = odds / (1 + odds). ln(1.5
    # * 19) / ln(7/3) = 3.95 rounds to .05.
    assert error_rates(0.6, 0.7, 0.7, 4) == pytest.approx(
        [0.6, 0.391304, 0.216, 0.105606, 0.048167], abs=1e-6
    )
    assert rounds_needed(0.6, 0.05, 7 / 3) == 4


@given(inner, inner, inner)
def test_the_closed_form_is_the_iteration(e, s, c):
    rates = error_rates(e, s, c, 12)
    for before, after in pairwise(rates):
        assert after == pytest.approx(float(impurity(before, s, c)), rel=1e-9, abs=1e-15)


@given(inner, st.lists(st.tuples(inner, inner), max_size=8))
def test_the_closed_form_holds_for_an_evaluator_that_changes(e, evaluators):
    s, c = np.array(evaluators).reshape(-1, 2).T
    expected = [e]
    for sensitivity, specificity in evaluators:
        expected.append(float(impurity(expected[-1], sensitivity, specificity)))
    assert error_rates(e, s, c, len(evaluators)) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(inner, inner, inner)
def test_the_logit_falls_by_the_log_likelihood_ratio_in_every_round(e, s, c):
    assume(abs(log(s / (1 - c))) < 3)
    assert np.diff(logit(error_rates(e, s, c, 5))) == pytest.approx(
        -log(s / (1 - c)), rel=1e-6, abs=1e-6
    )


def test_an_evaluator_that_learns_too_late_stops_above_zero():
    # ln Lambda_r = 2^-r sums to 1: from .5 the odds end at e^-1, the rate at 1 / (1 + e) = .268941
    ratio = np.exp(2.0 ** -np.arange(1, 41))
    assert error_rates(0.5, ratio / 4, np.full(40, 0.75), 40)[-1] == pytest.approx(
        0.2689414, abs=1e-7
    )


def test_the_ends_are_exact_and_the_undefined_stays_undefined():
    assert error_rates(0, 0.7, 1, 3).tolist() == [0, 0, 0, 0]
    assert error_rates(1, 0.7, 0.8, 2).tolist() == [1, 1, 1]
    assert error_rates(0.5, 0.7, 1, 2).tolist() == [0.5, 0, 0]
    assert error_rates(0.5, 0, 0.2, 2).tolist() == [0.5, 1, 1]
    assert np.isnan(error_rates(0.5, [0.7, 0, 0.7], [0.7, 1, 0.7], 3)).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert error_rates(0.3, 0.9, 0.9, 0).tolist() == [0.3]
    assert error_rates(0.3, 0.9, 0.9, 5_000)[-1] == 0


@pytest.mark.parametrize(
    "arguments", [(0.5, [0.7, 0.8], 0.7, 3), (0.5, 0.7, 0.7, -1), (0.5, 0.7, [[0.7]], 1)]
)
def test_rates_of_another_number_of_rounds_are_refused(arguments):
    with pytest.raises(ValueError, match="a rate for all rounds or one for each"):
        error_rates(*arguments)


@given(inner, inner, st.floats(1.05, 50))
def test_rounds_needed_is_the_least_number_that_suffices(e, target, ratio):
    needed = rounds_needed(e, target, ratio)

    def after(n):
        return e / (e + (1 - e) * ratio**n)

    assert after(needed) <= target * (1 + 1e-7)
    assert needed == 0 or after(needed - 1) > target


def test_rounds_needed_at_the_ends():
    assert rounds_needed(0.5, 0.2, 4) == 1  # exactly, whatever rounding does
    assert rounds_needed(0.5, 0.5, 1) == 0
    assert rounds_needed(0.5, 0.2, 1) is None
    assert rounds_needed(1, 0.2, 9) is None
    assert rounds_needed(0.5, 0.2, inf) == 1
    for given_arguments in [
        (0.5, 0, 2),
        (0.5, 1, 2),
        (1.5, 0.5, 2),
        (0.5, 0.4, -1),
        (0.5, 0.4, np.nan),
    ]:
        with pytest.raises(ValueError, match="expected an error rate"):
            rounds_needed(*given_arguments)


@given(inner, inner)
def test_slopes_at_the_fixed_points_are_those_of_a_round(s, c):
    ratio, tiny = float(likelihood_ratio(s, c)), 1e-8
    zero, one = fixed_points(ratio)
    assert (zero.error_rate, one.error_rate) == (0, 1)
    assert float(impurity(tiny, s, c)) / tiny == pytest.approx(zero.slope, rel=1e-5)
    assert (1 - float(impurity(1 - tiny, s, c))) / tiny == pytest.approx(one.slope, rel=1e-5)


def test_which_fixed_point_attracts():
    assert [p.attracts for p in fixed_points(2)] == [True, False]
    assert [p.attracts for p in fixed_points(0.5)] == [False, True]
    assert [p.attracts for p in fixed_points(1)] == [False, False]
    assert fixed_points(0) == (FixedPoint(0, inf), FixedPoint(1, 0))
    with pytest.raises(ValueError, match="0 or more"):
        fixed_points(-1)


# Types of error and abstention


def test_two_types_of_error_worked_by_hand():
    # right .5, types .3 and .2; accepted .8, .2, .8: after one round .4 : .06 : .16 of .62; after
    # two .32 : .012 : .128 of .46
    rates = typed_error_rates([0.3, 0.2], 0.8, [0.2, 0.8], 2)
    np.testing.assert_allclose(
        rates, [[0.3, 0.2], [0.06 / 0.62, 0.16 / 0.62], [0.012 / 0.46, 0.128 / 0.46]]
    )


@given(st.lists(st.tuples(st.floats(0.01, 0.2), inner), min_size=1, max_size=4), inner)
def test_types_follow_the_recurrence_with_the_specificity_of_their_mix(types, s):
    shares, f = np.array(types).T
    rates = typed_error_rates(shares, s, f, 6)
    mix = specificity_of_mix(rates, f)
    assert rates.sum(axis=1) == pytest.approx(error_rates(shares.sum(), s, mix[:-1], 6), rel=1e-9)
    assert (np.diff(mix) <= 1e-12).all(), "the types that are accepted remain"


def test_one_type_alone_is_the_plain_recurrence_and_an_undetectable_type_stays():
    assert typed_error_rates([0.4], 0.7, [0.3], 5)[:, 0] == pytest.approx(
        error_rates(0.4, 0.7, 0.7, 5)
    )
    # the type that passes as right answers do keeps its odds to them: .02 of .02 + .58
    assert typed_error_rates([0.3, 0.1, 0.02], 0.8, [0.1, 0.4, 0.8], 400)[-1] == pytest.approx(
        [0, 0, 0.02 / 0.6]
    )


def test_types_at_the_ends():
    assert typed_error_rates([0.5], 0.8, [0.0], 1).tolist() == [[0.5], [0.0]]
    assert np.isnan(typed_error_rates([1.0], 0.8, [0.0], 1)).tolist() == [[False], [True]]
    assert np.isnan(specificity_of_mix([0.0, 0.0], [0.1, 0.2]))
    for types, acceptance in [([0.6, 0.6], [0.1, 0.1]), ([0.5], [0.1, 0.2]), (0.5, 0.1)]:
        with pytest.raises(ValueError, match="expected shape"):
            typed_error_rates(types, 0.8, acceptance, 1)


def test_abstaining_from_wrong_answers_raises_the_likelihood_ratio():
    # Of 60 right answers 54 are given, of 40 wrong ones 20: e = 20/74; accepted with .7 and .3: 6 /
    # (6 + 37.8) is .4 at Lambda 7/3 * .9 / .5
    ratio = abstaining_ratio(7 / 3, 0.1, 0.5)
    assert ratio == pytest.approx(4.2)
    assert impurity(20 / 74, 0.7, 0.7) == pytest.approx(0.4 / (0.4 + 0.6 * float(ratio)))
    assert abstaining_ratio(2, 0.1, 1) == inf
    assert np.isnan(abstaining_ratio(2, 1, 1))


# Price's equation with the trait "is wrong"


@given(st.integers(1, 20), st.integers(1, 20), inner, inner)
def test_a_round_is_the_selection_term_of_the_trait_wrong(num_right, num_wrong, s, c):
    trait = np.array([0.0] * num_right + [1.0] * num_wrong)
    accepted = np.where(trait == 1, 1 - c, s)
    e = num_wrong / (num_right + num_wrong)
    terms = selection_terms(accepted, trait[:, None], np.zeros(len(trait), dtype=np.int64))
    assert terms.total[0] == pytest.approx(float(impurity(e, s, c)) - e, abs=1e-12)
    swapped = selection_terms(
        np.where(trait == 1, 1 - s, c), trait[:, None], np.zeros(len(trait), dtype=np.int64)
    )
    assume(abs(float(likelihood_ratio(s, c)) / float(likelihood_ratio(c, s)) - 1) > 0.1)
    assert abs(swapped.total[0] - (float(impurity(e, s, c)) - e)) > 1e-6, (
        "power twin: sensitivity and specificity exchanged"
    )


def test_a_round_of_partial_imitation_is_selection_and_transmission():
    """Five right answers with three copies each, five wrong ones with one: s : 1 - c = 3 : 1.

    Selection .5 -> 5 / 20 = .25. An answer that imitates with share .6 and is else wrong with .5
    has the trait .2 + .6 z, so transmission is .2 + .6 * .25 - .25 = .1, and the new error rate
    .35.
    """
    founders = [
        {
            "generation": 0,
            "birth_id": f"a{i}",
            "parent_ids": [],
            "shares": [],
            "operator": "found",
            "selected": True,
        }
        for i in range(10)
    ]
    before = births_of(
        [row | {"traits": {"wrong": float(i >= 5)}} for i, row in enumerate(founders)], {}
    )
    parents = [i for i in range(10) for _ in range(3 if i < 5 else 1)]
    copies = [
        {
            "generation": 1,
            "birth_id": f"b{k}",
            "parent_ids": [f"a{i}"],
            "shares": [1.0],
            "operator": "imitate",
            "selected": True,
        }
        | {"traits": {"wrong": 0.4 * 0.5 + 0.6 * (i >= 5)}}
        for k, i in enumerate(parents)
    ]
    births = births_of(copies, {f"a{i}": i for i in range(10)})
    terms = generation_terms(before, births)
    assert terms.reproduction.selection.total[0] == pytest.approx(
        float(impurity(0.5, 0.9, 0.7)) - 0.5
    )
    assert terms.reproduction.transmission["imitate"][0] == pytest.approx(0.1)
    assert 0.5 + terms.change[0] == pytest.approx(0.35)
    assert abs(terms.residual[0]) < 1e-15


# Simulated loops


def wrong_shares(seed, num_loops, num_rounds, size, e, s, c):
    return simulate_loop(np.random.default_rng(seed), num_rounds, size, np.full(num_loops, e), s, c)


def z_of_rounds(shares, size, e, s, c):
    """How far 10,000 rounds' wrong pairs are from the expectation that each round's own context
    gives, in standard errors.
    """
    before = np.concatenate([np.full((len(shares), 1), e), shares[:, :-1]], axis=1)
    h = impurity(before, s, c)
    return float((shares - h).sum() / sqrt((h * (1 - h)).sum() / size))


def test_ten_thousand_simulated_rounds_have_the_impurity_that_the_recurrence_says():
    shares = wrong_shares(1, 2_500, 4, 20, 0.45, 0.8, 0.6)
    assert abs(z_of_rounds(shares, 20, 0.45, 0.8, 0.6)) < 5
    assert abs(z_of_rounds(shares, 20, 0.45, 0.6, 0.8)) > 10, (
        "power twin: false negatives taken for false positives"
    )
    assert abs(z_of_rounds(shares, 20, 0.45, 0.8, 0.62)) > 5, (
        "power twin: a specificity that is off by .02"
    )


def test_a_large_buffer_follows_the_closed_form_with_the_slope_of_the_log_likelihood_ratio():
    """Each round adds 1 / (K e (1 - e)) to the variance of the logit, since a logit's error is
    handed on undiminished.
    """
    size = 200_000
    (measured,) = wrong_shares(2, 1, 4, size, 0.6, 0.75, 0.65)
    predicted = error_rates(0.6, 0.75, 0.65, 4)[1:]
    error = np.sqrt(np.cumsum(1 / (size * predicted * (1 - predicted))))
    assert (np.abs(logit(measured) - logit(predicted)) < 5 * error).all()
    slope = np.polyfit(np.arange(5), np.concatenate([[logit(0.6)], logit(measured)]), 1)[0]
    assert slope == pytest.approx(-log(0.75 / 0.35), abs=5 * error[-1] / 2)
    swapped = error_rates(0.6, 0.65, 0.75, 4)[1:]
    assert (np.abs(logit(measured) - logit(swapped)) > 5 * error).all(), (
        "power twin: sensitivity and specificity exchanged"
    )


@pytest.mark.parametrize(("alpha", "sign"), [(0.45, 1), (0.5, 0), (0.55, -1)])
def test_the_trend_of_simulated_loops_changes_its_sign_at_one_half(alpha, sign):
    """Over 10,000 loops of one round: the change of the error rate in standard errors."""
    shares = wrong_shares(3, 10_000, 1, 20, 0.4, alpha, alpha)[:, 0]
    z = (shares.mean() - 0.4) / (shares.std(ddof=1) / 100)
    assert abs(z) < 5 if sign == 0 else sign * z > 5
