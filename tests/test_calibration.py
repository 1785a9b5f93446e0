"""Offsets and temperature are those of the stated optimum, each example is left out of its own fit,
and a favour for a label that was put in comes out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from evoprompt.calibration import (
    Calibration,
    apply,
    by_label,
    calibrated_out,
    fit,
    fitted,
    leave_one_out,
    worth_of_ways,
)
from evoprompt.choices import COMPARISONS, choice_log_probabilities, correct, predicted
from evoprompt.fitness.likelihood import Accuracy, LabelNormalized, PerToken, Sum
from evoprompt.fitness.traits import case_traits
from evoprompt.records import LabelScores
from evoprompt.stats.stacking import FACTOR_RIDGE, LEAST_TEMPERATURE, OFFSET_RIDGE


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
        found -= OFFSET_RIDGE * ((offsets - temperature * batch) ** 2).sum()
        return -(found - FACTOR_RIDGE * (temperature - 1) ** 2)

    bounds = [(None, None)] * len(batch) + [(LEAST_TEMPERATURE, None)]
    found = minimize(loss, [*batch, 1.0], method="L-BFGS-B", bounds=bounds, tol=1e-15)
    return found.x[:-1], found.x[-1]


def best_way(prompts) -> str:
    worth = worth_of_ways([(v, y, None) for v, y in prompts], ("off", "batch", "labelled"))
    return max(worth, key=worth.__getitem__)


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
    assert best_way(prompts) == "labelled"
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
    assert best_way(prompts) == "off"


def test_values_that_tell_the_opposite_are_made_small_and_not_turned_around():
    values, gold = drawn(1, 48, 2, signal=-3.0, bias=0.0)
    assert fit(values, gold, "labelled").temperature == LEAST_TEMPERATURE


def test_one_example_has_no_others():
    values = np.log([[3.0, 1.0]])
    np.testing.assert_allclose(
        leave_one_out(values, np.array([0]), "labelled"), log_softmax(values)
    )


def measured(values: np.ndarray, gold: np.ndarray, prior: np.ndarray | None = None) -> LabelScores:
    """Scores of a policy on examples with these log-likelihoods, shape (example, choice)."""
    shape = (1, *values.shape)
    return LabelScores(
        policy_ids=("p",),
        example_ids=tuple(f"e{i}" for i in range(len(gold))),
        gold=gold,
        log_likelihood=values[None],
        num_tokens=np.ones(shape, dtype=np.int64),
        num_bytes=np.ones(shape, dtype=np.int64),
        is_greedy=np.zeros(shape, dtype=bool),
        prior=None if prior is None else np.broadcast_to(prior, shape),
    )


def test_contextual_offsets_by_hand():
    """After N/A the odds are 4:1, so log 4 is taken off: 3:1 becomes 3:4, and 8:1 becomes 2:1."""
    values, prior = np.log([[3.0, 1.0], [8.0, 1.0]]), np.log([0.4, 0.1])
    scores = measured(values, np.array([0, 1]), prior)
    found = calibrated_out(scores, "contextual")
    assert found.calibrated is not None
    np.testing.assert_allclose(np.exp(found.calibrated[0]), [[3 / 7, 4 / 7], [2 / 3, 1 / 3]])
    assert predicted(scores).tolist() == [[0, 0]]
    assert predicted(found).tolist() == [[1, 0]]
    offsets = fitted([scores], "contextual").offsets
    assert offsets == pytest.approx((-np.log(2), np.log(2)))
    alone = measured(values[:1], np.array([0]), prior)
    np.testing.assert_allclose(
        calibrated_out(alone, "contextual").calibrated, found.calibrated[:, :1]
    )
    with pytest.raises(ValueError, match="prior"):
        calibrated_out(measured(values, np.array([0, 1])), "contextual")


def test_everything_that_compares_choices_follows_and_what_is_raw_stays_raw():
    values, gold = drawn(3, 24, 3, signal=2.0, bias=0.0)
    scores = measured(values + np.array([0.0, 6.0, -3.0]), gold)
    found = calibrated_out(scores, "labelled")
    expected = leave_one_out(scores.log_likelihood[0], gold, "labelled")
    np.testing.assert_allclose(choice_log_probabilities(found)[0], expected)
    assert correct(found).mean() > correct(scores).mean() + 0.3
    cases = LabelNormalized().cases(found)[0]
    np.testing.assert_allclose(cases, expected[np.arange(24), gold])
    before, after = case_traits(scores), case_traits(found)
    assert after["accuracy"].mean() == Accuracy().cases(found).mean() > before["accuracy"].mean()
    assert (after["margin"] != before["margin"]).all()
    np.testing.assert_array_equal(after["cross_entropy"], before["cross_entropy"])
    for kind in (Sum(), PerToken()):
        np.testing.assert_array_equal(kind.cases(found), kind.cases(scores))
    by_token = COMPARISONS["per_token"]
    np.testing.assert_array_equal(by_token.values(found), by_token.values(scores))
    assert calibrated_out(scores, "off") is scores


def test_several_policies_are_calibrated_each_by_itself():
    rows = [drawn(s, 12, 3, signal=1.0, bias=3.0)[0] for s in range(4)]
    gold = drawn(0, 12, 3, signal=1.0, bias=3.0)[1]
    alone = [measured(values, gold) for values in rows]
    both = replace(
        alone[0],
        policy_ids=tuple("abcd"),
        **{
            name: np.concatenate([getattr(s, name) for s in alone])
            for name in ("log_likelihood", "num_tokens", "num_bytes", "is_greedy")
        },
    )
    together = calibrated_out(both, "labelled").calibrated
    for row, scores in zip(together, alone, strict=True):
        np.testing.assert_allclose(row, calibrated_out(scores, "labelled").calibrated[0])


def test_a_calibration_is_fitted_on_all_that_was_measured_and_applied_to_the_rest():
    values, gold = drawn(5, 60, 3, signal=1.5, bias=3.0)
    first, second, rest = (
        measured(values[part], gold[part])
        for part in (slice(0, 24), slice(24, 40), slice(40, None))
    )
    found = fitted([first, second], "labelled")
    assert found == fit(values[:40], gold[:40], "labelled")
    np.testing.assert_array_equal(apply(found, rest).calibrated[0], found.apply(values[40:]))
    named = by_label(found, ("a", "b", "c"), 40)
    assert named.offsets["b"] == found.offsets[1]
    turned = named.apply(values[40:, [2, 0, 1]], ("c", "a", "b"))
    np.testing.assert_allclose(turned[:, [1, 2, 0]], found.apply(values[40:]))
    others = named.apply(values[40:], ("a", "b", "x"))
    np.testing.assert_allclose(others, log_softmax(values[40:]), err_msg="x has no offset")
    assert apply(fitted([first], "off"), rest) is rest


def wordings(seed: int, num: int, shift: float) -> LabelScores:
    """Words of which the first half is swayed by wording and in one wording tells of the choice,
    and the second half tells of it in all.
    """
    rng = np.random.default_rng(seed)
    gold, swayed = np.arange(num) % 2, shift if shift else 0.0
    words = rng.normal(size=(num, 40)) - 5
    words[:, :20] += (2.0 * gold - 1)[:, None] * (1.0 if not shift else -1.0) + swayed
    words[:, 20:] += (2.0 * gold - 1)[:, None]
    own = measured(rng.normal(size=(num, 2)) - 3, gold)
    ids = tuple(str(i) for i in range(num))
    return replace(own, example_ids=ids, features=words[None])


def test_a_head_that_met_other_wordings_bears_them():
    learned, rest = wordings(0, 60, 0.0), wordings(2, 300, 0.0)
    changed, asked = wordings(1, 30, 0.7), wordings(3, 300, 0.7)
    alone, beside = fitted([learned], "head"), fitted([learned], "head", [changed])
    assert correct(apply(alone, asked)).mean() < 0.8
    assert correct(apply(beside, asked)).mean() > 0.95
    assert correct(apply(beside, rest)).mean() > 0.95
    # what is learned of an example in another wording is no news of it
    assert beside.factor < fitted([learned], "head", [replace(changed, example_ids=NEW)]).factor
    offsets = [fitted([learned], "labelled", c).offsets for c in ((), (changed,))]
    assert offsets[0] == offsets[1]


#: Examples that were not met.
NEW = tuple(f"new {i}" for i in range(30))


def test_rare_labels_stay_rare_under_labelled_offsets():
    """80:20 data, split in proportion: held-out answers keep the shares, and gain accuracy."""
    shares = {way: [] for way in ("labelled", "batch")}
    right = {way: [] for way in ("labelled", "batch")}
    for seed in range(40):
        values, gold = drawn(seed, 332, 2, signal=1.5, bias=1.5, shares=[0.8, 0.2])
        learned, rest = measured(values[:32], gold[:32]), measured(values[32:], gold[32:])
        for way in shares:
            found = apply(fitted([learned], way), rest)
            shares[way].append((predicted(found) == 1).mean())
            right[way].append(correct(found).mean())
    assert np.mean(shares["labelled"]) == pytest.approx(0.2, abs=0.06)
    assert np.mean(right["labelled"]) > 0.85
    # power twin: offsets that suppose balance push to even shares, and lose to always saying 0
    assert np.mean(shares["batch"]) > 0.33
    assert np.mean(right["batch"]) < 0.8


def test_scores_on_fewer_or_more_examples_lose_the_calibration_of_the_others():
    values, gold = drawn(2, 12, 3, signal=1.0, bias=3.0)
    found = calibrated_out(measured(values, gold), "labelled")
    assert found.first(12) is found
    part, rest = found.first(8), measured(values[8:], gold[8:])
    assert (part.calibrated, part.joined(rest).calibrated) == (None, None)
    assert found.joined(rest).calibrated is None
    again = calibrated_out(part, "labelled").calibrated
    np.testing.assert_array_equal(again[0], leave_one_out(values[:8], gold[:8], "labelled"))
