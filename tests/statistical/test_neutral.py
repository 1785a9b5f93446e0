"""Evolution without selection, whose law is known: selection's interval covers 0, diversity decays
by 1/N, and drift passes its own test.

Every rate is compared with an exact binomial interval, every mean with its standard error, at a
false-alarm probability of 1e-4 or less for a fresh seed; the seeds are fixed. Each has a power
twin: the same test with something broken, which must fail.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.wright_fisher import equally, lineage
from scipy import stats

from evoprompt.config.evolution import SelectionConfig
from evoprompt.dynamics.drift import (
    ROUNDING,
    chi_square_survival,
    drift_test,
    reproduction_drift_test,
)
from evoprompt.dynamics.population import Filling, generations
from evoprompt.dynamics.price import generation_terms
from evoprompt.dynamics.slots import slots_variance
from evoprompt.selection.base import Candidates
from evoprompt.selection.closed_form import tournament
from evoprompt.selection.select import parent_probabilities, select_parents

pytestmark = pytest.mark.statistical

FALSE_ALARM = 1e-4
tournaments_of_two, tournaments_of_three = partial(tournament, size=2), partial(tournament, size=3)


def within(count: int, trials: int, probability: float) -> bool:
    """Whether a binomial count is not among the extremes, which have the probability FALSE_ALARM
    together.
    """
    low, high = stats.binom.interval(1 - FALSE_ALARM, trials, probability)
    return bool(low <= count <= high)


def terms_of(lines):
    return [generation_terms(before, births) for before, births in pairwise(generations(lines))]


# The self-test of drift


@given(st.integers(1, 200), st.floats(0, 600))
def test_the_chi_square_tail_is_that_of_scipy(degrees, value):
    assert chi_square_survival(value, degrees) == pytest.approx(
        stats.chi2.sf(value, degrees), rel=1e-9, abs=1e-300
    )


def test_the_chi_square_tail_by_hand_and_at_the_ends():
    assert chi_square_survival(0, 3) == 1
    assert chi_square_survival(2 * np.log(20), 2) == pytest.approx(0.05)
    assert chi_square_survival(1.959963984540054**2, 1) == pytest.approx(0.05)
    assert chi_square_survival(9_900, 10_000) == pytest.approx(stats.chi2.sf(9_900, 10_000))
    for value, degrees in [(-1, 2), (np.nan, 2), (np.inf, 2), (1, 0)]:
        with pytest.raises(ValueError, match="degree of freedom"):
            chi_square_survival(value, degrees)


def test_three_generations_of_drift_worked_by_hand():
    test = drift_test(np.array([1.0, 0.0, -6.0]), np.array([1.0, 0.0, 9.0]))
    assert (test.statistic, test.degrees, test.drift_z, test.num_impossible) == (
        5.0,
        2,
        (1.0, None, -2.0),
        0,
    )
    assert test.p_value == pytest.approx(2 * np.exp(-2.5))


def test_without_any_variance_the_test_is_undefined():
    assert drift_test(np.zeros(4), np.zeros(4)) is None
    assert drift_test(np.array([]), np.array([])) is None
    assert drift_test(np.array([1e-17]), np.array([1e-31])) is None, (
        "rounding of a trait that all have in common is no evidence"
    )


def test_drift_where_there_can_be_none_refutes_the_probabilities():
    alone = drift_test(np.array([0.1]), np.array([0.0]))
    assert (alone.p_value, alone.degrees, alone.num_impossible) == (0.0, 0, 1)
    assert drift_test(np.array([1.0, 10 * ROUNDING]), np.array([1.0, 0.0])).p_value == 0
    assert drift_test(
        np.array([1.0, 0.1 * ROUNDING]), np.array([1.0, 0.0])
    ).p_value == pytest.approx(2 * stats.chi2.sf(1, 1))


def test_too_little_drift_is_as_wrong_as_too_much():
    ones = np.ones(50)
    assert drift_test(0.3 * ones, ones).p_value < 1e-6
    assert drift_test(2.0 * ones, ones).p_value < 1e-6
    assert drift_test(1.0 * ones, ones).p_value > 0.5


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 5)), min_size=1, max_size=40),
    st.floats(1e-3, 1e3),
)
def test_the_unit_of_the_trait_does_not_matter(pairs, scale):
    drift, variance = np.array(pairs).T
    here, there = drift_test(drift, variance), drift_test(scale * drift, scale**2 * variance)
    assert there.p_value == pytest.approx(here.p_value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("drift", "variance", "message"),
    [([1.0], [1.0, 2.0], "shape"), ([np.nan], [1.0], "finite"), ([1.0], [-1.0], "negative")],
)
def test_what_cannot_be_drift_is_refused(drift, variance, message):
    with pytest.raises(ValueError, match=message):
        drift_test(np.array(drift), np.array(variance))


def rejections(
    num_runs: int,
    scheme: SelectionConfig,
    claimed: SelectionConfig,
    seed: int,
    taken: Filling | None = None,
) -> int:
    """Runs of 30 fresh populations of 20 whose drift, under the probabilities of `claimed` (its
    slots `taken` so), is rejected at 0.05.
    """
    num, num_generations = 20, 30
    rng, rejected = np.random.default_rng(seed), 0
    for _ in range(num_runs):
        drift, variance = [], []
        for _ in range(num_generations):
            z = rng.normal(size=num)
            pool = Candidates(z, z[:, None], np.zeros(num))
            found = parent_probabilities(pool, num, claimed, rng)
            p = found.probability
            drift.append(z[select_parents(pool, num, scheme, rng)].mean() - p @ z)
            variance.append(
                slots_variance(p, z[:, None], np.full(num, 1 / num), taken or found.filling).item()
            )
        rejected += drift_test(np.array(drift), np.array(variance)).p_value < 0.05
    return rejected


TWO, THREE = SelectionConfig(tournament_size=2), SelectionConfig(tournament_size=3)


def test_the_right_tournament_size_is_rejected_in_five_of_a_hundred_runs():
    assert within(rejections(400, TWO, TWO, seed=1), 400, 0.05)


@pytest.mark.parametrize(("scheme", "claimed"), [(TWO, THREE), (THREE, TWO)])
def test_power_twin_the_wrong_tournament_size_is_always_rejected(scheme, claimed):
    assert rejections(40, scheme, claimed, seed=2) == 40


def test_power_twin_slots_that_are_not_independent_drift_too_little():
    sampling = SelectionConfig(method="sus")
    assert rejections(20, sampling, sampling, seed=3, taken="independent") == 20


def test_spaced_slots_are_rejected_no_more_often_than_the_level_says():
    """More than 18 of 150 at a true 0.05 has the probability 1e-4. The twin above rejects all."""
    sampling = SelectionConfig(method="sus")
    assert rejections(150, sampling, sampling, seed=8) <= 18


# Neutral lineages


@cache
def neutral_terms():
    """200 lineages of 40 individuals over 10 generations; mutation keeps the trait's spread up."""
    return [
        terms_of(lineage(40, 10, np.random.default_rng([4, run]), mutation=0.5))
        for run in range(200)
    ]


def covered(runs) -> tuple[int, int]:
    """How many of the 95 % intervals total -+ 1.96 sqrt(drift variance) of the selection term cover
    0, and of how many.
    """
    terms = [t.reproduction.selection for run in runs for t in run]
    return sum(
        abs(t.total[0]) <= stats.norm.ppf(0.975) * np.sqrt(t.drift_variance[0]) for t in terms
    ), len(terms)


def test_without_selection_the_interval_of_selection_covers_zero_as_often_as_it_says():
    count, trials = covered(neutral_terms())
    assert trials == 2_000
    assert within(count, trials, 0.95)


def test_without_selection_all_of_it_is_drift_and_its_mean_is_zero():
    terms = [t.reproduction.selection for run in neutral_terms() for t in run]
    np.testing.assert_allclose([t.expected[0] for t in terms], 0, atol=1e-14)
    z = np.array([t.drift[0] / np.sqrt(t.drift_variance[0]) for t in terms])
    assert abs(z.mean()) * np.sqrt(len(z)) < stats.norm.ppf(1 - FALSE_ALARM / 2)
    assert abs((z**2).mean() - 1) / ((z**2).std() / np.sqrt(len(z))) < stats.norm.ppf(
        1 - FALSE_ALARM / 2
    )
    assert within(
        sum(reproduction_drift_test(run, "z").p_value < 0.05 for run in neutral_terms()), 200, 0.05
    )


def test_power_twin_real_selection_leaves_zero_uncovered():
    selected = [
        terms_of(lineage(40, 10, np.random.default_rng([5, run]), tournaments_of_two, equally, 0.5))
        for run in range(20)
    ]
    assert not within(*covered(selected), 0.95)
    assert all(reproduction_drift_test(run, "z").p_value < FALSE_ALARM for run in selected)


def test_selection_with_the_probabilities_that_it_claims_passes_and_with_others_fails():
    honest, wrong = [
        [
            terms_of(
                lineage(40, 10, np.random.default_rng([6, run]), tournaments_of_two, claimed, 0.5)
            )
            for run in range(40)
        ]
        for claimed in (tournaments_of_two, tournaments_of_three)
    ]
    assert within(sum(reproduction_drift_test(run, "z").p_value < 0.05 for run in honest), 40, 0.05)
    assert sum(reproduction_drift_test(run, "z").p_value < 0.05 for run in wrong) == 40


def test_drift_of_an_unknown_trait_is_undefined():
    assert reproduction_drift_test(neutral_terms()[0], "length") is None


def heterozygosity(births) -> float:
    """The probability that two draws with replacement descend from different founders."""
    _, counts = np.unique(births.policy_ids, return_counts=True)
    return 1 - ((counts / len(births)) ** 2).sum()


def decay_z(drawn_by, size: int = 20, num_generations: int = 10, runs: int = 400) -> np.ndarray:
    """(mean heterozygosity - expected) / SE at generations 2, 5 and 10.

    All founders differ, so H_0 = 1 - 1/N, and two draws of a generation come from different parents
    with probability 1 - 1/N: E[H_t] = (1 - 1/N)^(t + 1).
    """
    lineages = [
        generations(
            lineage(size, num_generations, np.random.default_rng([7, run]), drawn_by, mutation=0.5)
        )
        for run in range(runs)
    ]
    measured = np.array(
        [[heterozygosity(births) for births in births_of_run] for births_of_run in lineages]
    )
    np.testing.assert_allclose(measured[:, 0], 1 - 1 / size)
    at = np.array([2, 5, 10])
    return (measured[:, at].mean(axis=0) - (1 - 1 / size) ** (at + 1)) / (
        measured[:, at].std(axis=0, ddof=1) / np.sqrt(runs)
    )


def test_without_selection_diversity_decays_by_one_part_in_n_a_generation():
    assert (np.abs(decay_z(equally)) < stats.norm.ppf(1 - FALSE_ALARM / 6)).all()


def test_power_twin_selection_loses_diversity_faster():
    assert (decay_z(tournaments_of_two, runs=60) < -stats.norm.ppf(1 - FALSE_ALARM / 6)).any()
