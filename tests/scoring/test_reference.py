"""The plain forward of every request, alone or in shares, with each sequence forwarded once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toys.toy_lm import ToyLM

from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.reference import joined, score_plain, shares_by_sequence
from evoprompt.scoring.trie import TokenRequest

tokens = st.lists(st.integers(0, 15), min_size=1, max_size=4).map(tuple)
requests = st.lists(st.builds(TokenRequest, tokens, tokens), min_size=1, max_size=12)


@given(requests)
def test_scores_are_those_of_the_packed_way(asked: list[TokenRequest]):
    plain = score_plain(ToyLM(), asked)
    packed = Scorer(ToyLM(), path="packed").score(asked)
    np.testing.assert_allclose(plain.log_likelihood, packed.log_likelihood, atol=1e-9)
    assert plain.is_greedy.tolist() == packed.is_greedy.tolist()
    assert plain.count.requests == len(asked)
    assert plain.count.body_tokens == sum(len(fed) for fed in {r.fed for r in asked})


@given(requests, st.integers(1, 4))
def test_shares_give_the_same_and_forward_no_sequence_twice(asked: list[TokenRequest], n: int):
    whole, shares = score_plain(ToyLM(), asked), shares_by_sequence(asked, n)
    assert sorted(i for share in shares for i in share) == list(range(len(asked)))
    parts = [(share, score_plain(ToyLM(), [asked[i] for i in share])) for share in shares if share]
    together = joined(parts, len(asked))
    assert together.log_likelihood.tolist() == whole.log_likelihood.tolist()
    assert together.is_greedy.tolist() == whole.is_greedy.tolist()
    assert together.count == whole.count
