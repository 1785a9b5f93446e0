"""Thresholds and the coverage curve: worked numbers, slow twins that count by hand, ties and
degenerate cases.
"""

from __future__ import annotations

from itertools import permutations
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.recurrence.evaluator import EvaluatorCounts, log_likelihood_ratio
from evoprompt.recurrence.threshold import (
    best_threshold,
    coverage_curve,
    roc_curve,
    share_threshold,
)

#: Log-odds from a coarse grid, so that ties are common, with verdicts of both kinds.
judged = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: len({r for _, r in rows}) == 2
)


def arrays(rows):
    return np.array([x for x, _ in rows], dtype=float), np.array([r for _, r in rows])


def counted(rows, threshold) -> EvaluatorCounts:
    """Accept what is above the threshold, one by one."""
    right = [x > threshold for x, r in rows if r]
    wrong = [x > threshold for x, r in rows if not r]
    return EvaluatorCounts(sum(right), len(right), sum(wrong), len(wrong))


def test_four_answers_worked_by_hand():
    # right at 3 and 1, wrong at 2 and -1. Thresholds -2, 0, 1.5, 2.5. Accepted right 2, 2, 1, 1 of
    # 2, wrong 2, 1, 1, 0 of 2. ln Lambda 0, ln(2.5/1.5), 0, ln(1.5/.5); times acceptance 1, 3/4,
    # 1/2, 1/4: 0, .3831, 0, .2747
    log_odds, is_right = np.array([3.0, 2.0, 1.0, -1.0]), np.array([True, False, True, False])
    curve = roc_curve(log_odds, is_right)
    assert curve.threshold.tolist() == [-2, 0, 1.5, 2.5]
    assert curve.sensitivity.tolist() == [1, 1, 0.5, 0.5]
    assert curve.specificity.tolist() == [0, 0.5, 0.5, 1]
    assert curve.acceptance.tolist() == [1, 0.75, 0.5, 0.25]
    assert curve.log_odds_gain == pytest.approx([0, 0.75 * log(2.5 / 1.5), 0, 0.25 * log(3)])
    best = best_threshold(log_odds, is_right)
    assert (best.threshold, best.sensitivity, best.specificity, best.acceptance) == (
        0,
        1,
        0.5,
        0.75,
    )
    assert best.log_odds_gain == pytest.approx(0.38312, abs=1e-5)


@given(judged)
def test_every_point_of_the_curve_is_what_counting_gives(rows):
    curve = roc_curve(*arrays(rows))
    for i, threshold in enumerate(curve.threshold):
        counts = counted(rows, threshold)
        assert curve.sensitivity[i] == counts.accepted_right / counts.num_right
        assert curve.specificity[i] == pytest.approx(counts.rejected_wrong / counts.num_wrong)
        assert curve.acceptance[i] == (counts.accepted_right + counts.accepted_wrong) / len(rows)
        assert curve.log_likelihood_ratio[i] == pytest.approx(
            log_likelihood_ratio(counts).value, abs=1e-12
        )


@given(judged)
def test_no_threshold_gains_more_than_the_best_and_none_below_it_as_much(rows):
    best = best_threshold(*arrays(rows))

    def gain(threshold):
        counts = counted(rows, threshold)
        return (
            log_likelihood_ratio(counts).value
            * (counts.accepted_right + counts.accepted_wrong)
            / len(rows)
        )

    assert gain(best.threshold) == pytest.approx(best.log_odds_gain, abs=1e-12)
    accepted = sum(x > best.threshold for x, _ in rows)
    for threshold in np.arange(-4.5, 4):
        assert gain(threshold) <= best.log_odds_gain + 1e-9
        assert (
            sum(x > threshold for x, _ in rows) <= accepted
            or gain(threshold) < best.log_odds_gain - 1e-12
        )


def test_log_odds_that_order_no_better_than_chance_accept_everything():
    best = best_threshold(np.array([3.0, 2.0, 1.0]), np.array([False, False, True]))
    assert (
        best.threshold,
        best.acceptance,
        best.sensitivity,
        best.specificity,
        best.log_odds_gain,
    ) == (0, 1, 1, 0, 0)
    for log_odds in (
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
    ):  # no order at all, and one that gains nothing
        tied = best_threshold(np.array(log_odds), np.array([True, False, True, False]))
        assert (tied.threshold, tied.acceptance, tied.log_odds_gain) == (-1, 1, 0)


def test_without_right_or_without_wrong_answers_there_is_no_curve():
    for verdict in (True, False):
        assert roc_curve(np.array([1.0, 2.0]), np.array([verdict] * 2)) is None
        assert best_threshold(np.array([1.0, 2.0]), np.array([verdict] * 2)) is None
    assert best_threshold(np.array([]), np.array([], dtype=bool)) is None


def test_numbers_next_to_each_other_are_still_told_apart():
    first = 1.0
    second = np.nextafter(first, 2)
    for low, high in [
        (first, second),
        (second, np.nextafter(second, 2)),
    ]:  # half-way rounds down, and up
        best = best_threshold(np.array([low, high]), np.array([False, True]))
        assert low <= best.threshold < high


@pytest.mark.parametrize("log_odds", [[1.0, np.nan], [1.0, np.inf], [1.0], [[1.0, 2.0]]])
def test_log_odds_that_are_not_a_number_for_each_answer_are_refused(log_odds):
    with pytest.raises(ValueError, match="expected"):
        roc_curve(np.array(log_odds), np.array([True, False]))


# Without gold


def test_shares_worked_by_hand():
    log_odds = np.array([4.0, 3.0, 2.0, 1.0])
    assert share_threshold(log_odds) == 2.5  # the median
    assert [share_threshold(log_odds, share) for share in (0.25, 0.3, 0.75, 1)] == [
        3.5,
        2.5,
        1.5,
        0,
    ]
    assert share_threshold(np.array([2.0, 2.0, 1.0])) == 1.5  # ties come in together
    assert share_threshold(np.arange(30.0), 0.1) == 26.5  # .1 * 30 is 3, whatever rounding does


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.floats(0.01, 1))
def test_at_least_the_share_is_accepted_and_not_one_distinct_value_more(values, share):
    threshold = share_threshold(np.array(values, dtype=float), share)
    accepted = [v for v in values if v > threshold]
    assert len(accepted) >= share * len(values) - 1e-9
    assert len([v for v in accepted if v > min(accepted)]) < share * len(values)


@pytest.mark.parametrize(
    ("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.5), ([np.nan], 0.5)]
)
def test_shares_of_nothing_are_refused(values, share):
    with pytest.raises(ValueError, match="expected"):
        share_threshold(np.array(values), share)


# Coverage


def test_a_coverage_curve_worked_by_hand():
    # by confidence: right, wrong, right, right: 0, 1/2, 1/3, 1/4; area 13/48
    curve = coverage_curve(np.array([0.6, 0.9, 0.5, 0.8]), np.array([True, True, True, False]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.error_rate == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert curve.area == pytest.approx(13 / 48)


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=5))
def test_ties_are_the_mean_over_all_orders(rows):
    confidence, is_right = arrays(rows)
    orders = [
        order
        for order in permutations(range(len(rows)))
        if list(confidence[list(order)]) == sorted(confidence, reverse=True)
    ]
    errors = np.mean(
        [np.cumsum(~is_right[list(order)]) / np.arange(1, len(rows) + 1) for order in orders],
        axis=0,
    )
    assert coverage_curve(confidence, is_right).error_rate == pytest.approx(errors)


@given(judged)
def test_confidence_that_says_nothing_has_the_error_rate_everywhere(rows):
    _, is_right = arrays(rows)
    curve = coverage_curve(np.zeros(len(rows)), is_right)
    assert curve.error_rate == pytest.approx(np.full(len(rows), 1 - is_right.mean()))


@given(judged)
def test_perfect_confidence_has_the_least_area_and_its_reverse_the_greatest(rows):
    confidence, is_right = arrays(rows)
    area = coverage_curve(confidence, is_right).area
    assert coverage_curve(is_right.astype(float), is_right).area <= area + 1e-12
    assert coverage_curve(-is_right.astype(float), is_right).area >= area - 1e-12
    assert coverage_curve(confidence, is_right).error_rate[-1] == pytest.approx(1 - is_right.mean())


@pytest.mark.parametrize(
    ("confidence", "verdicts"), [([], []), ([1.0], [True, False]), ([np.nan], [True])]
)
def test_coverage_of_nothing_is_refused(confidence, verdicts):
    with pytest.raises(ValueError, match="expected one of each by answer"):
        coverage_curve(np.array(confidence), np.array(verdicts, dtype=bool))
