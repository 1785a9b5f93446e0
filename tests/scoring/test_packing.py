"""Packed linear layers: the same logits, and plain layers wherever they cannot be used."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from toys.tiny_models import architectures
from transformers import LlamaConfig

from evoprompt.scoring import packing
from evoprompt.scoring.packing import pack_linear_layers


def logits(network):
    import torch

    with torch.inference_mode():
        return network(input_ids=torch.arange(40)[None] % 101, use_cache=False).logits


def kinds(network) -> set[str]:
    return {type(module).__name__ for module in network.modules()}


@pytest.mark.parametrize("name", ["llama", "opt", "gpt-oss", "falcon-h1 (hybrid)"])
def test_packed_layers_give_the_same_logits(name: str):
    plain, packed = architectures()[name](), architectures()[name]()
    assert pack_linear_layers(packed) > 10
    assert (
        "Linear" not in kinds(packed) or name != "llama"
    )  # llama's head is not tied here: every layer is packed
    difference = (logits(packed) - logits(plain)).abs().max()
    assert 0 <= difference <= 1e-4 * logits(plain).abs().max()


def test_a_head_that_shares_the_weight_of_the_embedding_stays_plain():
    import torch

    network = architectures()["gemma3"]()
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert pack_linear_layers(network) == 21  # 3 layers of q, k, v, o, gate, up and down
    assert type(network.get_output_embeddings()) is torch.nn.Linear


def test_an_architecture_that_reads_its_weights_itself_keeps_its_layers():
    network = architectures()["mamba"]()
    before, weights = logits(network), [id(p) for p in network.parameters()]
    assert pack_linear_layers(network) == 0
    assert [id(p) for p in network.parameters()] == weights
    assert (logits(network) == before).all()


def test_a_packed_layer_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch):
    true_class = packing._packed_class

    def wrong_class(torch):
        class Wrong(true_class(torch)):
            def forward(self, x):
                return super().forward(x) * 1.001

        return Wrong

    monkeypatch.setattr(packing, "_packed_class", wrong_class)
    network = architectures()["llama"]()
    assert pack_linear_layers(network) == 0
    assert "Wrong" not in kinds(network)


def test_other_number_types_stay_plain():
    assert pack_linear_layers(architectures()["llama"]().bfloat16()) == 0


def test_layers_stay_plain_where_rounding_grows_in_a_state():
    # What the packed layers add doubles from token to token: 1e-9 of a logit after the first is
    # 1e-9 * 2^7 = 1.3e-7 after 8 tokens, and 1e-9 * 2^63, which no score bears, after 64.
    import torch

    tried = []

    class Network(torch.nn.Module):
        def __init__(self, with_state: bool) -> None:
            super().__init__()
            self.config = LlamaConfig(vocab_size=101, max_position_embeddings=64)
            self.embedding = torch.nn.Embedding(101, 16)
            self.linear = torch.nn.Linear(16, 101)
            self.convolution = torch.nn.Conv1d(1, 1, 1) if with_state else None

        def get_input_embeddings(self):
            return self.embedding

        def forward(self, input_ids, use_cache):
            tried.append(input_ids.shape[1])
            rows = self.linear(self.embedding(input_ids))
            if type(self.linear) is not torch.nn.Linear:
                growth = 1e-9 * 2.0 ** torch.arange(input_ids.shape[1])
                rows = rows + growth[None, :, None] * torch.arange(101)
            return SimpleNamespace(logits=rows)

    torch.manual_seed(0)
    assert pack_linear_layers(Network(with_state=True)) == 0
    assert tried == [64, 64]  # as far as the window goes
    assert pack_linear_layers(Network(with_state=False)) == 1
    assert tried[2:] == [8, 8]
