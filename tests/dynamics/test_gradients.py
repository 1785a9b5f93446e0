"""Invariants: (1) gradients are the slopes of relative success on all traits, with the errors that
they deserve; (2) collinear traits are named and shared out; (3) features that make fitness are
found; (4) softmax selection is a flow whose covariance, summed over time, is its differential; (5)
intensities are those of the schemes' theory; (6) what has no value says why.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.lineages import births_of

from evoprompt.dynamics.gradients import (
    Gradients,
    RewardFeatures,
    lande_arnold,
    reward_features,
    reward_weights,
    selection_gradients,
)
from evoprompt.dynamics.inheritance import Undefined
from evoprompt.dynamics.intensity import (
    Intensity,
    intensity,
    log_mean_exp,
    softmax_differential,
    softmax_flow,
    softmax_orders,
)

NAMES = ("length", "shots", "margin")
BETA = np.array([0.4, -0.2, 0.0])


def correlated(rng, n):
    """Three traits of which the first and the third are correlated by 0.6, in units of their
    own.
    """
    raw = rng.normal(size=(n, 3))
    raw[:, 2] = 0.6 * raw[:, 0] + 0.8 * raw[:, 2]
    return raw * [10.0, 0.1, 1.0] + [100.0, 3.0, -5.0]


def linear_success(rng, traits, beta=BETA, spread=0.3):
    """Expected success 1 + beta x, and realised success with an error whose size depends on the
    first trait.
    """
    x = (traits - [100.0, 3.0, -5.0]) / [10.0, 0.1, 1.0]
    expected = 2 + 2 * x @ beta
    return expected, expected + rng.normal(size=len(x)) * spread * (1 + np.abs(x[:, 0]))


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(6, 40))
def test_gradients_are_the_slopes_of_relative_success_and_differentials_are_their_sum(seed, n):
    rng = np.random.default_rng(seed)
    traits, weight = correlated(rng, n), rng.integers(0, 4, n) + 0.5
    found = selection_gradients(traits, NAMES, weight)
    if found.ridge:  # by chance nearly collinear
        return
    x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    design = np.column_stack([np.ones(n), x])
    slopes = np.linalg.lstsq(design, weight / weight.mean(), rcond=None)[0][1:]
    assert found.gradient == pytest.approx(slopes, abs=1e-8)
    assert found.differential == pytest.approx(
        [np.cov(weight / weight.mean(), x[:, k], ddof=0)[0, 1] for k in range(3)], abs=1e-12
    )
    assert np.corrcoef(x.T) @ found.gradient == pytest.approx(found.differential, abs=1e-8)
    assert found.gradient + found.indirect == pytest.approx(found.differential, abs=1e-12)
    assert found.scale == pytest.approx(traits.std(axis=0))


def test_two_uncorrelated_traits_worked_by_hand():
    # x = (-1,-1), (-1,1), (1,-1), (1,1), each twice; w = 1 but 3 for the last two pairs: w / mean =
    # 1/2, 1/2, 3/2, 3/2. s = (1/2, 0) = beta.
    traits = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]] * 2, dtype=float)
    found = selection_gradients(traits, ("a", "b"), np.array([1.0, 1, 3, 3] * 2))
    assert found.differential == pytest.approx([0.5, 0])
    assert found.gradient == pytest.approx([0.5, 0])
    assert (found.condition, found.ridge, found.warning) == (pytest.approx(1), 0, None)


def test_hc3_errors_are_those_of_the_textbooks_formula():
    rng = np.random.default_rng(1)
    traits = correlated(rng, 30)
    weight = linear_success(rng, traits)[1]
    found = selection_gradients(traits, NAMES, weight)
    x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    design = np.column_stack([np.ones(30), x])
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.diag(design @ inverse @ design.T)
    relative = weight / weight.mean()
    residual = relative - design @ (inverse @ design.T @ relative)
    covariance = inverse @ design.T @ np.diag((residual / (1 - leverage)) ** 2) @ design @ inverse
    assert found.standard_error == pytest.approx(np.sqrt(np.diag(covariance))[1:], rel=1e-9)


def test_known_gradients_are_found_within_their_errors_and_dragged_traits_have_none():
    """Two large populations (4.9 errors: 1e-6 each); power twin: the differential of the dragged
    trait is far from its gradient of 0.
    """
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        traits = correlated(rng, 4000)
        found = selection_gradients(traits, NAMES, linear_success(rng, traits)[1])
        assert np.all(
            np.abs(found.gradient - BETA) < 4.9 * found.standard_error + 0.02
        )  # + the traits' sampled spread
        assert found.differential[2] > 0.2
        assert found.indirect[2] == pytest.approx(0.6 * 0.4, abs=0.05)


def test_the_hc3_interval_covers_the_gradient_where_errors_are_unequal():
    """1,000 populations of 60: coverage 0.95 within 3.6 standard errors of 0.0069 (3e-4). Power
    twin: equal-variance errors cover less than 0.92.
    """
    rng, hits, plain = np.random.default_rng(4), 0, 0
    for _ in range(1000):
        traits = correlated(rng, 60)
        x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
        weight = 2 + 2 * x @ BETA + rng.normal(size=60) * (0.1 + x[:, 1] ** 2)
        found = selection_gradients(traits, NAMES, weight)
        truth = BETA[1] * 2 / weight.mean()
        hits += abs(found.gradient[1] - truth) < 2.003 * found.standard_error[1]
        residual = weight / weight.mean() - 1 - x @ found.gradient
        error = np.sqrt((residual @ residual) / 56 * np.linalg.inv(x.T @ x)[1, 1])
        plain += abs(found.gradient[1] - truth) < 2.003 * error
    assert 0.925 <= hits / 1000 <= 0.975
    assert plain / 1000 < 0.92


def test_collinear_traits_are_named_and_share_the_gradient_by_ridge():
    rng = np.random.default_rng(5)
    base = rng.normal(size=60)
    traits = np.column_stack([base, base + 1e-3 * rng.normal(size=60), rng.normal(size=60)])
    found = selection_gradients(
        traits, ("tokens", "bytes", "shots"), np.exp(0.3 * base), rng=np.random.default_rng(0)
    )
    assert found.ridge == 0.01
    assert found.warning.startswith("the traits tokens, bytes are collinear")
    assert found.gradient[0] == pytest.approx(found.gradient[1], abs=0.01)
    x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    expected = np.linalg.inv(x.T @ x / 60 + 0.01 * np.eye(3)) @ found.differential
    assert found.gradient == pytest.approx(expected, abs=1e-9)
    assert np.all((found.standard_error > 0) & (found.standard_error < 0.2))
    assert (
        selection_gradients(traits, ("tokens", "bytes", "shots"), np.exp(base)).standard_error
        is None
    )  # no generator, no bootstrap


def test_a_trait_that_is_the_sum_of_others_is_collinear_without_limit():
    traits = np.random.default_rng(6).normal(size=(40, 4))
    traits[:, 2] = traits[:, 0] + traits[:, 1]
    found = selection_gradients(traits, ("a", "b", "a+b", "c"), np.arange(40.0))
    assert found.condition == float("inf")
    assert "traits a, b, a+b are" in found.warning


def test_the_bootstraps_spread_is_that_of_repeated_populations():
    # 300 populations of 200 with two nearly equal traits: the mean reported spread is within 20 %
    # of the observed.
    rng, gradients, spreads = np.random.default_rng(7), [], []
    for i in range(300):
        base = rng.normal(size=200)
        traits = np.column_stack([base, base + 1e-2 * rng.normal(size=200)])
        weight = 2 + 0.6 * base + rng.normal(size=200)
        found = selection_gradients(traits, ("a", "b"), weight, rng=rng if i < 20 else None)
        gradients.append(found.gradient)
        spreads += [found.standard_error] if i < 20 else []
    assert np.mean(spreads, axis=0) == pytest.approx(np.std(gradients, axis=0), rel=0.2)


def test_what_cannot_be_estimated_says_why():
    rng = np.random.default_rng(0)
    traits = rng.normal(size=(5, 3))
    assert selection_gradients(traits[:4], NAMES, np.ones(4)) == Undefined(
        "4 individuals cannot tell 3 traits apart; expected at least 5"
    )
    assert isinstance(selection_gradients(traits, NAMES, np.ones(5)), Gradients)
    assert selection_gradients(traits, NAMES, np.zeros(5)) == Undefined("nobody left offspring")
    assert selection_gradients(np.full((5, 3), 0.1), NAMES, np.ones(5)) == Undefined(
        "no trait varies"
    )
    assert reward_features(traits, NAMES, np.full(5, 0.1)) == Undefined("fitness does not vary")
    traits[:, 1] = 0.1
    found = selection_gradients(traits, NAMES, np.ones(5))
    assert (found.dropped, found.trait_names) == (("shots",), ("length", "margin"))
    with pytest.raises(ValueError, match="3 columns and 2 names"):
        selection_gradients(traits, ("a", "b"), np.ones(5))
    alone = np.array([[0.0, 1], [0, 2], [0, 3], [0, 5], [1, 4]])
    assert "decides a gradient" in selection_gradients(alone, ("a", "b"), np.arange(5.0)).warning


def test_gradients_of_a_lineage_take_the_selected_parents_and_leave_fitness_out():
    rng = np.random.default_rng(8)
    traits = np.column_stack([rng.normal(size=20), rng.normal(size=20), rng.normal(size=20)])
    selected = np.arange(20) < 15
    before = births_of(traits, generation=0, selected=selected, names=("fitness", "a", "b"))
    parents = rng.integers(0, 15, 30)
    births = births_of(
        rng.normal(size=(30, 3)),
        [(j, i, 1) for j, i in enumerate(parents)],
        ["edit"] * 30,
        names=("fitness", "a", "b"),
    )
    found = lande_arnold(before, births)
    twin = selection_gradients(
        traits[:15, 1:], ("a", "b"), np.bincount(parents, minlength=15).astype(float)
    )
    assert found.trait_names == ("a", "b")
    assert found.gradient == pytest.approx(twin.gradient)
    expected_success = np.exp(traits[:, 0])
    assert lande_arnold(before, births, weight=expected_success).gradient == pytest.approx(
        selection_gradients(traits[:15, 1:], ("a", "b"), expected_success[:15]).gradient
    )


def test_features_that_make_fitness_are_found_with_the_share_that_they_explain():
    rng = np.random.default_rng(9)
    traits = correlated(rng, 5000)
    x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    true = np.array([1.0, -0.5, 0.25])
    signal = x @ true
    # half of the variance is explained
    fitness = -7 + signal + rng.normal(size=5000) * signal.std()
    found = reward_features(traits, NAMES, fitness)
    assert found.weight == pytest.approx(true, abs=0.1)
    assert found.r_squared == pytest.approx(0.5, abs=0.05)
    assert found.warning is None
    residual = fitness - fitness.mean() - x @ found.weight
    assert found.r_squared == pytest.approx(1 - residual.var() / fitness.var())


def test_a_reward_linear_in_features_moves_them_under_softmax_as_the_weights_say():
    # Delta x = R w / T to first order: T = 50 leaves an error of about 1/T of it, and the ridge 1 %
    # of the weights.
    rng = np.random.default_rng(10)
    traits = correlated(rng, 3000)
    x = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    fitness = x @ [1.0, -0.5, 0.25]
    found = reward_features(traits, NAMES, fitness)
    moved = [softmax_differential(x[:, k], fitness, 50.0) for k in range(3)]
    assert np.corrcoef(x.T) @ found.weight / 50 == pytest.approx(moved, rel=0.06)


def test_weights_over_time_follow_the_generations_and_say_where_there_are_none():
    rng = np.random.default_rng(11)

    def generation(g, weight):
        z = rng.normal(size=(200, 2))
        return births_of(
            np.column_stack([z @ weight, z]), generation=g, names=("fitness", "a", "b")
        )

    found = reward_weights(
        iter([generation(0, [1.0, 0.0]), generation(1, [0.0, 2.0]), generation(2, [0.0, 0.0])])
    )
    assert [g for g, _ in found] == [0, 1, 2]
    first, second, third = (f for _, f in found)
    assert isinstance(first, RewardFeatures)
    assert first.weight / first.scale == pytest.approx([1, 0], abs=0.02)
    assert second.weight / second.scale == pytest.approx([0, 2], abs=0.04)
    assert third == Undefined("fitness does not vary")


def test_intensities_are_those_of_the_schemes():
    # Normal fitness, 200,000 individuals: error about 0.005. Tournament success by rank: (r+1)^k -
    # r^k.
    f = np.sort(np.random.default_rng(12).normal(size=200_000))
    rank = np.arange(len(f)) / len(f)
    for k, expected in ((2, 0.5642), (3, 0.8463), (5, 1.1630)):
        assert intensity(f, (rank + 1 / len(f)) ** k - rank**k).intensity == pytest.approx(
            expected, abs=0.01
        )
    for best, expected in ((0.5, 0.7979), (0.25, 1.2711), (0.1, 1.7550)):
        assert intensity(f, (rank >= 1 - best).astype(float)).intensity == pytest.approx(
            expected, abs=0.01
        )


def test_intensity_worked_by_hand_and_undefined_without_variance():
    # f = 0, 2: variance 1. Weights 1, 3: mean 1.5, S = 0.5.
    assert intensity(np.array([0.0, 2.0]), np.array([1.0, 3.0])) == Intensity(1.0, 0.5, 0.5, 0.5)
    assert intensity(np.full(3, 0.1), np.ones(3)) == Undefined("fitness does not vary")
    assert intensity(np.arange(3.0), np.zeros(3)) == Undefined("nobody was selected")


@given(seeds, st.floats(0.2, 20))
def test_softmax_selection_is_the_covariance_summed_over_the_flow(seed, temperature):
    rng = np.random.default_rng(seed)
    f, z = rng.normal(size=(2, 30))
    assert softmax_flow(z, f, temperature) == pytest.approx(
        softmax_differential(z, f, temperature), abs=1e-12
    )


@given(seeds, st.floats(0.5, 20))
def test_fitness_gains_the_slope_of_log_mean_exp_and_never_falls(seed, temperature):
    f = np.random.default_rng(seed).normal(size=30)
    b, h = 1 / temperature, 1e-4
    slope = (log_mean_exp(f, b + h) - log_mean_exp(f, b - h)) / (2 * h) - (
        log_mean_exp(f, h) - log_mean_exp(f, -h)
    ) / (2 * h)
    gained = softmax_differential(f, f, temperature)
    assert gained == pytest.approx(slope, abs=1e-6)
    assert gained >= 0
    assert log_mean_exp(f - 5000, b) == pytest.approx(log_mean_exp(f, b) - 5000 * b)


def test_doubling_the_temperature_divides_the_orders_errors_by_4_and_8():
    rng = np.random.default_rng(13)
    f = rng.gamma(2.0, size=500)
    z = f + rng.normal(size=500)
    errors = []
    for temperature in (100.0, 200.0):
        exact = softmax_differential(z, f, temperature)
        errors.append([abs(order - exact) for order in softmax_orders(z, f, temperature)])
    assert errors[0][0] / errors[1][0] == pytest.approx(4, abs=0.15)
    assert errors[0][1] / errors[1][1] == pytest.approx(8, abs=0.3)


def test_a_temperature_that_is_not_positive_is_refused():
    for call in (softmax_differential, softmax_flow, softmax_orders):
        with pytest.raises(ValueError, match="expected a number above 0"):
            call(np.arange(3.0), np.arange(3.0), 0.0)
