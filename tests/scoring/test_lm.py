"""Every architecture, as a tiny random model: what the scorer says equals a plain forward written
out here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.tiny_models import architectures, save_model

from evoprompt.errors import UserError
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.language_model import OutOfMemoryError
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.probe import limit_requests, probe_requests
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest

#: ALiBi takes no positions of ours, and a recurrent state no mask, but both can be copied to the
#: branches. Two lose the state where more than one token follows it: transformers begins their scan
#: anew.
WAYS = {
    "bloom": "branched",
    "gpt-neo (window by index)": "branched",
    "mamba2": "branched",
    "lfm2 (hybrid)": "branched",
    "falcon-h1 (hybrid)": "branched",
} | {
    "mamba": "plain",
    "jamba (hybrid)": "plain",
}


def oracle(network, request) -> float:
    """The obvious way: the whole sequence by itself, softmax over everything, sum over the
    continuation.
    """
    import torch

    whole = torch.tensor([request.context + request.continuation])
    with torch.no_grad():
        log_probs = network(whole[:, :-1], use_cache=False).logits.float().log_softmax(-1)[0]
    at = range(len(request.context) - 1, whole.shape[1] - 1)
    return float(sum(log_probs[p, whole[0, p + 1]].double() for p in at))


@pytest.mark.parametrize("name", architectures())
def test_scores_equal_the_plain_forward_on_every_architecture(name: str, tmp_path: Path):
    model = TransformersLM(save_model(tmp_path / "model", name), threads=1)
    scorer = Scorer(model, chunk_tokens=24)
    assert scorer.path == WAYS.get(name, "packed"), scorer.reason
    requests = [
        *probe_requests(model.vocabulary, model.window),
        *(r for n in model.limits for r in limit_requests(model.vocabulary, model.window, n)),
    ]
    scores = scorer.score(requests)
    unpacked = architectures()[name]()  # as it was saved, none of its layers packed
    np.testing.assert_allclose(
        scores.log_likelihood, [oracle(unpacked, r) for r in requests], atol=1e-4
    )
    assert scorer.verdict.packed_length == (100 if name == "phi3 (longrope)" else None)
    if name not in WAYS and scorer.verdict.packed_length is None:
        assert scores.count.body_tokens == scores.count.floor_body_tokens
        assert scores.count.head_rows == scores.count.floor_head_rows


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_a_stored_prefix_gives_the_same_bits_as_a_forwarded_one(name: str, tmp_path: Path):
    model = TransformersLM(save_model(tmp_path / "model", name), threads=1)
    trunk = tuple(3 + (7 * i) % 90 for i in range(70))
    parent = [
        TokenRequest((*trunk, 5, example), (9, label))
        for example in range(5)
        for label in range(20, 24)
    ]
    child = [
        TokenRequest((*trunk[:52], 44, *trunk[53:], 5, example), (9, label))
        for example in range(5)
        for label in range(20, 24)
    ]
    warm = Scorer(model, path="packed", store=PrefixStore(2**20))
    warm.score(parent, (24, 48))
    cold = Scorer(model, path="packed")
    again = warm.score(child, (24, 48))
    assert again.count.stored_tokens == 48
    assert again.log_likelihood.tolist() == cold.score(child, (24, 48)).log_likelihood.tolist()
    np.testing.assert_allclose(
        again.log_likelihood, [oracle(model.network, r) for r in child], atol=1e-4
    )


def test_a_head_that_is_not_the_last_step_is_left_to_the_model(tmp_path: Path):
    assert TransformersLM(save_model(tmp_path / "llama"))._head is not None
    assert TransformersLM(save_model(tmp_path / "granite", "granite (scaled logits)"))._head is None
    assert TransformersLM(save_model(tmp_path / "gemma2", "gemma2"))._head is None  # soft-capped


def test_logits_are_made_in_chunks_of_rows_that_fit_the_limit(tiny_model: Path, monkeypatch):
    model = TransformersLM(tiny_model, threads=1)
    requests = probe_requests(model.vocabulary, model.window)
    whole = Scorer(model, path="packed").score(requests).log_likelihood
    monkeypatch.setattr("evoprompt.scoring.lm.HEAD_BYTES", 4 * model.vocabulary * 3)
    heights = []
    model.network.get_output_embeddings().register_forward_hook(
        lambda _m, args, _o: heights.append(args[0].shape[0])
    )
    np.testing.assert_allclose(
        Scorer(model, path="packed").score(requests).log_likelihood, whole, atol=1e-5
    )
    assert max(heights) == 3


def test_memory_that_torch_does_not_get_is_told_in_one_way(tiny_model: Path):
    import torch

    model = TransformersLM(tiny_model, threads=1)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 TB"),
        MemoryError("no"),
    ):
        with pytest.raises(OutOfMemoryError), model._guarded():
            raise error
    with pytest.raises(RuntimeError, match="sizes do not match"), model._guarded():
        raise RuntimeError("sizes do not match")


def test_tokens_and_head_rows_are_those_that_hooks_on_the_model_count(tiny_model: Path):
    model = TransformersLM(tiny_model, threads=1)
    seen = {"body": 0, "head": 0}
    model.network.get_input_embeddings().register_forward_hook(
        lambda _m, args, _o: seen.__setitem__("body", seen["body"] + args[0].numel())
    )
    model.network.get_output_embeddings().register_forward_hook(
        lambda _m, args, _o: seen.__setitem__("head", seen["head"] + args[0].shape[-2])
    )
    scorer = Scorer(model, chunk_tokens=16, path="packed")
    count = scorer.score(probe_requests(model.vocabulary, model.window)).count
    assert (count.body_tokens, count.head_rows) == (seen["body"], seen["head"])


def test_the_fast_tokenizer_agrees_with_the_one_of_transformers(tiny_model: Path):
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(tiny_model)
    texts = ["", "a", " lovely film\n", "Q: x\n\nA:", "tab\tand é"]
    assert Tokenizer(tiny_model).encode(texts) == [tuple(slow(t)["input_ids"]) for t in texts]


def test_an_empty_batch_of_texts_is_fine(tiny_model: Path):
    assert Tokenizer(tiny_model).encode([]) == []


def test_a_folder_without_a_language_model_is_named(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot load a causal language model"):
        TransformersLM(tmp_path)
