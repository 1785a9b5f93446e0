"""What a policy answers among choices, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evoprompt.choices import (
    COMPARISONS,
    LIKELIHOOD,
    batch_calibrated,
    choice_log_probabilities,
    correct,
    predicted,
)
from evoprompt.testing.fitness import drawn_scores

PMI = COMPARISONS["pmi"]
PER_LENGTH = COMPARISONS["per_token"], COMPARISONS["per_byte"]


def test_the_choices_that_there_are_share_all_probability():
    scores = drawn_scores(0, with_prior=True)
    for comparison in COMPARISONS.values():
        logs = choice_log_probabilities(scores, comparison)
        np.testing.assert_allclose(np.exp(logs).sum(axis=2), 1)
        assert (np.isfinite(logs) == scores.present).all()


def test_beyond_the_prior_the_likelihoods_are_divided_by_it():
    # Likelihoods 1/2 and 1/4 after the input, 1/2 and 1/8 without content: ratios 1 and 2.
    two = np.ones((1, 1, 2), dtype=np.int64)
    scores = replace(
        drawn_scores(0, num_policies=1, num_examples=1, num_choices=2),
        log_likelihood=np.log([[[1 / 2, 1 / 4]]]),
        prior=np.log([[[1 / 2, 1 / 8]]]),
        num_tokens=two,
        gold=np.array([1]),
    )
    plain, beyond = (choice_log_probabilities(scores, c) for c in (LIKELIHOOD, PMI))
    np.testing.assert_allclose(np.exp(plain), [[[2 / 3, 1 / 3]]])
    np.testing.assert_allclose(np.exp(beyond), [[[1 / 3, 2 / 3]]])
    assert predicted(scores).tolist() == [[0]]
    assert correct(scores).tolist() == [[False]]
    assert predicted(scores, PMI).tolist() == [[1]]
    assert correct(scores, PMI).tolist() == [[True]]


def test_per_token_and_per_byte_the_answer_is_the_likeliest_by_its_length():
    # -2 and -3 nats of 1 and 2 tokens, 5 and 6 bytes: -2 and -1.5 per token, -0.4 and -0.5 per byte
    scores = replace(
        drawn_scores(0, num_policies=1, num_examples=1, num_choices=3),
        log_likelihood=np.array([[[-2.0, -3.0, -np.inf]]]),
        num_tokens=np.array([[[1, 2, 0]]]),
        num_bytes=np.array([[[5, 6, 0]]]),
    )
    values = COMPARISONS["per_token"].values(scores)
    np.testing.assert_allclose(values, [[[-2.0, -1.5, -np.inf]]])
    assert [int(predicted(scores, c)[0, 0]) for c in (LIKELIHOOD, *PER_LENGTH)] == [0, 1, 0]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="an example has none"):
        choice_log_probabilities(drawn_scores(0, num_choices=1))
    with pytest.raises(ValueError, match="prior, and it was not measured"):
        choice_log_probabilities(drawn_scores(0), PMI)


def test_batch_calibration_does_not_see_what_a_choice_has_after_every_input():
    logs, each = np.log([[0.6, 0.1, 0.3], [0.5, 0.4, 0.1]]), np.array([[1, 2, 3]] * 2)
    calibrated = batch_calibrated(logs, each)
    np.testing.assert_allclose(
        batch_calibrated(logs + np.array([1.0, -2.0, 0.5]), each), calibrated
    )
    np.testing.assert_allclose(calibrated.mean(axis=0), 0, atol=1e-15)
    assert calibrated.argmax(axis=1).tolist() == [2, 1]  # by likelihood it would be 0 and 0


def test_choices_that_not_all_inputs_have_are_compared_with_each_other_as_they_are():
    # the last choice is offered everywhere, the second input has one less
    values = np.array([[-1.0, -2.0, -6.0], [-3.0, -np.inf, -2.0]])
    calibrated = batch_calibrated(values, np.array([[0, 0, 1], [0, 0, 1]]))
    np.testing.assert_allclose(calibrated, [[1.0, 0.0, -2.0], [-1.0, -np.inf, 2.0]])
