"""The head against its own definition: left out is fitted without, and what tells nothing gains
nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.calibration import fit, leave_one_out
from evoprompt.linear_head import GAIN, OWN_WEIGHT, RIDGE, fit_head


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
    words, own, gold = drawn(0, 12, 1.0)
    head, left_out = fit_head(words, own, gold)
    among = own - np.logaddexp.reduce(own, axis=1, keepdims=True)
    x = (np.concatenate([words, among], axis=1) - head.mean) * head.scale
    y = np.eye(3)[gold] - 1 / 3
    for i in range(12):
        others = np.arange(12) != i
        a = x[others]
        weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(x.shape[1]), a.T @ y[others])
        np.testing.assert_allclose(left_out[i], GAIN * (x[i] @ weights), atol=1e-9)
    whole = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(head.weights, whole, atol=1e-9)


def test_what_words_know_makes_answers_right_that_the_choices_own_words_do_not():
    words, own, gold = drawn(1, 60, 1.5)
    head, left_out = fit_head(words, own, gold)
    more, more_own, right = drawn(2, 300, 1.5)
    logs = head.apply(more, more_own)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
    plain = fit(own, gold, "labelled").apply(more_own)
    assert (plain.argmax(axis=1) == right).mean() < 0.6
    assert (logs.argmax(axis=1) == right).mean() > 0.8
    # what is left out is no better than what was never seen: within two standard errors of 60
    judged = leave_one_out(left_out, gold, "labelled")
    assert (judged.argmax(axis=1) == gold).mean() == pytest.approx(
        (logs.argmax(axis=1) == right).mean(), abs=0.11
    )


def test_words_that_know_nothing_promise_nothing():
    """Of 3 choices a third is right by chance; above .57 of 60, four standard errors, never."""
    words, _, gold = drawn(3, 60, 0.0)
    blank = np.full((60, 3), -1.0)
    _, left_out = fit_head(words, blank, gold)
    judged = leave_one_out(left_out, gold, "labelled")
    assert (judged.argmax(axis=1) == gold).mean() < 0.57
    assert judged[np.arange(60), gold].mean() < -0.9  # a third each has -1.10
    # the power twin: the same head on the examples that it was fitted on is nearly always right
    head, _ = fit_head(words, blank, gold)
    assert (head.apply(words, blank).argmax(axis=1) == gold).mean() > 0.57


def test_the_choices_own_words_have_the_weight_that_is_said():
    words, own, gold = drawn(4, 30, 1.0)
    head, _ = fit_head(words, own, gold)
    among = own - np.logaddexp.reduce(own, axis=1, keepdims=True)
    x = (among - head.mean[40:]) * head.scale[40:]
    assert x.std() ** 2 * 3 == pytest.approx(OWN_WEIGHT, rel=1e-6)
