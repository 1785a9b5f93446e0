"""The head against its own definition: left out is fitted without, and what tells nothing gains
nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.calibration import fit, leave_one_out
from evoprompt.linear_head import GAIN, LEAST_SPREAD, RIDGE, fit_head


def drawn(seed: int, num: int, told: float, choices: int = 3, words: int = 40):
    """Words that know the choice by `told` nats; the choices' own know little."""
    rng = np.random.default_rng(seed)
    gold = np.arange(num) % choices
    values = rng.normal(size=(num, words)) - 5
    for choice in range(choices):
        values[gold == choice, choice :: 2 * choices] += told
    own = rng.normal(size=(num, choices)) + 0.3 * np.eye(choices)[gold] - 3
    return values, own, gold


def test_left_out_is_what_a_head_that_is_fitted_on_the_others_gives():
    words, _, gold = drawn(0, 12, 1.0)
    head, left_out = fit_head(words, gold, 3)
    x = (words - words.mean(axis=0)) / (words.std(axis=0) + LEAST_SPREAD) / np.sqrt(40)
    y = np.eye(3)[gold] - 1 / 3
    for i in range(12):
        others = np.arange(12) != i
        a = x[others]
        weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(40), a.T @ y[others])
        np.testing.assert_allclose(left_out[i], GAIN * (x[i] @ weights), atol=1e-9)
    whole = np.linalg.solve(x.T @ x + RIDGE * np.eye(40), x.T @ y)
    np.testing.assert_allclose(head.outputs(words), GAIN * (x @ whole), atol=1e-9)


def test_an_example_in_several_wordings_is_left_out_in_all_of_them():
    words, _, gold = drawn(4, 12, 1.0)
    groups = np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 6, 7])
    head, left_out = fit_head(words, gold, 3, groups)
    x = (words - words.mean(axis=0)) / (words.std(axis=0) + LEAST_SPREAD) / np.sqrt(40)
    y = np.eye(3)[gold] - 1 / 3
    for i in range(12):
        a = x[groups != groups[i]]
        weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(40), a.T @ y[groups != groups[i]])
        np.testing.assert_allclose(left_out[i], GAIN * (x[i] @ weights), atol=1e-9)
    plain, alone = fit_head(words, gold, 3), fit_head(words, gold, 3, np.arange(12))
    np.testing.assert_allclose(plain[1], alone[1], atol=1e-9)
    np.testing.assert_array_equal(plain[0].weights, head.weights, "the head itself is of all")


def test_one_word_and_two_examples_by_hand():
    """The word is a nat likelier after the first: x = +-1/2 / 0.8, y = (1/2, -1/2) and back."""
    words, gold = np.array([[-1.0], [-2.0]]), np.array([0, 1])
    head, left_out = fit_head(words, gold, 2)
    x = 0.5 / 0.8
    weight = (2 * x * 0.5) / (2 * x * x + 0.3)
    np.testing.assert_allclose(
        head.outputs(words), GAIN * x * weight * np.array([[1, -1], [-1, 1]])
    )
    # of the other alone: weight x / (x^2 + 0.3) / 2, and what is told is turned around
    other = x * 0.5 / (x * x + 0.3)
    np.testing.assert_allclose(left_out, GAIN * x * other * np.array([[1, -1], [-1, 1]]))


def test_what_words_know_makes_answers_right_that_the_choices_own_words_do_not():
    words, own, gold = drawn(1, 60, 1.5)
    calibration = fit(own, gold, "head", words=words)
    more, more_own, right = drawn(2, 300, 1.5)
    logs = calibration.apply(more_own, more)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
    plain = fit(own, gold, "labelled").apply(more_own)
    assert (plain.argmax(axis=1) == right).mean() < 0.6
    assert (logs.argmax(axis=1) == right).mean() > 0.8
    # what is left out is no better than what was never seen: within two standard errors of 60
    judged = leave_one_out(own, gold, "head", words=words)
    assert (judged.argmax(axis=1) == gold).mean() == pytest.approx(
        (logs.argmax(axis=1) == right).mean(), abs=0.11
    )


def test_words_that_know_nothing_promise_nothing():
    """Of 3 choices a third is right by chance; above .57 of 60, four standard errors, never."""
    words, _, gold = drawn(3, 60, 0.0)
    blank = np.full((60, 3), -1.0)
    judged = leave_one_out(blank, gold, "head", words=words)
    assert (judged.argmax(axis=1) == gold).mean() < 0.57
    assert judged[np.arange(60), gold].mean() < -1.0  # a third each has -1.10
    assert judged[np.arange(60), gold].mean() > -1.25
    # the power twin: the head on the examples that it was fitted on is nearly always right
    head, _ = fit_head(words, gold, 3)
    assert (head.outputs(words).argmax(axis=1) == gold).mean() > 0.57


def test_a_few_examples_of_words_that_know_nothing_cost_little():
    """Beside choices that tell, 40 words that do not: the nats lost on new examples are few."""
    lost = []
    for seed in range(20):
        words, own, gold = drawn(seed, 12, 0.0)
        own = own + 2.0 * np.eye(3)[gold]
        more, more_own, right = drawn(100 + seed, 200, 0.0)
        more_own = more_own + 2.0 * np.eye(3)[right]
        rows = np.arange(200), right
        with_head = fit(own, gold, "head", words=words).apply(more_own, more)[rows].mean()
        lost.append(fit(own, gold, "labelled").apply(more_own)[rows].mean() - with_head)
    assert np.mean(lost) < 0.1
