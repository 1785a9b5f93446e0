"""Offsets and temperature are those of the stated optimum, each example is left out of its own fit,
and a favour for a label that was put in comes out.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from evoprompt.calibration import (
    LEAST_TEMPERATURE,
    OFFSET_RIDGE,
    TEMPERATURE_RIDGE,
    Calibration,
    best_way,
    fit,
    leave_one_out,
)


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.logaddexp.reduce(values, axis=-1, keepdims=True)


def drawn(seed: int, examples: int, choices: int, *, signal: float, bias: float, shares=None):
    """Values with a signal for the right choice and a favour for each, and the right choices."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(choices, size=examples, p=shares)
    favour = bias * rng.normal(size=choices)
    values = rng.normal(size=(examples, choices)) + favour - 40.0
    values[np.arange(examples), gold] += signal
    return values, gold


def slow_fit(values: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, float]:
    """The labelled fit by a general optimizer."""
    logs = log_softmax(values)
    batch = -logs.mean(axis=0)
    batch -= batch.mean()

    def loss(parameters: np.ndarray) -> float:
        offsets, temperature = parameters[:-1], parameters[-1]
        found = log_softmax(temperature * logs + offsets)[np.arange(len(gold)), gold].sum()
        found -= OFFSET_RIDGE * ((offsets - batch) ** 2).sum()
        return -(found - TEMPERATURE_RIDGE * (temperature - 1) ** 2)

    bounds = [(None, None)] * len(batch) + [(LEAST_TEMPERATURE, None)]
    found = minimize(loss, [*batch, 1.0], method="L-BFGS-B", bounds=bounds, tol=1e-15)
    return found.x[:-1], found.x[-1]


def test_batch_offsets_by_hand():
    """Two examples at odds 3:1 and 1:1: mean logs (log 3/4 + log 1/2)/2 and (log 1/4 + log 1/2)/2,
    half their difference, log(3)/4, with opposite signs.
    """
    values = np.log([[3.0, 1.0], [5.0, 5.0]])
    found = fit(values, np.array([0, 1]), "batch")
    assert found == Calibration("batch", 1.0, pytest.approx((-np.log(3) / 4, np.log(3) / 4)))
    odds = found.apply(values)
    assert odds[0, 0] - odds[0, 1] == pytest.approx(np.log(3) / 2)


@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([2, 9, 48]))
def test_the_labelled_fit_is_that_of_a_general_optimizer(seed: int, choices: int, examples: int):
    values, gold = drawn(seed, examples, choices, signal=1.0, bias=2.0)
    found = fit(values, gold, "labelled")
    offsets, temperature = slow_fit(values, gold)
    np.testing.assert_allclose(found.offsets, offsets, atol=2e-4)
    assert found.temperature == pytest.approx(temperature, abs=2e-4)
    assert sum(found.offsets) == pytest.approx(0, abs=1e-8)


@given(st.integers(0, 10**6), st.sampled_from(["batch", "labelled"]))
def test_an_example_is_calibrated_by_the_others(seed: int, way):
    values, gold = drawn(seed, 11, 3, signal=1.0, bias=2.0)
    found = leave_one_out(values, gold, way)
    for i in range(len(gold)):
        others = np.arange(len(gold)) != i
        slow = fit(values[others], gold[others], way).apply(log_softmax(values[i]))
        np.testing.assert_allclose(found[i], slow, atol=1e-7)


@given(st.integers(0, 10**6), st.floats(-50, 50))
def test_what_all_choices_of_an_example_share_changes_nothing(seed: int, shift: float):
    values, gold = drawn(seed, 12, 3, signal=1.0, bias=1.0)
    moved = values + shift * np.arange(12)[:, None]
    np.testing.assert_allclose(
        leave_one_out(moved, gold, "labelled"), leave_one_out(values, gold, "labelled"), atol=1e-6
    )


@pytest.mark.parametrize("way", ["batch", "labelled"])
def test_a_favour_that_was_put_in_comes_out(way):
    values, gold = drawn(3, 64, 3, signal=2.0, bias=0.0)
    favoured = values + np.array([0.0, 6.0, -3.0])
    raw = (log_softmax(favoured).argmax(axis=1) == gold).mean()
    found = (leave_one_out(favoured, gold, way).argmax(axis=1) == gold).mean()
    assert raw < 0.5
    assert found > 0.8
    offsets = fit(favoured, gold, way).offsets
    assert offsets[1] < offsets[0] < offsets[2]


def test_where_one_label_is_rare_the_labelled_way_is_chosen_and_better():
    """Batch offsets suppose balance: at 90:10 they take the signal for favour."""
    shares = [0.9, 0.1]
    prompts = [drawn(s, 60, 2, signal=1.5, bias=1.0, shares=shares) for s in range(20)]
    assert best_way(prompts, ("off", "batch", "labelled")) == "labelled"
    right = {
        way: np.mean([(leave_one_out(v, y, way).argmax(axis=1) == y).mean() for v, y in prompts])
        for way in ("batch", "labelled")
    }
    assert right["labelled"] > right["batch"] + 0.02


def test_values_that_are_calibrated_already_are_best_left_alone():
    """Power twin: with true probabilities and few examples every fit only adds noise."""
    rng = np.random.default_rng(0)
    prompts = []
    for _ in range(200):
        logs = log_softmax(rng.normal(size=(8, 4)))
        gold = np.array([rng.choice(4, p=np.exp(row)) for row in logs])
        prompts.append((logs, gold))
    assert best_way(prompts, ("labelled", "batch", "off")) == "off"


def test_values_that_tell_the_opposite_are_made_small_and_not_turned_around():
    values, gold = drawn(1, 48, 2, signal=-3.0, bias=0.0)
    assert fit(values, gold, "labelled").temperature == LEAST_TEMPERATURE


def test_one_example_has_no_others():
    values = np.log([[3.0, 1.0]])
    np.testing.assert_allclose(
        leave_one_out(values, np.array([0]), "labelled"), log_softmax(values)
    )
