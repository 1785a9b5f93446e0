"""Selection: frequencies against closed forms (false-alarm probability 1e-6 each), and DEAP's traps
behind the fence.

A multinomial count k of n draws with probability p lies within z sd of np, sd = sqrt(np(1-p)); z =
5.4 has probability 7e-8, and the largest table here has 12 cells.
"""

from __future__ import annotations

import random
from math import sqrt

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprompt.config.evolution import SelectionConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.selection.base import LEAST_DRAWS, Candidates, affordable
from evoprompt.selection.lexicase import surviving
from evoprompt.selection.schemes import (
    EpsilonLexicase,
    StochasticUniversalSampling,
    _tickets,
    safe_weights,
)
from evoprompt.selection.select import (
    select_parents,
    select_survivors,
    survival_probabilities,
)

LOG_LIKELIHOODS = np.array([-4.0, -1.0, -3.0, -2.0])


def candidates(fitness, cases=None, tokens=None) -> Candidates:
    fitness = np.asarray(fitness, dtype=float)
    cases = np.asarray(cases, dtype=float) if cases is not None else fitness[:, None]
    return Candidates(
        fitness,
        cases,
        np.asarray(tokens if tokens is not None else np.zeros(len(fitness)), dtype=float),
    )


def frequencies(pool: Candidates, scheme: SelectionConfig, draws: int = 20_000) -> np.ndarray:
    return np.bincount(
        select_parents(pool, draws, scheme, np.random.default_rng(1)), minlength=len(pool.fitness)
    )


def agree(counts: np.ndarray, probabilities: np.ndarray) -> bool:
    n = counts.sum()
    return all(
        abs(k - n * p) <= 5.4 * sqrt(n * p * (1 - p))
        for k, p in zip(counts, probabilities, strict=True)
    )


def tournament_probabilities(fitness: np.ndarray, size: int) -> np.ndarray:
    """[((L+E)/N)^k - (L/N)^k] / E, with L strictly worse and E equal candidates."""
    worse = (fitness[None] < fitness[:, None]).sum(1)
    equal = (fitness[None] == fitness[:, None]).sum(1)
    n = len(fitness)
    return (((worse + equal) / n) ** size - (worse / n) ** size) / equal


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("fitness", [LOG_LIKELIHOODS, np.array([-1.0, -1.0, -2.0, -5.0, -5.0])])
def test_tournaments_are_won_as_often_as_the_closed_form_says(size, fitness):
    counts = frequencies(
        candidates(fitness), SelectionConfig(method="tournament", tournament_size=size)
    )
    assert agree(counts, tournament_probabilities(fitness, size))
    assert not agree(counts, tournament_probabilities(fitness, 5 - size)), (
        "power twin: the other size must be told apart"
    )


def test_stochastic_universal_sampling_is_within_one_of_its_share_on_log_likelihoods():
    scheme = SelectionConfig(method="sus")
    shares = safe_weights(LOG_LIKELIHOODS, scheme) / safe_weights(LOG_LIKELIHOODS, scheme).sum()
    np.testing.assert_allclose(shares, np.array([1, 4, 2, 3]) / 10)
    for seed in range(50):
        counts = np.bincount(
            select_parents(candidates(LOG_LIKELIHOODS), 7, scheme, np.random.default_rng(seed)),
            minlength=4,
        )
        assert counts.sum() == 7
        assert (np.abs(counts - 7 * shares) < 1).all()


def test_boltzmann_weights_are_a_softmax():
    weights = safe_weights(
        LOG_LIKELIHOODS, SelectionConfig(method="sus", weights="boltzmann", temperature=2.0)
    )
    np.testing.assert_allclose(
        weights / weights.sum(), np.exp(LOG_LIKELIHOODS / 2) / np.exp(LOG_LIKELIHOODS / 2).sum()
    )


def test_ties_share_their_ranks():
    np.testing.assert_allclose(
        safe_weights(np.array([2.0, 1.0, 2.0]), SelectionConfig(method="sus")), [2.5, 1, 2.5]
    )


def test_truncation_takes_the_best_and_breaks_ties_by_chance():
    scheme = SelectionConfig(method="truncation")
    assert sorted(
        select_parents(candidates(LOG_LIKELIHOODS), 2, scheme, np.random.default_rng(0))
    ) == [1, 3]
    tied = {
        tuple(select_survivors(candidates([0, 0, 0, 1]), 2, scheme, np.random.default_rng(s)))
        for s in range(40)
    }
    assert tied == {(0, 3), (1, 3), (2, 3)}


def test_lexicase_keeps_specialists_that_the_mean_would_lose():
    cases = [[1.0, 0, 0], [0, 1, 1], [0.1, 0.1, 0.1]]
    counts = frequencies(
        candidates(np.mean(cases, axis=1), cases), SelectionConfig(method="epsilon_lexicase"), 600
    )
    # By hand: the first case drawn decides; it is the first of three with probability 1/3.
    assert agree(counts, np.array([1 / 3, 2 / 3, 0]))


def test_nsga2_keeps_the_front_of_fitness_and_length():
    pool = candidates([-1.0, -2.0, -3.0, -2.5], tokens=[300, 100, 10, 200])
    assert select_survivors(pool, 3, SelectionConfig(method="nsga2"), np.random.default_rng(0)) == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("select", [select_parents, select_survivors])
def test_fitness_that_is_not_finite_is_refused(bad, select):
    with pytest.raises(ValueError, match="NaN or infinite"):
        select(candidates([-1.0, bad]), 1, SelectionConfig(), np.random.default_rng(0))


def test_deap_itself_falls_into_the_traps_that_the_fence_keeps_out():
    """Power twin of the fence: without it, DEAP's roulette gives one candidate only on
    log-likelihoods, and NaN wins tournaments.
    """
    from deap import tools

    from evoprompt.selection.schemes import _tickets

    random.seed(0)
    assert {t.index for t in tools.selRoulette(_tickets(LOG_LIKELIHOODS[:, None]), 200)} == {1}
    wins = [
        t.index
        for t in tools.selTournament(_tickets(np.array([[np.nan], [1.0], [2.0]])), 300, tournsize=3)
    ]
    assert wins.count(0) > 30


def test_no_candidates_or_too_few_are_refused():
    with pytest.raises(ValueError, match="no candidates"):
        select_parents(candidates([]), 1, SelectionConfig(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="only 2 candidates"):
        select_survivors(candidates([1.0, 2.0]), 3, SelectionConfig(), np.random.default_rng(0))


def test_an_unknown_scheme_is_refused_before_anything_is_written(config_file, tmp_path):
    for key in ("parent_selection", "survival_selection"):
        config = load_config(config_file, [f"evolution.{key}.method=turnament"])
        with pytest.raises(UserError, match=f"evolution.{key}.method .*did you mean 'tournament'"):
            start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_large_populations_fewer_survivals_are_simulated():
    # 14 candidates, 6 survivors, 48 examples: 4,032 a draw, all 50 of them are within 1,500,000
    assert affordable(50, 14 * 6 * 48) == 50
    assert affordable(50, 100 * 20 * 48) == 15  # 1,500,000 / 96,000
    assert affordable(50, 500 * 100 * 48) == LEAST_DRAWS


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2), st.integers(0, 1000))
def test_lexicase_and_sus_draw_as_deap_does(num: int, cases: int, digits: int, seed: int):
    """The same winners by the same random numbers, on cases with many ties and with few."""
    values = np.round(np.random.default_rng(seed).normal(size=(num, cases)), digits)
    pool = candidates(values.mean(axis=1), values)
    cold = SelectionConfig(method="sus", weights="boltzmann", temperature=0.1)
    drawing = {
        EpsilonLexicase: (cold, values, tools.selAutomaticEpsilonLexicase),
        StochasticUniversalSampling: (
            cold,
            safe_weights(pool.fitness, cold)[:, None],
            tools.selStochasticUniversalSampling,
        ),
    }
    for scheme, (how, given_values, deap) in drawing.items():
        random.seed(seed)
        expected = [t.index for t in deap(_tickets(given_values), 5)]
        random.seed(seed)
        assert scheme().draw(pool, 5, how) == expected


def test_survival_by_lexicase_among_three_is_as_worked_by_hand():
    """Each case has one candidate that is alone at the top, and it comes first with 1/3; of two
    survivors the first is that one. Without A, B wins cases 2 and 3 and C case 1: their medians
    are in the middle, the deviation is half of the distance, and the better one alone stays.
    A: 1/3 + (2/3: B is out; A against C: A wins case 1, C cases 2 and 3, which come first with
    1/3, 2/3) 2/3 * 1/3 = 5/9. B: 2/3 + 1/3 * (against C: B wins 2 and 3) 2/3 = 8/9. C: the rest.
    """
    cases = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.1, 0.1, 0.1]])
    found = surviving(cases, 2, 20_000, np.random.default_rng(0)) / 20_000
    expected = np.array([5 / 9, 8 / 9, 5 / 9])
    assert np.abs(found - expected).max() < 5 * np.sqrt(0.25 / 20_000)


def test_survival_chances_of_large_populations_add_up():
    rng = np.random.default_rng(1)
    cases = rng.normal(size=(120, 20))
    pool = candidates(cases.mean(axis=1), cases)
    for method in ("epsilon_lexicase", "sus"):
        how = SelectionConfig(method=method, weights="boltzmann", temperature=0.01)
        found = survival_probabilities(pool, 60, how, np.random.default_rng(2))
        assert found.probability.sum() == pytest.approx(60)
        with pytest.raises(ValueError, match="only 120"):
            survival_probabilities(pool, 121, how, np.random.default_rng(2))
