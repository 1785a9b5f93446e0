"""Invariants: (1) what is written is what one forward of the whole sequence for each token gives;
(2) its log-likelihood is the scorer's; (3) neither depends on order, company, passes or workers;
(4) draws have the model's distribution; (5) all work is counted.
"""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from toys.tiny_models import architectures, save_model
from toys.toy_lm import ToyLM

from evoprompt.backends.local import LocalExecutor
from evoprompt.backends.shared import BorrowedExecutor
from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring import decoder
from evoprompt.scoring.decoding import (
    GROUP_REQUESTS,
    GROUP_ROWS,
    Decoded,
    Decoding,
    draw,
    group_requests,
    noise_at,
)
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, count_rows

#: Prompts over few tokens, so that they often share beginnings.
prompts = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)
request_sets = st.lists(
    st.builds(
        Decoding,
        prompts,
        st.integers(1, 5),
        st.sampled_from([0.0, 0.5, 2.0]),
        st.integers(0, 2),
        st.sampled_from([(), (3, 7)]),
    ),
    min_size=1,
    max_size=20,
)


def written_out(log_probs, request: Decoding, end_tokens=frozenset()) -> Decoded:
    """The obvious way: `log_probs` of the whole sequence again for every token."""
    drawn: list[int] = []
    values: list[float] = []
    while len(drawn) < request.max_tokens:
        row = log_probs((*request.prompt, *drawn))
        noisy = (
            row
            if request.temperature == 0
            else row / request.temperature + noise_at(request.seed, len(drawn), len(row))
        )
        drawn.append(int(noisy.argmax()))
        values.append(float(row[drawn[-1]]))
        if drawn[-1] in end_tokens.union(request.stop):
            return Decoded(tuple(drawn), tuple(values), True, TokenCount())
    return Decoded(tuple(drawn), tuple(values), False, TokenCount())


def toy_log_probs(sequence):
    return ToyLM()._log_probs([(t, d) for d, t in enumerate(sequence)])


def total(decoded) -> TokenCount:
    return sum((d.count for d in decoded), TokenCount())


# One draw.

EIGHTHS = np.log([1, 2, 5]).astype(np.float32)  # probabilities 1/8, 2/8, 5/8


def test_without_temperature_the_likeliest_token_is_taken():
    found = draw(EIGHTHS, 0.0, None)
    assert found.token == 2
    assert found.log_prob == pytest.approx(log(5 / 8))
    assert found.margin == pytest.approx(log(5 / 2))
    assert draw(np.array([1, 3, 3, 0], dtype=np.float32), 0.0, None).token == 1


@pytest.mark.parametrize(
    ("temperature", "token", "margin"),
    [(1.0, 0, 2 - log(5)), (2.0, 0, 4 - log(5)), (0.5, 2, log(5) - 1)],
)
def test_with_temperature_the_noise_decides_and_the_log_probability_is_the_models_own(
    temperature: float, token: int, margin: float
):
    # Noise (2, 0, 0): token 0 has ln(1) / T + 2 against token 2's ln(5) / T. At T = 1: 2 > 1.61; at
    # 2: 2 > 0.80; at 0.5: 2 < 3.22. The margin is T times that lead.
    found = draw(EIGHTHS, temperature, np.array([2.0, 0, 0]))
    assert found.token == token
    assert found.log_prob == pytest.approx(log([1, 2, 5][token] / 8))
    assert found.margin == pytest.approx(margin, abs=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 1.0, 3.0]))
def test_a_draw_stays_while_logits_move_less_than_its_margin_and_changes_beyond(
    seed: int, temperature: float
):
    rng = np.random.default_rng(seed)
    logits, noise = rng.normal(size=9), noise_at(seed, 0, 9) if temperature else None
    found = draw(logits, temperature, noise)
    moved = logits + found.margin / 2 * 0.999 * rng.uniform(-1, 1, size=9)
    assert draw(moved, temperature, noise).token == found.token
    moved[found.token] = logits[found.token] - found.margin * 1.01
    assert (
        draw(np.where(np.arange(9) == found.token, moved, logits), temperature, noise).token
        != found.token
    )


def test_a_tiny_temperature_takes_the_likeliest_token():
    assert draw(EIGHTHS, 1e-320, noise_at(0, 0, 3)).token == 2


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_logit_that_is_no_number_is_told_with_its_cures(broken: float):
    with pytest.raises(UserError, match=r"NaN as a log-probability.*model.dtype=float32"):
        draw(np.array([0, broken], dtype=np.float32), 0.0, None)


# The distribution of draws.

NUM_DRAWS = 3000
LIMIT = 1e-6  #: of a false alarm, at each check below
PROMPT = (1, 4, 2, 8, 5, 7, 3, 6, 2, 9)


def softmax(log_probs, temperature: float):
    weights = np.exp(log_probs / temperature)
    return weights / weights.sum()


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    """Two tokens of each of many continuations at temperature 0.7; the second is -1 where the first
    one ended it.
    """
    requests = [Decoding(PROMPT, 2, 0.7, seed) for seed in range(NUM_DRAWS)]
    return np.array([(*d.drawn, -1)[:2] for d in Scorer(ToyLM(), path="packed").generate(requests)])


def law(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the first token, (token,), and of both together, (token, token)."""
    first = softmax(toy_log_probs(PROMPT), temperature)
    second = np.array(
        [
            softmax(toy_log_probs((*PROMPT, t)), temperature) * (t not in ToyLM.end_tokens)
            for t in range(ToyLM.vocabulary)
        ]
    )
    return first, first[:, None] * second


def misfit(tokens, probability) -> float:
    """The p-value of the chi-square test of these tokens against these probabilities."""
    observed = np.bincount(tokens, minlength=len(probability))
    return float(stats.chisquare(observed, probability / probability.sum() * len(tokens)).pvalue)


def test_first_and_second_tokens_are_drawn_from_the_tempered_distribution(pairs):
    first, both = law(0.7)
    assert misfit(pairs[:, 0], first) > LIMIT
    assert misfit(pairs[pairs[:, 1] >= 0, 1], both.sum(axis=0)) > LIMIT


def test_the_check_would_catch_another_temperature(pairs):
    for wrong in (0.55, 0.9):
        first, both = law(wrong)
        assert misfit(pairs[:, 0], first) < LIMIT
        assert misfit(pairs[pairs[:, 1] >= 0, 1], both.sum(axis=0)) < LIMIT


def repeats_p_value(pairs) -> float:
    return float(
        stats.binomtest(
            int((pairs[:, 0] == pairs[:, 1]).sum()), len(pairs), float(law(0.7)[1].trace())
        ).pvalue
    )


def test_a_tokens_noise_tells_nothing_of_the_next_ones(pairs, monkeypatch):
    assert repeats_p_value(pairs) > LIMIT
    monkeypatch.setattr(decoder, "noise_at", lambda seed, _place, size: noise_at(seed, 0, size))
    requests = [Decoding(PROMPT, 2, 0.7, seed) for seed in range(NUM_DRAWS)]
    same_noise = np.array(
        [(*d.drawn, -1)[:2] for d in Scorer(ToyLM(), path="packed").generate(requests)]
    )
    assert repeats_p_value(same_noise) < LIMIT


# The loop, on the toy model.


@given(request_sets, st.sampled_from(["packed", "branched", "plain"]), st.integers(1, 20))
def test_what_is_written_is_what_a_forward_of_the_whole_sequence_gives_each_time(
    requests, path, chunk_tokens
):
    for request, found in zip(
        requests,
        Scorer(ToyLM(), path=path, chunk_tokens=chunk_tokens).generate(requests),
        strict=True,
    ):
        expected = written_out(toy_log_probs, request, ToyLM.end_tokens)
        assert (found.drawn, found.is_stopped) == (expected.drawn, expected.is_stopped)
        np.testing.assert_allclose(found.token_logprobs, expected.token_logprobs, atol=1e-5)


@given(request_sets, st.randoms(use_true_random=False), st.sampled_from(["packed", "branched"]))
def test_order_changes_no_bit_and_company_no_token(requests, random, path):
    scorer = Scorer(ToyLM(), path=path, chunk_tokens=7)
    table = dict(zip(requests, scorer.generate(requests), strict=True))
    shuffled = [*requests]
    random.shuffle(shuffled)
    for request, found in zip(shuffled, scorer.generate(shuffled), strict=True):
        assert (found.drawn, found.token_logprobs) == (
            table[request].drawn,
            table[request].token_logprobs,
        )
        [alone] = scorer.generate([request])
        assert alone.drawn == found.drawn
        assert alone.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-5)


def test_a_stop_token_ends_the_text_and_is_no_part_of_it():
    free = Scorer(ToyLM(), path="packed").generate([Decoding(PROMPT, 6)])[0]
    assert not free.is_stopped
    assert len(free.tokens) == 6
    # the first token there may be met before
    at = next(i for i in range(1, 6) if free.drawn[i] not in free.drawn[:i])
    stopped = Scorer(ToyLM(), path="packed").generate(
        [Decoding(PROMPT, 6, stop=(free.drawn[at],))]
    )[0]
    assert stopped.is_stopped
    assert stopped.tokens == free.tokens[:at]
    assert stopped.log_likelihood == pytest.approx(sum(free.token_logprobs[:at]))
    assert stopped.count.generated_tokens == at


@given(request_sets, st.integers(1, 20))
def test_every_token_that_the_model_reads_is_counted(requests, chunk_tokens):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "CLOSE", {})
        model = ToyLM()
        decoded = Scorer(model, path="packed", chunk_tokens=chunk_tokens).generate(requests)
    count, by_request = total(decoded), dict(zip(requests, decoded, strict=True))
    assert model.body_tokens == count.body_tokens + sum(
        len(d.drawn) - 1 for d in by_request.values()
    )  # the last one drawn is not read
    assert count.generated_tokens == sum(len(d.tokens) for d in by_request.values())
    assert count.requests == len(requests)
    if len(group_requests(requests)) == 1:
        assert (
            count.body_tokens
            == count.floor_body_tokens
            == count_rows([TokenRequest(r.prompt, (0,)) for r in requests])
        )


def test_a_request_that_is_made_twice_is_done_once():
    first, second = Scorer(ToyLM(), path="packed").generate([Decoding(PROMPT, 4)] * 2)
    assert first.drawn == second.drawn
    assert first.count.body_tokens == len(PROMPT)
    assert second.count == TokenCount(requests=1)


class NearlyTied(ToyLM):
    """The two likeliest tokens are 2e-4 nats apart, and company moves them by more than that."""

    def _log_probs(self, columns):
        logits = super()._log_probs(columns)
        logits[3], logits[4] = 1, 1 - 2e-4
        return logits

    def forward_logits(self, tokens, depth, past_depth, visible, rows):
        answers = super().forward_logits(tokens, depth, past_depth, visible, rows)
        if len(rows) > 1:
            answers[:, 4] += 4e-4
        return answers


def test_a_close_draw_in_company_is_decided_alone(monkeypatch):
    requests = [Decoding((*PROMPT, i), 3) for i in range(4)]
    decoded = Scorer(NearlyTied(), path="packed").generate(requests)
    assert [d.drawn for d in decoded] == [(3, 3, 3)] * 4
    assert total(decoded).body_tokens == total(decoded).floor_body_tokens + 4 * 11
    monkeypatch.setattr(decoder, "CLOSE", {})
    assert Scorer(NearlyTied(), path="packed").generate(requests)[0].drawn != (
        3,
        3,
        3,
    )  # else company changes nothing here


class ForgetfulToy(ToyLM):
    """Takes a state, and does not read it."""

    def __init__(self) -> None:
        super().__init__(forget_state=True)


class StubbornToy(ToyLM):
    """Takes no state."""

    def extend(self, tokens):
        if self._states[-1]:
            raise NotImplementedError("no state, please")
        return super().extend(tokens)


@pytest.mark.parametrize(
    ("model", "path"), [(ToyLM, "stepwise"), (ForgetfulToy, "plain"), (StubbornToy, "plain")]
)
def test_where_a_state_does_not_carry_over_the_sequence_is_read_again_and_that_is_counted(
    model, path
):
    lm = model()
    scorer = Scorer(lm, path="plain")
    assert scorer._decoders[scorer.path].path == path
    before = lm.body_tokens
    [found] = scorer.generate([Decoding(PROMPT, 4)])
    assert found.drawn == written_out(toy_log_probs, Decoding(PROMPT, 4)).drawn
    # Read: 10 tokens, then 1 + 1 + 1; or 10 + 11 + 12 + 13, of which the newest of the last three
    # passes count as generated.
    assert lm.body_tokens - before == (13 if path == "stepwise" else 46)
    assert found.count.body_tokens == (10 if path == "stepwise" else 43)
    assert (found.count.generated_tokens, found.count.head_rows, found.count.forwards) == (4, 4, 4)


@given(request_sets, st.integers(8, 30))
def test_out_of_memory_splits_groups_and_passes_and_changes_no_token(requests, memory):
    model = ToyLM()
    model.memory = memory
    scorer = Scorer(model, path="packed", chunk_tokens=40)
    decoded = scorer.generate(requests)
    assert [d.drawn for d in decoded] == [
        d.drawn for d in Scorer(ToyLM(), path="packed").generate(requests)
    ]
    if scorer.chunk_tokens < 40:
        assert total(decoded).halvings > 0


def test_a_group_that_finds_no_memory_is_halved_and_that_is_counted():
    # The prompt has 2 rows; all 12 at once would then need passes of 12, and 6 at once passes of 6.
    model = ToyLM()
    model.memory = 8
    scorer = Scorer(model, path="packed", chunk_tokens=8)
    decoded = scorer.generate([Decoding((1, 2), 3, 1.0, seed) for seed in range(12)])
    assert total(decoded).halvings == 1
    assert scorer.chunk_tokens == 8
    assert total(decoded).body_tokens == 4


def test_memory_for_not_even_one_prompt_is_an_error_that_names_the_cures():
    model = ToyLM()
    model.memory = 4
    with pytest.raises(UserError, match=r"no memory even for passes of 8 tokens.*workers.count"):
        Scorer(model, path="packed").generate([Decoding(PROMPT, 2), Decoding(PROMPT, 3)])


@pytest.mark.parametrize("path", ["packed", "branched"])
def test_nan_is_told_wherever_it_comes_from(path: str):
    with pytest.raises(UserError, match=r"NaN as a log-probability.*model.dtype=float32"):
        Scorer(ToyLM(nan=True), path=path).generate([Decoding(PROMPT, 2)])


def test_a_prompt_that_leaves_no_room_in_the_window_is_refused():
    model = ToyLM()
    model.window = 12
    scorer = Scorer(model, path="packed")
    assert len(scorer.generate([Decoding(PROMPT[:8], 4)])[0].drawn) == 4
    with pytest.raises(
        UserError,
        match="a prompt of 13 tokens with the 4 that may be written is longer than the model's "
        "window of 12",
    ):
        scorer.generate([Decoding(PROMPT[:9], 4)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ()}, "prompt=0 tokens"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"temperature": -1.0}, "-1"),
        ({"temperature": np.nan}, "nan"),
    ],
)
def test_a_request_that_means_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**({"prompt": (1,), "max_tokens": 1} | arguments))


# Groups.


def test_groups_are_of_about_equal_size_and_within_their_rows():
    assert [
        len(g) for g in group_requests([Decoding((i,), 1) for i in range(GROUP_REQUESTS + 2)])
    ] == [9, 9]
    # 901 + 100 rows, and 101 for each that shares the first 900
    long = [Decoding((*range(900), i), 100) for i in range(4)]
    assert [len(g) for g in group_requests(long)] == [4]
    # 1001 rows each, and 2048 may be had
    apart = [Decoding((i, *range(900)), 100) for i in range(4)]
    assert [len(g) for g in group_requests(apart)] == [2, 2]
    assert [
        len(g) for g in group_requests([Decoding((1,) * GROUP_ROWS, 9), Decoding((2,), 1)])
    ] == [1, 1]
    assert group_requests([]) == []


@given(request_sets, st.randoms(use_true_random=False))
def test_groups_follow_from_the_set_of_requests_and_are_their_own_groups(requests, random):
    groups = group_requests(requests)
    assert sorted(r for g in groups for r in g) == sorted(set(requests))
    shuffled = [*requests, requests[0]]
    random.shuffle(shuffled)
    assert group_requests(shuffled) == groups
    assert [group_requests(g) for g in groups] == [[g] for g in groups]


# Every architecture, as a tiny random model.

TRUNK = tuple(3 + (7 * i) % 90 for i in range(20))
REQUESTS = [
    Decoding((*TRUNK, *range(50, 50 + n)), 8, temperature, n)
    for n in range(5)
    for temperature in (0.0, 1.0)
]


def plain_log_probs(network):
    import torch

    def log_probs(sequence):
        with torch.no_grad():
            return (
                network(torch.tensor([sequence]), use_cache=False)
                .logits[0, -1]
                .double()
                .log_softmax(-1)
                .numpy()
            )

    return log_probs


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_writes_what_its_plain_forward_gives_and_the_scorer_agrees(
    name: str, tmp_path: Path
):
    model = TransformersLM(save_model(tmp_path / "model", name), threads=1)
    scorer = Scorer(model, chunk_tokens=16)
    path = scorer._decoders[scorer.path].path
    assert path == ("packed" if scorer.path == "packed" else "stepwise")
    decoded = scorer.generate(REQUESTS)
    log_probs = plain_log_probs(architectures()[name]())
    expected = [written_out(log_probs, r, model.end_tokens) for r in REQUESTS]
    assert [(d.drawn, d.is_stopped) for d in decoded] == [(d.drawn, d.is_stopped) for d in expected]
    long = [(r, d) for r, d in zip(REQUESTS, decoded, strict=True) if d.tokens]
    scores = scorer.score([TokenRequest(r.prompt, d.tokens) for r, d in long]).log_likelihood
    np.testing.assert_allclose([d.log_likelihood for _, d in long], scores, atol=1e-4)
    assert [scorer.generate([r])[0].drawn for r in REQUESTS[2:6]] == [d.drawn for d in decoded[2:6]]


def test_tokens_and_head_rows_are_those_that_hooks_on_the_model_count(tiny_model: Path):
    model = TransformersLM(tiny_model, threads=1)
    scorer = Scorer(model, chunk_tokens=16, path="packed")
    seen = {"body": 0, "head": 0}
    model.network.get_input_embeddings().register_forward_hook(
        lambda _m, args, _o: seen.__setitem__("body", seen["body"] + args[0].numel())
    )
    model.network.get_output_embeddings().register_forward_hook(
        lambda _m, args, _o: seen.__setitem__("head", seen["head"] + args[0].shape[-2])
    )
    twice = [*REQUESTS, Decoding(REQUESTS[0].prompt, 8, 1.0, 99)]  # a prompt that two of them have
    decoded = scorer.generate(twice)
    count = total(decoded)
    assert count.head_rows == seen["head"]
    # where nothing stops it, the last token is not read
    fed = count.generated_tokens - sum(not d.is_stopped for d in decoded)
    assert count.body_tokens + fed == seen["body"]
    assert count.body_tokens == count.floor_body_tokens == 24


def test_nobodys_random_numbers_are_used_up(tiny_model: Path):
    import torch

    scorer = Scorer(TransformersLM(tiny_model, threads=1), path="packed")
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = scorer.generate(REQUESTS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    torch.manual_seed(5)
    assert scorer.generate(REQUESTS) == first


def test_all_end_tokens_that_the_configurations_name_are_known(tiny_model: Path):
    model = TransformersLM(tiny_model, threads=1)
    model.network.generation_config.eos_token_id = [7, 9]
    assert model.end_tokens == {2, 7, 9}
    model.network.config.eos_token_id = None
    assert model.end_tokens == {7, 9}


def test_executors_hand_requests_on_and_answers_back():
    requests = [Decoding(PROMPT[i:], 3, 1.0, i) for i in range(5)]
    scorer = Scorer(ToyLM(), path="packed")
    assert (
        BorrowedExecutor(LocalExecutor(scorer)).generate(requests)
        == LocalExecutor(scorer).generate(requests)
        == scorer.generate(requests)
    )


@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_the_real_model_writes_what_its_plain_forward_gives():
    folder = resolve_model("smollm2-135m")
    tokenizer, scorer = Tokenizer(folder), Scorer(TransformersLM(folder, threads=1))
    shown = "The capital of Spain is Madrid.\nThe capital of Peru is Lima.\n"
    texts = [f"{shown}The capital of {country} is" for country in ("France", "Italy", "Japan")]
    requests = [
        Decoding(tokens, 4, temperature, 3)
        for tokens in tokenizer.encode(texts)
        for temperature in (0.0, 0.8)
    ]
    decoded = scorer.generate(requests)
    scores = scorer.score(
        [TokenRequest(r.prompt, d.tokens) for r, d in zip(requests, decoded, strict=True)]
    ).log_likelihood
    np.testing.assert_allclose([d.log_likelihood for d in decoded], scores, atol=1e-4)
    log_probs = plain_log_probs(scorer.model.network)
    for request, found in zip(requests[:3], decoded, strict=False):
        assert found.drawn == written_out(log_probs, request, scorer.model.end_tokens).drawn
    assert tokenizer.decode(decoded[0].tokens).startswith(" Paris.")
