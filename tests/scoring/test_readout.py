"""Invariants: what is read is what a plain forward of each context gives, by any way, in any
company; and prefixes are forwarded once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.tiny_models import architectures
from toys.toy_lm import ToyLM

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring import readout
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.readout import joined_readout, likeliest, readout_plain
from evoprompt.scoring.trie import TokenRequest, count_rows

#: Contexts over few tokens, so that they often share beginnings, or are equal.
context_lists = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=12
)


@given(context_lists, st.integers(1, 40), st.sampled_from(["packed", "branched", "plain"]))
def test_every_way_reads_what_the_plain_forward_gives(contexts, budget, path):
    read = Scorer(ToyLM(), chunk_tokens=budget, path=path).readout(contexts, 5)
    plain = readout_plain(ToyLM(), contexts, 5)
    np.testing.assert_allclose(read.log_prob, plain.log_prob, atol=1e-9)
    for own, other in zip(read.tokens, plain.tokens, strict=True):
        assert own.tolist() == other.tolist()


@given(context_lists, st.integers(1, 40))
def test_each_prefix_is_forwarded_once_and_counted(contexts, budget):
    model = ToyLM()
    count = Scorer(model, chunk_tokens=budget, path="packed").readout(contexts, 2).count
    rows = count_rows([TokenRequest(c, (0,)) for c in contexts])
    assert model.body_tokens == count.body_tokens == count.floor_body_tokens == rows
    assert count.head_rows == count.floor_head_rows == len(set(contexts))
    assert count.requests == len(contexts)


def test_a_mask_that_is_forgotten_is_seen():
    contexts = [(1, 2, 3), (1, 4, 5), (1, 2, 6)]
    broken = Scorer(ToyLM(forget_mask=True), path="packed").readout(contexts, 3)
    assert not np.allclose(broken.log_prob, readout_plain(ToyLM(), contexts, 3).log_prob)


def test_equally_likely_tokens_come_by_their_ids():
    read = likeliest(np.log([[0.1, 0.3, 0.1, 0.3, 0.2]]), 4, TokenCount())
    assert read.tokens.tolist() == [[1, 3, 4, 0]]


def test_no_more_tokens_are_read_than_there_are():
    assert Scorer(ToyLM(), path="packed").readout([(1,)], 999).tokens.shape == (1, 17)
    assert Scorer(ToyLM(), path="packed").readout([], 4).tokens.shape == (0, 0)


def test_many_contexts_are_read_in_groups_and_come_back_in_order(monkeypatch):
    contexts = [(2, 1), (0, 1), (2, 2), (0, 2), (1,)]
    whole = Scorer(ToyLM(), path="packed").readout(contexts, 4)
    monkeypatch.setattr(readout, "MOST_NUMBERS", 2 * 17)
    grouped = Scorer(ToyLM(), path="packed").readout(contexts, 4)
    assert grouped.tokens.tolist() == whole.tokens.tolist()
    np.testing.assert_allclose(grouped.log_prob, whole.log_prob, atol=1e-9)
    assert grouped.count.requests == 5


def test_parts_are_joined_in_order():
    first, second = (likeliest(np.log([row]), 1, TokenCount(1)) for row in ([0.9, 0.1], [0.2, 0.8]))
    joined = joined_readout([([1], first), ([0], second)], 2)
    assert joined.tokens.tolist() == [[1], [0]]
    assert joined.count == TokenCount(2)


def test_out_of_memory_halves_the_passes_and_loses_nothing():
    contexts = [(1,) * 9 + (k,) for k in range(12)]
    model = ToyLM()
    model.memory = 12
    scorer = Scorer(model, chunk_tokens=32, path="packed")
    read = scorer.readout(contexts, 3)
    np.testing.assert_allclose(
        read.log_prob, readout_plain(ToyLM(), contexts, 3).log_prob, atol=1e-9
    )
    assert read.count.halvings > 0


def test_a_shared_trunk_comes_from_the_store():
    trunk = tuple(int(t) for t in np.random.default_rng(0).integers(0, 17, size=40))
    contexts = [(*trunk, k) for k in range(3)]
    scorer = Scorer(ToyLM(), path="packed", store=PrefixStore(10**6))
    first, second = (scorer.readout(contexts, 3, cuts=(20, 40)) for _ in range(2))
    assert (first.count.stored_tokens, second.count.stored_tokens) == (0, 40)
    assert second.tokens.tolist() == first.tokens.tolist()


def test_what_cannot_be_read_is_refused():
    scorer = Scorer(ToyLM(), path="packed")
    with pytest.raises(UserError, match="longer than the model's window of 512"):
        scorer.readout([(1,) * 513], 1)
    with pytest.raises(UserError, match="the token 17 is none of the 17"):
        scorer.readout([(17,)], 1)
    with pytest.raises(UserError, match="NaN"):
        Scorer(ToyLM(nan=True), path="packed").readout([(1,)], 1)


@pytest.mark.parametrize("name", ["llama", "gemma2", "mamba"])
def test_real_architectures_read_by_their_own_way(name: str, tmp_path: Path):
    architectures()[name]().save_pretrained(tmp_path / "model")
    model = TransformersLM(tmp_path / "model")
    tokens = tuple(int(t) for t in np.random.default_rng(1).integers(3, 101, size=30))
    contexts = [tokens[:20] + tokens[k : k + 4] for k in range(20, 26)]
    read = Scorer(model, chunk_tokens=32).readout(contexts, 7)
    plain = readout_plain(model, contexts, 7)
    np.testing.assert_allclose(read.log_prob, plain.log_prob, atol=2e-4)
