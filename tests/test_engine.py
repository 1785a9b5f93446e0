"""Invariants: packed scores are the plain ones, for any requests, order and budget; and nothing is forwarded twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_trie import request_lists
from toy_lm import ToyLM

from evoprompt.errors import UserError
from evoprompt.scoring.engine import Scorer, probe_requests
from evoprompt.scoring.trie import TokenRequest


@given(request_lists, st.integers(1, 40))
def test_packed_scores_are_the_plain_ones_and_each_prefix_is_forwarded_once(requests, budget):
    model = ToyLM()
    packed = Scorer(model, chunk_tokens=budget, path="packed").score(requests)
    assert model.body_tokens == packed.count.body_tokens == packed.count.floor_body_tokens
    plain = Scorer(ToyLM(), path="plain").score(requests)
    np.testing.assert_allclose(packed.log_likelihood, plain.log_likelihood, atol=1e-9)
    assert packed.is_greedy.tolist() == plain.is_greedy.tolist()


@given(request_lists, st.randoms(use_true_random=False))
def test_the_order_of_requests_does_not_matter(requests, random):
    shuffled = list(requests)
    random.shuffle(shuffled)
    scorer = Scorer(ToyLM(), path="packed")
    table = dict(zip(requests, scorer.score(requests).log_likelihood, strict=True))
    for request, value in zip(shuffled, scorer.score(shuffled).log_likelihood, strict=True):
        assert value == pytest.approx(table[request], abs=1e-9)


def test_a_continuation_is_the_product_of_its_parts():
    scorer = Scorer(ToyLM(), path="packed")
    whole, first, second = scorer.score([TokenRequest((1, 2), (3, 4)), TokenRequest((1, 2), (3,)), TokenRequest((1, 2, 3), (4,))]).log_likelihood
    assert whole == pytest.approx(first + second)


def test_the_probabilities_of_all_next_tokens_sum_to_one():
    scores = Scorer(ToyLM(), path="packed").score([TokenRequest((4, 2), (t,)) for t in range(ToyLM.vocabulary)])
    assert np.exp(scores.log_likelihood).sum() == pytest.approx(1)
    assert scores.is_greedy.sum() == 1


def test_a_sound_model_is_scored_packed_and_says_so():
    scorer = Scorer(ToyLM())
    assert scorer.path == "packed"
    assert "reproduce the plain forward" in scorer.reason


def test_a_model_that_ignores_the_mask_is_found_out_and_scored_plainly():
    """Power twin of the probe: with a causal mask instead of the tree's, packed scores are wrong, and must not be used."""
    scorer = Scorer(ToyLM(forget_mask=True))
    assert scorer.path == "plain"
    assert "differ from the plain forward" in scorer.reason
    requests = probe_requests(ToyLM.vocabulary, None, ToyLM.window)
    np.testing.assert_allclose(scorer.score(requests).log_likelihood, Scorer(ToyLM(), path="plain").score(requests).log_likelihood)


def test_the_probe_is_longer_than_a_sliding_window_and_no_longer_than_the_model():
    assert min(len(r.fed) for r in probe_requests(17, 40, 512)) > 40
    assert max(len(r.fed) for r in probe_requests(17, 4096, 64)) <= 64


def test_a_prompt_longer_than_the_window_is_refused_and_never_cut():
    with pytest.raises(UserError, match="600 tokens is longer than the model's window of 512"):
        Scorer(ToyLM(), path="packed").score([TokenRequest((1,) * 600, (2,))])


def test_nan_from_the_model_is_an_error_that_names_the_cure():
    with pytest.raises(UserError, match=r"NaN.*model.dtype=float32"):
        Scorer(ToyLM(nan=True), path="packed").score([TokenRequest((1,), (2,))])


def test_no_requests_cost_nothing():
    assert Scorer(ToyLM(), path="packed").score([]).count.body_tokens == 0
