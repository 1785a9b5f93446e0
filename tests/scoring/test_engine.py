"""Invariants: packed scores are the plain ones, for any requests, order and budget; and nothing is
forwarded twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.requests import request_lists
from toys.toy_lm import ToyLM

from evoprompt.errors import UserError
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.probe import limit_requests, probe_requests
from evoprompt.scoring.trie import Features, TokenRequest, plan


@given(request_lists, st.integers(1, 40))
def test_packed_scores_are_the_plain_ones_and_each_prefix_is_forwarded_once(requests, budget):
    model = ToyLM()
    packed = Scorer(model, chunk_tokens=budget, path="packed").score(requests)
    assert model.body_tokens == packed.count.body_tokens == packed.count.floor_body_tokens
    plain = Scorer(ToyLM(), path="plain").score(requests)
    np.testing.assert_allclose(packed.log_likelihood, plain.log_likelihood, atol=1e-9)
    assert packed.is_greedy.tolist() == plain.is_greedy.tolist()


@given(request_lists, st.integers(1, 40))
def test_branched_scores_are_the_plain_ones_and_the_work_is_counted(requests, budget):
    model, reference = ToyLM(), ToyLM()
    branched = Scorer(model, chunk_tokens=budget, path="branched").score(requests)
    plain = Scorer(reference, path="plain").score(requests)
    np.testing.assert_allclose(branched.log_likelihood, plain.log_likelihood, atol=1e-9)
    assert branched.is_greedy.tolist() == plain.is_greedy.tolist()
    assert model.body_tokens == branched.count.body_tokens
    assert reference.body_tokens == plain.count.body_tokens


@given(request_lists, st.integers(1, 40), st.data())
def test_features_are_read_where_contexts_end_and_cost_nothing(requests, budget, data):
    """On every way down the ladder, beside the same scores: what requests for them would score."""
    places = tuple(i for i in range(len(requests)) if data.draw(st.booleans()))
    features = Features((3, 0, 5), places)
    asked = [TokenRequest(requests[i].context, (token,)) for i in places for token in (3, 0, 5)]
    expected = Scorer(ToyLM(), path="plain").score(asked).log_likelihood.reshape(-1, 3)
    for path in ("packed", "branched", "plain"):
        model, without = ToyLM(), ToyLM()
        scores = Scorer(model, chunk_tokens=budget, path=path).score(requests, (), features)
        alone = Scorer(without, chunk_tokens=budget, path=path).score(requests)
        np.testing.assert_allclose(scores.features, expected, atol=1e-9)
        np.testing.assert_array_equal(scores.log_likelihood, alone.log_likelihood)
        assert scores.is_greedy.tolist() == alone.is_greedy.tolist()
        assert scores.count == alone.count
        assert model.body_tokens == without.body_tokens
        assert alone.features is None


@given(request_lists, st.integers(9, 40), st.integers(8, 30))
def test_features_are_read_again_where_passes_found_no_memory(requests, budget, memory):
    features = Features((3, 1), tuple(range(len(requests))))
    expected = Scorer(ToyLM(), path="plain").score(requests, (), features).features
    model = ToyLM()
    model.memory = memory
    scores = Scorer(model, chunk_tokens=budget, path="packed").score(requests, (), features)
    np.testing.assert_allclose(scores.features, expected, atol=1e-9)


@given(request_lists)
def test_plain_scores_are_those_of_each_request_by_itself(requests):
    model = ToyLM()
    scores = Scorer(model, path="plain").score(requests).log_likelihood
    for request, value in zip(requests, scores, strict=True):
        rows = np.arange(len(request.context) - 1, len(request.fed))
        alone = model.forward_plain(np.array(request.fed), (rows, np.array(request.continuation)))
        assert value == pytest.approx(alone.log_prob.sum(), abs=1e-9)


@given(request_lists, st.integers(9, 40), st.integers(8, 30))
def test_out_of_memory_halves_the_passes_and_loses_nothing(requests, budget, memory):
    model = ToyLM()
    model.memory = memory
    scorer = Scorer(model, chunk_tokens=budget, path="packed")
    scores = scorer.score(requests)
    np.testing.assert_allclose(
        scores.log_likelihood,
        Scorer(ToyLM(), path="plain").score(requests).log_likelihood,
        atol=1e-9,
    )
    assert (scores.count.halvings > 0) == (scorer.chunk_tokens < budget)


def test_memory_for_not_even_the_shortest_pass_is_an_error_that_names_the_cures():
    model = ToyLM()
    model.memory = 4
    with pytest.raises(UserError, match=r"no memory even for passes of 8 tokens.*workers.count"):
        Scorer(model, chunk_tokens=64, path="packed").score([TokenRequest((1,) * 30, (2,))])


TRUNK = tuple(int(t) for t in np.random.default_rng(0).integers(0, 17, size=60))


def family(trunk: tuple[int, ...]) -> list[TokenRequest]:
    """A prompt with a few examples."""
    return [
        TokenRequest((*trunk, example, 1), (label,)) for example in range(6) for label in (2, 3)
    ]


def test_a_child_pays_from_its_first_changed_segment():
    child = (*TRUNK[:45], *(16 - t for t in TRUNK[45:]))
    model = ToyLM()
    scorer = Scorer(model, path="packed", store=PrefixStore(1000))
    cuts = (20, 40, 60)
    scorer.score(family(TRUNK), cuts)
    before = model.body_tokens
    scores = scorer.score(family(child), cuts)
    assert (
        model.body_tokens - before
        == scores.count.body_tokens
        == scores.count.floor_body_tokens - 40
    )
    assert scores.count.stored_tokens == 40
    np.testing.assert_allclose(
        scores.log_likelihood,
        Scorer(ToyLM(), path="plain").score(family(child)).log_likelihood,
        atol=1e-9,
    )


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), min_size=1, max_size=8),
    st.sampled_from([0, 25, 50, 90, 1000]),
)
@pytest.mark.slow
def test_scores_do_not_depend_on_what_the_store_holds(prompts, limit):
    scorer = Scorer(ToyLM(), path="packed", store=PrefixStore(limit))
    for salt, length in prompts:
        requests = family((*TRUNK[:length], *(salt for _ in range(60 - length))))
        warm = scorer.score(requests, (20, 40, 60))
        cold = Scorer(ToyLM(), path="packed").score(requests, (20, 40, 60))
        assert warm.log_likelihood.tolist() == cold.log_likelihood.tolist()
        assert warm.count.body_tokens + warm.count.stored_tokens == warm.count.floor_body_tokens
        assert scorer.store.num_bytes <= limit


def test_a_segment_that_predicts_a_scored_token_is_forwarded_though_it_is_stored():
    scorer = Scorer(ToyLM(), path="packed", store=PrefixStore(1000))
    scorer.score(family(TRUNK), (20, 40))
    requests = [TokenRequest(TRUNK[:40], (5,))]
    scores = scorer.score(requests, (20, 40))
    assert (scores.count.stored_tokens, scores.count.body_tokens) == (20, 20)
    assert scores.log_likelihood[0] == pytest.approx(
        Scorer(ToyLM(), path="plain").score(requests).log_likelihood[0]
    )


@given(
    request_lists,
    st.randoms(use_true_random=False),
    st.sampled_from(["packed", "branched", "plain"]),
    st.integers(1, 40),
)
def test_the_order_of_requests_and_their_repetition_change_no_bit(requests, random, path, budget):
    shuffled = [*requests, requests[0]]
    random.shuffle(shuffled)
    scorer = Scorer(ToyLM(), path=path, chunk_tokens=budget)
    table = dict(zip(requests, scorer.score(requests).log_likelihood.tolist(), strict=True))
    assert scorer.score(shuffled).log_likelihood.tolist() == [table[r] for r in shuffled]


def test_a_continuation_is_the_product_of_its_parts():
    scorer = Scorer(ToyLM(), path="packed")
    whole, first, second = scorer.score(
        [TokenRequest((1, 2), (3, 4)), TokenRequest((1, 2), (3,)), TokenRequest((1, 2, 3), (4,))]
    ).log_likelihood
    assert whole == pytest.approx(first + second)


def test_the_probabilities_of_all_next_tokens_sum_to_one():
    scores = Scorer(ToyLM(), path="packed").score(
        [TokenRequest((4, 2), (t,)) for t in range(ToyLM.vocabulary)]
    )
    assert np.exp(scores.log_likelihood).sum() == pytest.approx(1)
    assert scores.is_greedy.sum() == 1


def test_a_sound_model_is_scored_packed_and_says_so():
    scorer = Scorer(ToyLM())
    assert scorer.path == "packed"
    assert "reproduce the plain forward" in scorer.reason


@pytest.mark.parametrize(
    ("faults", "path"),
    [({"forget_mask": True}, "branched"), ({"forget_mask": True, "forget_state": True}, "plain")],
)
def test_a_model_that_computes_wrongly_is_found_out_and_the_next_way_taken(faults, path):
    """Power twin of the probe: with a causal mask instead of the tree's, or a lost state, scores
    are wrong, and must not be used.
    """
    scorer = Scorer(ToyLM(**faults))
    assert scorer.path == path
    assert "packed passes differ from the plain forward" in scorer.reason
    assert ("branched passes differ" in scorer.reason) == (path == "plain")
    requests = probe_requests(ToyLM.vocabulary, ToyLM.window)
    np.testing.assert_allclose(
        scorer.score(requests).log_likelihood,
        Scorer(ToyLM(), path="plain").score(requests).log_likelihood,
    )


@pytest.mark.parametrize(("limit", "window"), [(20, 512), (300, 512), (500, 512), (2000, 8192)])
def test_the_probe_has_answers_on_both_sides_of_a_limit_and_stays_inside_the_window(limit, window):
    requests = limit_requests(17, window, limit)
    lengths = [len(r.fed) for r in requests]
    assert min(lengths) < limit < max(lengths) <= window
    assert (max(lengths) > 2 * limit) == (2 * limit + 40 < window and limit <= 512)
    trie = plan(requests, 10**6)
    short = [i for i, r in enumerate(requests) if len(r.fed) < limit]
    rows = trie.scored_row[np.isin(trie.scored_request, short)]
    # a window by index, not by depth, would take the first tokens from these
    assert rows.max() > limit > trie.depth[rows].max()


def test_limits_beyond_the_window_are_not_probed():
    assert limit_requests(17, 64, 64) == limit_requests(17, 64, 4096) == []


@dataclass
class Windowed(ToyLM):
    """Sees the last `width` columns of a pass with what is kept, by their index."""

    width: int = 256
    limits: tuple[int, ...] = (256,)

    def __post_init__(self) -> None:
        super().__init__()

    def _read(self, tokens, depth, past_depth, visible):
        num_columns = len(past_depth) + len(tokens)
        distance = np.arange(num_columns)[-len(tokens) :, None] - np.arange(num_columns)
        return super()._read(tokens, depth, past_depth, visible & (distance < self.width))

    def _log_probs(self, columns):
        return super()._log_probs(columns[-self.width :])


def test_a_window_by_index_is_found_out_though_no_tree_of_the_short_probe_reaches_it():
    scorer = Scorer(Windowed())
    assert scorer.path == "branched"
    assert "packed passes differ from the plain forward" in scorer.reason
    assert Scorer(Windowed(limits=())).path == "packed"  # power: this is what the limit is for


class Switching(ToyLM):
    """Computes otherwise once the longest sequence of a pass is longer than 100 tokens."""

    limits = (100,)

    def _switch(self, longest: int) -> None:
        if longest > 100:
            self._table = -np.abs(self._tables)
        else:
            self._table = self._tables

    def __init__(self) -> None:
        super().__init__()
        self._tables = self._table

    def _read(self, tokens, depth, past_depth, visible):
        self._switch(1 + max([*past_depth.tolist(), *depth.tolist()]))
        return super()._read(tokens, depth, past_depth, visible)

    def forward_plain(self, tokens, scored):
        self._switch(len(tokens))
        return super().forward_plain(tokens, scored)

    def branch(self, tokens, scored):
        self._switch(len(self._states[-1]) + tokens.shape[1])
        return super().branch(tokens, scored)

    def extend(self, tokens):
        self._switch(len(self._states[-1]) + len(tokens))
        return super().extend(tokens)

    def grow(self, tokens, scored):
        self._switch(len(self._states[-1]) + len(tokens))
        return super().grow(tokens, scored)


def test_where_the_longest_sequence_decides_short_requests_are_packed_and_long_ones_plain():
    scorer = Scorer(Switching())
    assert (scorer.path, scorer.verdict.packed_length) == ("packed", 100)
    rng = np.random.default_rng(5)
    trunk = tuple(rng.integers(0, 17, size=80).tolist())
    requests = [
        TokenRequest(trunk + tuple(rng.integers(0, 17, size=n).tolist()), (3, 4))
        for n in (3, 5, 19, 20, 21, 40, 60)
    ]
    requests.append(TokenRequest(requests[-1].context[:90], (1, 2)))  # begins a longer one
    alone = [Scorer(Switching(), path="plain").score([r]).log_likelihood[0] for r in requests]
    np.testing.assert_allclose(scorer.score(requests).log_likelihood, alone, atol=1e-9)
    wrong = Scorer(Switching(), path="packed").score(requests).log_likelihood
    assert np.abs(wrong - alone).max() > 0.1  # power: packed together they are wrong


def test_what_is_written_past_such_a_length_is_what_the_plain_forward_writes():
    prompts = [(1, 2) * 20, (1, 2) * 49, (3, 1) * 60]
    requests = [Decoding(prompt, 6) for prompt in prompts]
    written = [d.drawn for d in Scorer(Switching()).generate(requests)]
    assert written == [d.drawn for d in Scorer(Switching(), path="plain").generate(requests)]


def test_a_prompt_longer_than_the_window_is_refused_and_never_cut():
    with pytest.raises(UserError, match="600 tokens is longer than the model's window of 512"):
        Scorer(ToyLM(), path="packed").score([TokenRequest((1,) * 600, (2,))])


def test_nan_from_the_model_is_an_error_that_names_the_cure():
    with pytest.raises(UserError, match=r"NaN.*model.dtype=float32"):
        Scorer(ToyLM(nan=True), path="packed").score([TokenRequest((1,), (2,))])


def test_no_requests_cost_nothing():
    assert Scorer(ToyLM(), path="packed").score([]).count.body_tokens == 0


@pytest.mark.parametrize("path", ["packed", "branched", "plain"])
@pytest.mark.parametrize("bad", [-1, 10**6])
def test_a_token_that_is_none_of_the_models_is_refused_in_a_sentence(path: str, bad: int):
    scorer = Scorer(ToyLM(), path=path)
    for context, continuation in [((1, bad), (2,)), ((1, 2), (bad,)), ((1,), (2, bad, 3))]:
        with pytest.raises(UserError, match=f"the token {bad} is none of the "):
            scorer.score([TokenRequest((1,), (2,)), TokenRequest(context, continuation)])
    with pytest.raises(UserError, match=f"the token {bad} is none of the "):
        scorer.generate([Decoding((1, bad), 2)])
    last = scorer.model.vocabulary - 1
    assert scorer.score([TokenRequest((last,), (last,))]).log_likelihood[0] < 0


def test_a_model_that_picks_its_positions_is_scored_and_written_with_plainly():
    model = ToyLM()
    model.picks_positions = True
    scorer = Scorer(model)
    assert scorer.path == "plain"
    assert "attends to the best few positions" in scorer.reason
    requests = [TokenRequest((1, 2, 3), (4,)), TokenRequest((1, 2, 3), (5, 6))]
    assert scorer.score(requests).count.forwards == 2
    [written] = scorer.generate([Decoding((1, 2, 3), 2)])
    # the whole sequence again for every token: 3 of the prompt, and once more in the second step
    assert written.count.body_tokens == 3 + 3
    with pytest.raises(UserError, match="NaN"):
        broken = ToyLM(nan=True)
        broken.picks_positions = True
        Scorer(broken).score(requests)


class Stepping(ToyLM):
    """Computes so few tokens after a state as if the last of them were another."""

    def __init__(self, few: int) -> None:
        super().__init__(forget_mask=True)  # or it would be packed
        self._few = few

    def grow(self, tokens, scored):
        return super().grow(self._changed(tokens), scored)

    def branch(self, tokens, scored):
        return super().branch(self._changed(tokens), scored)

    def _changed(self, tokens):
        changed = tokens.copy()
        if len(self._states) > 1 and tokens.shape[-1] == self._few:
            changed[..., -1] = (changed[..., -1] + 1) % self.vocabulary
        return changed


@pytest.mark.parametrize(
    ("few", "path"), [(1, "plain"), (2, "plain"), (3, "plain"), (0, "branched")]
)
def test_few_tokens_after_a_state_are_probed(few: int, path: str):
    assert Scorer(Stepping(few)).path == path
