"""The gradient against differences of the model's own scores, on tiny networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from toys.tiny_models import architectures

from evoprompt.errors import UserError
from evoprompt.scoring import gradient
from evoprompt.scoring.gradient import FORWARDS, Exchange, embeddings, exchange_gains
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.reference import score_plain
from evoprompt.scoring.trie import TokenRequest

RNG = np.random.default_rng(5)
TRUNK = tuple(int(t) for t in RNG.integers(3, 101, size=9))
REQUESTS = tuple(
    TokenRequest((*TRUNK, *own), answer)
    for own in ((11, 12), (11, 13, 14), (20,))
    for answer in ((30,), (31, 32))
)
WEIGHTS = (0.5, -0.25, 1.0, 0.1, -0.7, 0.3)


def load(folder: Path, name: str, scale: float = 1.0) -> TransformersLM:
    """A network whose matrices are made smaller by a scale: the smaller, the nearer to linear."""
    network = architectures()[name]()
    for weight in network.parameters():
        weight.data *= scale if weight.dim() > 1 else 1.0
    network.save_pretrained(folder)
    return TransformersLM(folder, threads=1)


def worth(model: TransformersLM, requests=REQUESTS) -> float:
    return float(score_plain(model, requests).log_likelihood @ np.array(WEIGHTS))


def shifted(model: TransformersLM, place: int, step: np.ndarray) -> float:
    """What the requests are worth where the embedding at a place is moved."""
    import torch

    def move(_module, _inputs, output):
        moved = output.clone()
        moved[0, place] += torch.from_numpy(step).to(output)
        return moved

    hook = model.network.get_input_embeddings().register_forward_hook(move)
    try:
        return worth(model)
    finally:
        hook.remove()


@pytest.mark.parametrize("name", architectures())
def test_the_gain_is_the_slope_towards_the_other_embedding(name: str, tmp_path: Path):
    model = load(tmp_path, name)
    places, candidates = (2, 7), (40, 41, 42)
    found = exchange_gains(model, Exchange(REQUESTS, WEIGHTS, places, candidates)).gain
    for i, place in enumerate(places):
        for j, candidate in enumerate(candidates):
            new, now = embeddings(model, (candidate, TRUNK[place]))
            step = 5e-4 * (new - now)
            # central difference, its error of the second order in the step
            slope = (shifted(model, place, step) - shifted(model, place, -step)) / 1e-3
            assert found[i, j] == pytest.approx(slope, rel=0.01, abs=0.02)


def test_a_place_that_no_answer_follows_has_no_gain_and_the_same_token_has_none(tmp_path: Path):
    model = load(tmp_path, "llama")
    found = exchange_gains(model, Exchange(REQUESTS, WEIGHTS, (3,), (TRUNK[3], 50))).gain
    assert found[0, 0] == pytest.approx(0, abs=1e-9)
    assert abs(found[0, 1]) > 1e-4


def test_parts_add_up_and_the_work_is_counted(tmp_path: Path):
    model = load(tmp_path, "llama")
    asked = Exchange(REQUESTS, WEIGHTS, (1, 4), (60, 61, 62))
    whole = exchange_gains(model, asked)
    parts = exchange_gains(model, asked.part([0, 1, 4])) + exchange_gains(
        model, asked.part([2, 3, 5])
    )
    np.testing.assert_allclose(parts.gain, whole.gain, atol=1e-6)
    # each context of 11, 12 and 10 tokens by itself, and with the first token of (31, 32)
    assert whole.count.body_tokens == FORWARDS * (11 + 12 + 12 + 13 + 10 + 11)
    assert whole.count.requests == 6


def test_what_is_predicted_goes_with_what_is_gained(tmp_path: Path):
    """Spearman's rank correlation over 98 exchanges of one token: without any association above
    .26 in 1 of 200 draws.
    """
    model = load(tmp_path, "llama", scale=0.2)
    candidates = tuple(range(3, 101))
    predicted = exchange_gains(model, Exchange(REQUESTS, WEIGHTS, (8,), candidates)).gain[0]
    before = worth(model)
    gained = [
        worth(
            model,
            [TokenRequest((*TRUNK[:8], token, *r.context[9:]), r.continuation) for r in REQUESTS],
        )
        - before
        for token in candidates
    ]
    assert spearmanr(predicted, gained).statistic > 0.26
    backwards = spearmanr(-predicted, gained).statistic  # what a wrong sign would give
    shuffled = spearmanr(np.random.default_rng(0).permutation(predicted), gained).statistic
    assert max(backwards, shuffled) < 0.26


def test_layers_without_a_gradient_of_their_own_would_be_seen(tmp_path: Path, monkeypatch):
    import torch

    model = load(tmp_path, "llama")
    asked = Exchange(REQUESTS, WEIGHTS, (2,), (40,))
    right = exchange_gains(model, asked).gain
    packed = [
        m
        for name, m in model.network.named_modules()
        if type(m).__name__ == "PackedLinear" and name.endswith(("k_proj", "v_proj"))
    ]
    if not packed:
        pytest.skip("this build of torch packs no layers")

    def detached(self, x):
        return torch.ops.mkldnn._linear_pointwise(
            x.detach(), self.weight, self.bias, "none", [], ""
        )

    for kind in {type(m) for m in packed}:
        monkeypatch.setattr(kind, "forward", detached)
    # a token reaches a later answer through keys and values alone
    assert exchange_gains(model, asked).gain[0, 0] == 0 != right[0, 0]


def test_scores_are_what_they_were_after_a_gradient(tmp_path: Path):
    model = load(tmp_path, "gemma2")
    before = worth(model)
    exchange_gains(model, Exchange(REQUESTS, WEIGHTS, (2,), (40,)))
    assert worth(model) == before


def test_mistakes_are_told(tmp_path: Path, monkeypatch):
    with pytest.raises(ValueError, match="do not begin with the same 10 tokens"):
        Exchange(REQUESTS, WEIGHTS, (9,), (1,))
    with pytest.raises(ValueError, match="6 requests have 1 weights"):
        Exchange(REQUESTS, (1.0,), (2,), (1,))
    model = load(tmp_path, "llama")
    with pytest.raises(UserError, match="the token 101 is none of the 101"):
        exchange_gains(model, Exchange((TokenRequest((101,), (1,)),), (1.0,), (0,), (1,)))

    def refuse(*_):
        raise RuntimeError("not enough memory: you tried to allocate 9 GB")

    monkeypatch.setattr(model, "hidden", refuse)
    with pytest.raises(UserError, match="no gradient by its embeddings here .not enough memory"):
        gradient.exchange_gains(model, Exchange(REQUESTS, WEIGHTS, (2,), (40,)))
