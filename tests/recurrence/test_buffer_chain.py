"""The exact chain: worked numbers, and simulated loops as its twin (fixed seeds; 5 standard errors,
false-alarm probability 6e-7; power twins).
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.self_evaluation_loop import simulate_loop
from scipy import stats

from evoprompt.recurrence.buffer_chain import buffer_chain
from evoprompt.recurrence.error_rate import impurity
from evoprompt.recurrence.imitation import Imitation, partial_imitation, trajectory

inner = st.floats(0.05, 0.95)


def test_a_buffer_of_two_worked_by_hand():
    # Lambda = 3, e0 = .5: h = .25, first law (.5625, .375, .0625). From one wrong of two h(.5) =
    # .25 again: the same row. Collapse from the middle: u = .0625 + .375 u = .1; in all .0625 +
    # .375 * .1 = .1
    chain = buffer_chain(2, 0.5, 0.75, 0.75)
    assert chain.first == pytest.approx([0.5625, 0.375, 0.0625])
    np.testing.assert_allclose(chain.transition, [[1, 0, 0], [0.5625, 0.375, 0.0625], [0, 0, 1]])
    assert chain.collapse_probability() == pytest.approx(0.1)
    # after two rounds: (.5625 + .375 * .5625, .375^2, .0625 + .375 * .0625); expected error .25,
    # then .1406 / 2 + .0859
    assert chain.distributions(2)[1] == pytest.approx([0.7734375, 0.140625, 0.0859375])
    assert chain.expected_error_rates(2) == pytest.approx([0.5, 0.25, 0.15625])


@pytest.mark.parametrize(("size", "collapse"), [(10, 0.073), (20, 0.0076)])
def test_an_evaluator_little_better_than_chance_can_end_all_wrong(size, collapse):
    assert buffer_chain(size, 0.4, 0.55, 0.55).collapse_probability() == pytest.approx(
        collapse, rel=0.005
    )


@given(st.integers(1, 25), inner, inner, inner, st.floats(0, 1))
def test_rows_are_distributions_and_the_first_round_is_exact(size, e, s, c, share):
    chain = buffer_chain(size, e, s, c, imitation=partial_imitation(e, share))
    assert chain.transition.sum(axis=1) == pytest.approx(np.ones(size + 1))
    assert chain.distributions(4).sum(axis=1) == pytest.approx(np.ones(4))
    assert chain.first @ np.arange(size + 1) / size == pytest.approx(float(impurity(e, s, c)))


@given(st.integers(1, 25), inner, inner, inner)
def test_the_mirror_image_collapses_where_the_other_is_cleared(size, e, s, c):
    collapse = buffer_chain(size, e, s, c).collapse_probability()
    assert collapse + buffer_chain(
        size, 1 - e, 1 - c, 1 - s
    ).collapse_probability() == pytest.approx(1)


@given(st.integers(1, 12), inner, inner, inner)
def test_collapse_is_where_the_distribution_ends(size, e, s, c):
    chain = buffer_chain(size, e, s, c)
    law = chain.first @ np.linalg.matrix_power(chain.transition, 2**12)
    assert chain.collapse_probability() == pytest.approx(law[-1], abs=1e-9)


@given(st.integers(1, 25), inner)
def test_without_selection_the_buffer_collapses_as_often_as_it_began_wrong(size, e):
    assert buffer_chain(size, e, 0.6, 0.4).collapse_probability() == pytest.approx(e)


def test_a_large_buffer_is_the_recurrence():
    imitation = partial_imitation(0.45, 0.7)
    chain = buffer_chain(800, 0.45, 0.8, 0.6, imitation=imitation)
    assert chain.expected_error_rates(4) == pytest.approx(
        trajectory(0.45, 0.8, 0.6, 4, imitation=imitation), abs=1e-3
    )


def test_where_nothing_is_accepted_any_more_the_buffer_stays():
    strict = buffer_chain(4, 0.9, 0.5, 1.0)
    assert (strict.first[0], strict.collapse_probability()) == (1, 0)
    assert strict.transition[4, 4] == 1
    blind = buffer_chain(4, 0.1, 0.0, 0.5)
    assert (blind.transition[0, 0], blind.collapse_probability()) == (1, 1)


def test_with_a_floor_or_a_ceiling_an_end_is_not_final():
    assert buffer_chain(5, 0.4, 0.7, 0.7, imitation=Imitation(0.1, 0.9)).collapse_probability() == 0
    assert buffer_chain(5, 0.4, 0.7, 0.7, imitation=Imitation(0.0, 0.9)).collapse_probability() == 0
    assert buffer_chain(
        5, 0.4, 0.7, 0.7, imitation=Imitation(0.1, 1.0)
    ).collapse_probability() == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 0.4, 0.7, 0.7), "at least 1 pair"), ((5, 1.0, 0.7, 1.0), "no answer is ever accepted")],
)
def test_loops_without_a_buffer_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        buffer_chain(*arguments)


def test_before_the_first_round_there_is_no_distribution():
    chain = buffer_chain(3, 0.4, 0.7, 0.7)
    assert chain.distributions(0).shape == (0, 4)
    assert chain.expected_error_rates(0).tolist() == [0.4]


# Simulated loops


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_ten_thousand_simulated_loops_have_the_chain_s_mean_and_law(share):
    shares = simulate_loop(
        np.random.default_rng([1, int(10 * share)]),
        4,
        10,
        np.full(10_000, 0.4),
        0.7,
        0.55,
        share=share,
    )
    imitation = partial_imitation(0.4, share)
    errors = imitation.error_rate(shares)
    standard_error = errors.std(axis=0, ddof=1) / 100

    def z(chain):
        return np.abs(errors.mean(axis=0) - chain.expected_error_rates(4)[1:]) / standard_error

    chain = buffer_chain(10, 0.4, 0.7, 0.55, imitation=imitation)
    assert (z(chain) < 5).all()
    counts = np.bincount(np.rint(10 * shares[:, -1]).astype(int), minlength=11)
    assert stats.chisquare(*merged(counts, 10_000 * chain.distributions(4)[-1])).pvalue > 6e-7
    assert (z(buffer_chain(10, 0.4, 0.55, 0.7, imitation=imitation)) > 5).any(), (
        "power twin: sensitivity and specificity exchanged"
    )
    wrong = buffer_chain(10, 0.4, 0.7, 0.55, imitation=partial_imitation(0.4, share - 0.2))
    assert (z(wrong) > 5).any(), "power twin: imitation weaker by .2"
    larger = buffer_chain(14, 0.4, 0.7, 0.55, imitation=imitation).distributions(4)[-1]
    assert stats.chisquare(*merged(np.pad(counts, (0, 4)), 10_000 * larger)).pvalue < 6e-7, (
        "power twin: a buffer of another size"
    )


def merged(counts, expected):
    """Counts of neighbouring outcomes together, so that each expects at least 5; scaled against
    rounding.
    """
    groups = np.minimum(np.floor(np.cumsum(expected) / 5), np.floor(expected.sum() / 5) - 1).astype(
        int
    )
    observed, hoped = np.bincount(groups, counts), np.bincount(groups, expected)
    kept = hoped > 0
    return observed[kept], hoped[kept] * observed.sum() / hoped.sum()


def test_simulated_collapses_are_as_frequent_as_the_chain_says():
    """2,000 loops of a buffer of 6 over 60 rounds: all have ended (the rest of the chain's
    probability is below 1e-5).
    """
    chain = buffer_chain(6, 0.4, 0.6, 0.6)
    assert chain.distributions(60)[-1, 1:-1].sum() < 1e-5
    ends = simulate_loop(
        np.random.default_rng(4), 60, 6, np.full(2_000, 0.4), 0.6, 0.6, num_queries=60
    )[:, -1]
    assert set(np.unique(ends)) <= {0.0, 1.0}
    low, high = stats.binom.interval(1 - 6e-7, 2_000, chain.collapse_probability())
    assert low <= ends.sum() <= high
    assert not low <= 2_000 * buffer_chain(12, 0.4, 0.6, 0.6).collapse_probability() <= high, (
        "power twin: a buffer of twice the size"
    )
