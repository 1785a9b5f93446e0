"""Estimators of an evaluator: worked numbers, coverage by simulation (fixed seeds, false-alarm
probability stated, power twins), no gold.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evoprompt.recurrence.error_rate import acceptance_rate, error_rates
from evoprompt.recurrence.evaluator import (
    EvaluatorCounts,
    confidence_log_odds,
    log_likelihood_ratio,
    sensitivity,
    specificity,
    two_point_solution,
    without_gold,
)
from evoprompt.stats.resampling import wilson_interval

inner = st.floats(0.05, 0.95)


def test_rates_with_their_intervals():
    counts = EvaluatorCounts(accepted_right=8, num_right=10, accepted_wrong=3, num_wrong=20)
    s, c = sensitivity(counts), specificity(counts)
    assert (s.value, s.num, s.low, s.high) == (0.8, 10, *wilson_interval(8, 10))
    assert (c.value, c.num, c.low, c.high) == (0.85, 20, *wilson_interval(17, 20))
    assert sensitivity(counts, alpha=0.5).low > s.low


def test_the_log_likelihood_ratio_by_hand():
    # ln(8.5/10.5) - ln(3.5/20.5) = -.21131 + 1.76766; 1/8.5 - 1/10.5 + 1/3.5 - 1/20.5 = .117647 -
    # .095238 + .285714 - .048780
    ratio = log_likelihood_ratio(EvaluatorCounts(8, 10, 3, 20))
    assert ratio.value == pytest.approx(1.55635, abs=1e-5)
    assert ratio.standard_error == pytest.approx(sqrt(0.259343), abs=1e-5)
    assert ratio.interval() == pytest.approx(
        (1.55635 - 1.959964 * 0.509258, 1.55635 + 1.959964 * 0.509258), abs=1e-4
    )


def test_what_is_undefined_without_right_or_without_wrong_answers():
    only_right, only_wrong = EvaluatorCounts(3, 4, 0, 0), EvaluatorCounts(0, 0, 1, 4)
    assert (specificity(only_right), log_likelihood_ratio(only_right)) == (None, None)
    assert (sensitivity(only_wrong), log_likelihood_ratio(only_wrong)) == (None, None)
    assert specificity(only_wrong).value == 0.75


def test_a_faultless_evaluator_has_a_finite_log_ratio():
    ratio = log_likelihood_ratio(EvaluatorCounts(10, 10, 0, 10))
    assert ratio.value == pytest.approx(log(21))
    assert 0 < ratio.standard_error < inf


def test_counts_add_up_and_impossible_ones_are_refused():
    assert EvaluatorCounts(1, 2, 3, 4) + EvaluatorCounts(1, 1, 1, 1) == EvaluatorCounts(2, 3, 4, 5)
    assert EvaluatorCounts(1, 2, 3, 4).rejected_wrong == 1
    for counts in [(3, 2, 0, 0), (-1, 2, 0, 0), (0, 0, 1, 0)]:
        with pytest.raises(ValueError, match="no more than there are"):
            EvaluatorCounts(*counts)


@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_exchanging_right_and_wrong_turns_the_sign(num_right, num_wrong, data):
    x, y = data.draw(st.integers(0, num_right)), data.draw(st.integers(0, num_wrong))
    here, there = (
        log_likelihood_ratio(EvaluatorCounts(x, num_right, y, num_wrong)),
        log_likelihood_ratio(EvaluatorCounts(y, num_wrong, x, num_right)),
    )
    assert here.value == pytest.approx(-there.value, abs=1e-12)
    assert here.standard_error == pytest.approx(there.standard_error)


def test_the_interval_of_the_log_ratio_covers_at_its_rate():
    """Nominal .95; at 120 and 80 answers it covers about .954. 4,000 draws have sd .0033, 5 of them
    are allowed (6e-7).
    """
    rng = np.random.default_rng(1)
    truth, hits, narrow, unsmoothed = log(0.8 / 0.3), 0, 0, 0
    for x, y in zip(
        rng.binomial(120, 0.8, 4_000).tolist(), rng.binomial(80, 0.3, 4_000).tolist(), strict=True
    ):
        ratio = log_likelihood_ratio(EvaluatorCounts(x, 120, y, 80))
        hits += ratio.interval()[0] <= truth <= ratio.interval()[1]
        narrow += abs(ratio.value - truth) < 0.98 * ratio.standard_error
        swapped = log_likelihood_ratio(EvaluatorCounts(x, 120, 80 - y, 80))
        unsmoothed += swapped.interval()[0] <= truth <= swapped.interval()[1]
    assert abs(hits / 4_000 - 0.954) < 0.0165
    assert narrow / 4_000 < 0.8, "power twin: half the standard error"
    assert unsmoothed / 4_000 < 0.1, "power twin: rejected wrong answers taken for accepted ones"


# Without gold


def rates_of(e, s, c):
    return [float(acceptance_rate(rate, s, c)) for rate in error_rates(e, s, c, 2)]


def test_three_rounds_by_hand():
    # points .2 and .8 with weight 1/2 each: moments .5, .34, .26 (.5 (.008 + .512)), so rates .5,
    # .68, .26/.34
    solution = two_point_solution(0.5, 0.68, 0.26 / 0.34)
    assert (solution.error_rate, solution.sensitivity, solution.specificity) == pytest.approx(
        (0.5, 0.8, 0.8)
    )


@given(inner, inner, inner)
def test_three_exact_rounds_identify_the_evaluator_up_to_its_mirror_image(e, s, c):
    assume(abs(s + c - 1) > 0.1)
    solution = two_point_solution(*rates_of(e, s, c))
    expected = (e, s, c) if s + c > 1 else (1 - e, 1 - c, 1 - s)
    assert (solution.error_rate, solution.sensitivity, solution.specificity) == pytest.approx(
        expected, abs=1e-6
    )
    assert rates_of(e, s, c) == pytest.approx(rates_of(1 - e, 1 - c, 1 - s)), (
        "the mirror image has the same acceptance rates"
    )


@pytest.mark.parametrize(
    "rates",
    [
        (0.5, 0.5, 0.5),
        (0.6, 0.5, 0.7),
        (0.2, 0.9, 0.1),
        (0.5, 0.9, 0.99),
        (0.0, 0.5, 0.5),
        (0.5, 0.6, 0.95),
        (0.5, 0.6, 0.5),
    ],
)
def test_rates_that_no_evaluator_has_are_infeasible(rates):
    assert two_point_solution(*rates) is None


def test_an_evaluator_without_fault_is_found_in_spite_of_rounding():
    solution = two_point_solution(*rates_of(0.3, 1.0, 0.9))
    assert (solution.error_rate, solution.sensitivity, solution.specificity) == pytest.approx(
        (0.3, 1, 0.9)
    )
    assert (
        max(
            two_point_solution(*rates_of(e, 1.0, 0.9)).sensitivity
            for e in np.arange(0.05, 0.95, 0.01)
        )
        <= 1
    )
    assert two_point_solution(*rates_of(0.3, 0.6, 1.0)).specificity == pytest.approx(1)


def test_one_or_two_rounds_identify_nothing():
    known = without_gold([60, 70], [100, 100])
    assert known.model_identified is None
    assert [a.value for a in known.acceptance] == [0.6, 0.7]
    assert (known.acceptance[0].low, known.acceptance[0].high) == wilson_interval(60, 100)
    # .6 is the acceptance rate of very different evaluators
    assert (
        acceptance_rate(0.1, 0.6, 0.4)
        == pytest.approx(0.6)
        == acceptance_rate(0.5, 0.9, 0.7)
        == pytest.approx(acceptance_rate(0.9, 0.6, 0.4))
    )


def test_the_first_three_of_more_rounds_are_used():
    counts = [500, 680, 765, 100]
    assert without_gold(counts, [1000] * 4).model_identified == two_point_solution(0.5, 0.68, 0.765)
    assert without_gold(counts, [1000] * 4).model_identified is not None
    assert without_gold([], []).acceptance == ()


def test_counts_without_rounds_of_their_own_are_refused():
    with pytest.raises(ValueError, match="2 rounds of accepted answers and 1"):
        without_gold([1, 2], [3])
    with pytest.raises(ValueError, match="at least one trial"):
        without_gold([0], [0])


def test_with_a_thousand_answers_a_round_the_solution_is_often_missing_and_vague():
    """Infeasible in about 13 of 100; 1,000 simulations have sd .011, and 5 of them are allowed."""
    rng = np.random.default_rng(2)
    draws = rng.binomial(1000, rates_of(0.45, 0.8, 0.65), size=(1_000, 3))
    solutions = [without_gold(counts.tolist(), [1000] * 3).model_identified for counts in draws]
    assert abs(sum(s is None for s in solutions) / 1_000 - 0.13) < 0.055
    assert np.std([s.error_rate for s in solutions if s is not None], ddof=1) > 0.1


def test_confidence_as_log_odds_is_finite_and_odd_about_a_half():
    odds = confidence_log_odds([0.0, 0.2, 0.5, 0.8, 1.0])
    assert odds[1:4] == pytest.approx([-np.log(4), 0, np.log(4)])
    assert odds[0] == pytest.approx(-odds[4]) == pytest.approx(np.log(1e-9), rel=1e-6)
    assert float(confidence_log_odds(0.8)) == odds[3]
