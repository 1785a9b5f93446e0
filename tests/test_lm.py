"""Every architecture, as a tiny random model: what the scorer says equals a plain forward written out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import architectures, save_model

from evoprompt.errors import UserError
from evoprompt.scoring.engine import Scorer, probe_requests
from evoprompt.scoring.lm import Tokenizer, TransformersLM

PLAIN = {"bloom", "mamba"}  #: ALiBi takes no positions of ours, and a state space model no mask


def oracle(network, request) -> float:
    """The obvious way: the whole sequence by itself, softmax over everything, sum over the continuation."""
    import torch

    whole = torch.tensor([request.context + request.continuation])
    with torch.no_grad():
        log_probs = network(whole, use_cache=False).logits.float().log_softmax(-1)[0]
    at = range(len(request.context) - 1, whole.shape[1] - 1)
    return float(sum(log_probs[p, whole[0, p + 1]].double() for p in at))


@pytest.mark.parametrize("name", architectures())
def test_scores_equal_the_plain_forward_on_every_architecture(name: str, tmp_path: Path):
    model = TransformersLM(save_model(tmp_path / "model", name), threads=1)
    scorer = Scorer(model, chunk_tokens=24)
    assert (scorer.path == "plain") == (name in PLAIN), scorer.reason
    requests = probe_requests(model.vocabulary, model.sliding_window, model.window)
    scores = scorer.score(requests)
    np.testing.assert_allclose(scores.log_likelihood, [oracle(model.network, r) for r in requests], atol=1e-4)
    if name not in PLAIN:
        assert scores.count.body_tokens == scores.count.floor_body_tokens
        assert scores.count.head_rows == scores.count.floor_head_rows


def test_tokens_and_head_rows_are_those_that_hooks_on_the_model_count(tiny_model: Path):
    model = TransformersLM(tiny_model, threads=1)
    seen = {"body": 0, "head": 0}
    model.network.get_input_embeddings().register_forward_hook(lambda _m, args, _o: seen.__setitem__("body", seen["body"] + args[0].numel()))
    model.network.get_output_embeddings().register_forward_hook(lambda _m, args, _o: seen.__setitem__("head", seen["head"] + args[0].shape[-2]))
    scorer = Scorer(model, chunk_tokens=16, path="packed")
    count = scorer.score(probe_requests(model.vocabulary, None, model.window)).count
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
