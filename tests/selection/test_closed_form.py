"""Expected success of every selection scheme: by hand, by enumeration, and against the package's
own selection.

Statistical tests reject at |z| > 5.4, which has probability 7e-8 for a normal z; with the at most
100 numbers that one test looks at, a test gives a false alarm with probability below 1e-5 for a
fresh seed, and the seeds are fixed.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.work import lines_run, most_bytes

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection import closed_form as expected
from evoprompt.selection.base import PARENT_DRAWS, SURVIVAL_DRAWS, Candidates
from evoprompt.selection.schemes import SUS_SURVIVAL_DRAWS, safe_weights
from evoprompt.selection.select import (
    parent_probabilities,
    select_parents,
    select_survivors,
    survival_probabilities,
)

Z = 5.4
POOLS = {
    "all different": np.array([-4.0, -1.0, -3.0, -2.0, -0.5, -2.5]),
    "ties": np.array([-1.0, -2.0, -2.0, -2.0, -5.0, -5.0, -1.0]),
    "all equal": np.full(5, -3.0),
}
with_ties = st.lists(st.integers(-4, 0).map(float), min_size=1, max_size=7).map(np.array)
any_fitness = st.lists(st.floats(-50, 0), min_size=1, max_size=30).map(np.array)

#: Simulated survivals by scheme.
DRAWS = {"epsilon_lexicase": SURVIVAL_DRAWS, "sus": SUS_SURVIVAL_DRAWS}


def candidates(fitness, cases=None) -> Candidates:
    fitness = np.asarray(fitness, dtype=float)
    return Candidates(
        fitness,
        fitness[:, None] if cases is None else np.asarray(cases, dtype=float),
        np.arange(len(fitness), dtype=float),
    )


def parent_counts(pool, num, scheme, calls):
    """Slots that each candidate filled in each call, shape (call, candidate)."""
    rng = np.random.default_rng(11)
    return np.array(
        [
            np.bincount(select_parents(pool, num, scheme, rng), minlength=len(pool.fitness))
            for _ in range(calls)
        ]
    )


def survivor_counts(pool, num, scheme, calls):
    rng = np.random.default_rng(12)
    return np.array(
        [
            np.bincount(select_survivors(pool, num, scheme, rng), minlength=len(pool.fitness))
            for _ in range(calls)
        ]
    )


def z_scores(counts, mean):
    """(observed - expected mean) / SE by candidate, the SE from the spread between calls; without
    spread the mean must be met exactly.
    """
    off, spread = counts.mean(axis=0) - mean, counts.std(axis=0, ddof=1)
    without = np.where(np.abs(off) < 1e-9, 0, np.inf)
    return np.where(
        spread == 0, without, off / np.where(spread == 0, 1, spread / np.sqrt(len(counts)))
    )


def enumerated_tournament(fitness, size):
    """Every way to draw `size` of N, the first drawn of the best winning."""
    wins = np.zeros(len(fitness))
    for drawn in product(range(len(fitness)), repeat=size):
        wins[max(drawn, key=lambda i: fitness[i])] += 1
    return wins / wins.sum()


def enumerated_survival(fitness, num, slot):
    """Every order in which `num` can be drawn and set aside, with its probability; `slot` gives the
    probabilities of those left.
    """
    inclusion = np.zeros(len(fitness))

    def follow(left, drawn, probability):
        if len(drawn) == num:
            inclusion[drawn] += probability
            return
        for i, p in zip(left, slot(fitness[left]), strict=True):
            follow([j for j in left if j != i], [*drawn, i], probability * p)

    follow(list(range(len(fitness))), [], 1.0)
    return inclusion


# By hand and by enumeration


def test_a_tournament_of_two_among_four_with_a_tie_worked_by_hand():
    # 16 ordered pairs: the worst wins only against itself; one of the middle two is best in 9 - 1 =
    # 8; the best is in 16 - 9 = 7.
    np.testing.assert_allclose(
        expected.tournament(np.array([1.0, 2, 2, 4]), 2), np.array([1, 4, 4, 7]) / 16
    )


def test_truncation_with_a_tie_at_the_cut_worked_by_hand():
    fitness = np.array([3.0, 2, 2, 2, 1, 1])
    np.testing.assert_allclose(
        expected.truncation_survival(fitness, 3), [1, 2 / 3, 2 / 3, 2 / 3, 0, 0]
    )
    # Eight slots for six: everybody once, then the best two: 3 for certain, each 2 with probability
    # 1/3.
    np.testing.assert_allclose(
        expected.truncation(fitness, 8), np.array([2, 4 / 3, 4 / 3, 4 / 3, 1, 1]) / 8
    )


def test_linear_ranking_and_softmax_worked_by_hand():
    np.testing.assert_allclose(expected.linear_ranking(np.array([5.0, 1, 3]), 2), [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(expected.linear_ranking(np.array([7.0]), 1.5), [1])
    np.testing.assert_allclose(expected.softmax(np.log([1.0, 2, 5]), 1), [1 / 8, 2 / 8, 5 / 8])
    np.testing.assert_allclose(expected.softmax(np.array([-1e6, -1e6]), 0.1), [0.5, 0.5])


def test_two_survivors_of_three_by_tournaments_worked_by_hand():
    # First draw of tournaments of two: 1/9, 3/9, 5/9 from the worst; then 1/4 and 3/4. The worst
    # stays out unless drawn first, or second by 1/4.
    worst, middle = 1 / 9 + 8 / 9 / 4, 3 / 9 + 5 / 9 * 3 / 4 + 1 / 9 / 4
    got = expected.survival_in_turn(np.array([-3.0, -2, -1]), 2, expected.tournament_by_rank(2))
    np.testing.assert_allclose(got, [worst, middle, 2 - worst - middle])


@given(with_ties, st.integers(1, 4))
def test_the_tournament_formula_is_the_enumeration_of_all_tournaments(fitness, size):
    np.testing.assert_allclose(
        expected.tournament(fitness, size), enumerated_tournament(fitness, size), atol=1e-14
    )


@given(st.lists(st.integers(-2, 0).map(float), min_size=1, max_size=5).map(np.array), st.data())
def test_survival_in_turn_is_the_enumeration_of_all_orders(fitness, data):
    num, size = data.draw(st.integers(0, len(fitness))), data.draw(st.integers(1, 3))
    got = expected.survival_in_turn(fitness, num, expected.tournament_by_rank(size))
    np.testing.assert_allclose(
        got, enumerated_survival(fitness, num, lambda f: expected.tournament(f, size)), atol=1e-13
    )
    got = expected.survival_in_turn(fitness, num, expected.rank_weight_by_rank)
    ranked = enumerated_survival(
        fitness,
        num,
        lambda f: expected.proportional(safe_weights(f, SelectionConfig(method="sus"))),
    )
    np.testing.assert_allclose(got, ranked, atol=1e-13)


# Identities


@given(any_fitness, st.data())
def test_probabilities_sum_to_one_and_inclusions_to_the_number_of_survivors(fitness, data):
    num, size = data.draw(st.integers(0, len(fitness))), data.draw(st.integers(1, 9))
    slots = [
        expected.tournament(fitness, size),
        expected.truncation(fitness, data.draw(st.integers(1, 70))),
        expected.softmax(fitness, data.draw(st.floats(0.01, 100))),
        expected.linear_ranking(fitness, data.draw(st.floats(1, 2))),
    ]
    sets = [
        expected.truncation_survival(fitness, num),
        expected.survival_in_turn(fitness, num, expected.tournament_by_rank(size)),
        expected.survival_in_turn(fitness, num, expected.rank_weight_by_rank),
    ]
    for p, total in [*((p, 1) for p in slots), *((p, num) for p in sets)]:
        assert p.sum() == pytest.approx(total, abs=1e-11)
        assert (p >= 0).all()
        assert (p <= 1 + 1e-12).all()
        order = np.argsort(fitness)
        assert (np.diff(p[order]) >= -1e-12).all(), "the fitter is never less likely"
        assert all(np.ptp(p[fitness == f]) < 1e-12 for f in set(fitness)), (
            "equals are treated equally"
        )


@given(with_ties, st.floats(0.1, 5))
def test_tournaments_of_two_and_rank_weights_are_linear_ranking(fitness, scale):
    n = len(fitness)
    np.testing.assert_allclose(
        expected.tournament(fitness, 2), expected.linear_ranking(fitness, 2 - 1 / n), atol=1e-14
    )
    ranks = expected.proportional(safe_weights(fitness, SelectionConfig(method="sus")))
    np.testing.assert_allclose(ranks, expected.linear_ranking(fitness, 2 - 2 / (n + 1)), atol=1e-14)
    boltzmann = safe_weights(
        fitness, SelectionConfig(method="sus", weights="boltzmann", temperature=scale)
    )
    np.testing.assert_allclose(
        expected.proportional(boltzmann), expected.softmax(fitness, scale), atol=1e-11
    )


@given(with_ties, st.integers(1, 5))
def test_only_the_order_of_fitness_matters_where_ranks_decide(fitness, size):
    np.testing.assert_array_equal(
        expected.tournament(fitness, size), expected.tournament(np.exp(fitness) * 3 - 7, size)
    )


def test_a_single_survivor_is_a_single_draw_and_all_survive_where_there_is_room():
    fitness = POOLS["ties"]
    np.testing.assert_allclose(
        expected.survival_in_turn(fitness, 1, expected.tournament_by_rank(3)),
        expected.tournament(fitness, 3),
    )
    np.testing.assert_allclose(
        expected.survival_in_turn(fitness, len(fitness), expected.tournament_by_rank(3)), 1
    )


def test_many_individuals_are_no_loop_and_no_table_of_pairs():
    """Ten thousand take 10 ms on an idle machine. They run as many lines of Python as a hundred
    do; a table of all pairs would have 100 MB at one byte each.
    """

    def totals(num: int) -> list[float]:
        fitness = np.round(np.random.default_rng(0).normal(size=num), 3)
        return [
            expected.tournament(fitness, 4).sum(),
            expected.truncation(fitness, num + num // 2).sum(),
            expected.linear_ranking(fitness, 1.5).sum(),
        ]

    np.testing.assert_allclose(totals(10_000), 1, atol=1e-9)
    assert lines_run(lambda: totals(10_000)) == lines_run(lambda: totals(100))
    assert most_bytes(lambda: totals(10_000)) < 5 * 2**20


# Against the package's own selection

PARENT_SCHEMES = [  # with the slots of a call and the calls: 100,000 draws each
    (SelectionConfig(method="tournament", tournament_size=2), 200, 500),
    (SelectionConfig(method="tournament", tournament_size=3), 200, 500),
    (SelectionConfig(method="truncation"), 34, 3_000),
    (SelectionConfig(method="sus"), 51, 2_000),
    (SelectionConfig(method="sus", weights="boltzmann", temperature=1.0), 51, 2_000),
]


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
@pytest.mark.parametrize(
    ("scheme", "num", "calls"),
    PARENT_SCHEMES,
    ids=[f"{s.method}-{n}-{i}" for i, (s, n, _) in enumerate(PARENT_SCHEMES)],
)
def test_parents_are_selected_as_often_as_the_closed_form_says(scheme, num, calls, pool):
    found = parent_probabilities(candidates(pool), num, scheme, np.random.default_rng(0))
    assert (found.how, found.standard_error) == ("closed form", None)
    z = z_scores(parent_counts(candidates(pool), num, scheme, calls), num * found.probability)
    assert (np.abs(z) < Z).all()


@pytest.mark.parametrize(
    ("scheme", "wrong"),
    [
        (
            SelectionConfig(method="tournament", tournament_size=3),
            SelectionConfig(method="tournament", tournament_size=2),
        ),
        (
            SelectionConfig(method="sus"),
            SelectionConfig(method="sus", weights="boltzmann", temperature=1.0),
        ),
        (SelectionConfig(method="truncation"), SelectionConfig(method="sus")),
    ],
    ids=lambda s: f"{s.method}-{s.weights}-{s.tournament_size}",
)
def test_power_twin_another_scheme_does_not_pass_for_this_one(scheme, wrong):
    pool = candidates(POOLS["ties"])
    counts = parent_counts(pool, 10, scheme, 1_000)
    assert (
        np.abs(
            z_scores(
                counts,
                10 * parent_probabilities(pool, 10, scheme, np.random.default_rng(0)).probability,
            )
        )
        < Z
    ).all()
    assert (
        np.abs(
            z_scores(
                counts,
                10 * parent_probabilities(pool, 10, wrong, np.random.default_rng(0)).probability,
            )
        )
        > Z
    ).any()


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
@pytest.mark.parametrize(
    "scheme",
    [SelectionConfig(method=m, tournament_size=3) for m in ("truncation", "tournament", "sus")],
    ids=lambda scheme: scheme.method,
)
def test_survivors_are_selected_as_often_as_the_closed_form_says(scheme, pool):
    found = survival_probabilities(candidates(pool), 3, scheme, np.random.default_rng(0))
    assert (found.how, found.standard_error, found.filling, found.num) == (
        "closed form",
        None,
        "set" if scheme.method == "truncation" else None,
        3,
    )
    counts = survivor_counts(candidates(pool), 3, scheme, 3_000)
    assert (np.abs(z_scores(counts, found.probability)) < Z).all()
    if scheme.method == "tournament" and pool is not POOLS["all equal"]:
        with_replacement = 3 * expected.tournament(pool, 3)
        assert (np.abs(z_scores(counts, with_replacement)) > Z).any(), (
            "power twin: setting aside matters"
        )


def specialists():
    rng = np.random.default_rng(3)
    cases = rng.normal(size=(14, 48)) + 0.3 * rng.normal(size=(14, 1))
    return candidates(cases.mean(axis=1), cases)


def test_simulated_lexicase_agrees_with_hand_and_with_fresh_draws():
    cases = [[1.0, 0, 0], [0, 1, 1], [0.1, 0.1, 0.1]]
    scheme = SelectionConfig(method="epsilon_lexicase")
    found = parent_probabilities(
        candidates(np.mean(cases, axis=1), cases), 4, scheme, np.random.default_rng(5)
    )
    assert found.how == "simulation"
    # the first case drawn decides, and it is the first of three with probability 1/3
    p = np.array([1 / 3, 2 / 3, 0])
    assert (np.abs(found.probability - p) <= Z * np.sqrt(p * (1 - p) / PARENT_DRAWS)).all()
    np.testing.assert_allclose(
        found.standard_error, np.sqrt(found.probability * (1 - found.probability) / PARENT_DRAWS)
    )

    found = parent_probabilities(specialists(), 4, scheme, np.random.default_rng(6))
    fresh = parent_counts(specialists(), 5_000, scheme, 1)[0] / 5_000
    pooled = (fresh * 5_000 + found.probability * PARENT_DRAWS) / (5_000 + PARENT_DRAWS)
    assert (
        np.abs(fresh - found.probability)
        <= Z * np.sqrt(pooled * (1 - pooled) * (1 / 5_000 + 1 / PARENT_DRAWS))
    ).all()
    assert np.abs(fresh - expected.tournament(specialists().fitness, 2)).max() > Z * 0.5 / np.sqrt(
        5_000
    ), "power twin"


@pytest.mark.parametrize("method", ["epsilon_lexicase", "sus"])
def test_simulated_survival_agrees_with_fresh_draws_within_its_stated_error(method):
    scheme = SelectionConfig(method=method, weights="boltzmann", temperature=0.3)
    pool = specialists() if method == "epsilon_lexicase" else candidates(POOLS["all different"])
    found = survival_probabilities(pool, 3, scheme, np.random.default_rng(7))
    assert found.how == "simulation"
    assert found.probability.sum() == pytest.approx(3)
    fresh, draws = survivor_counts(pool, 3, scheme, 600).mean(axis=0), DRAWS[method]
    pooled = (600 * fresh + draws * found.probability) / (600 + draws)
    error = np.sqrt(pooled * (1 - pooled) * (1 / 600 + 1 / draws))
    assert (np.abs(fresh - found.probability) <= Z * error).all()
    assert (np.abs(fresh - found.probability[::-1]) > Z * error).any(), (
        "power twin: the wrong candidates are told apart"
    )


def test_nsga2_has_no_chance_in_it_so_that_one_call_says_all():
    pool = candidates([-1.0, -2.0, -2.0, -3.0, -1.0])
    scheme = SelectionConfig(method="nsga2")
    parents = parent_probabilities(pool, 7, scheme, np.random.default_rng(0))
    survivors = survival_probabilities(pool, 2, scheme, np.random.default_rng(0))
    np.testing.assert_array_equal(
        parent_counts(pool, 7, scheme, 20) / 7, np.tile(parents.probability, (20, 1))
    )
    np.testing.assert_array_equal(
        survivor_counts(pool, 2, scheme, 20), np.tile(survivors.probability, (20, 1))
    )
    assert (parents.standard_error == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected.tournament(np.array([]), 2), "at least one individual"),
        (lambda: expected.tournament(np.array([1.0, np.nan]), 2), "finite fitness"),
        (lambda: expected.tournament(np.array([1.0]), 0), "at least 1"),
        (lambda: expected.truncation(np.array([1.0]), 0), "at least one slot"),
        (lambda: expected.truncation_survival(np.array([1.0]), 2), "the 1 individuals"),
        (lambda: expected.proportional(np.array([1.0, -1.0])), "none negative"),
        (lambda: expected.softmax(np.array([1.0]), 0), "more than 0"),
        (lambda: expected.linear_ranking(np.array([1.0]), 2.5), r"from 1 \(no selection\) to 2"),
        (
            lambda: expected.survival_in_turn(np.array([1.0]), 2, expected.rank_weight_by_rank),
            "the 1 individuals",
        ),
        (
            lambda: parent_probabilities(
                candidates([1.0]), 0, SelectionConfig(), np.random.default_rng(0)
            ),
            "at least one slot",
        ),
        (
            lambda: parent_probabilities(
                candidates([np.nan]), 1, SelectionConfig(method="sus"), np.random.default_rng(0)
            ),
            "finite fitness",
        ),
    ],
)
def test_what_is_undefined_is_refused_with_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
