"""Packed linear layers: the same logits, and plain layers wherever they cannot be used."""

from __future__ import annotations

import pytest
from toys.tiny_models import architectures

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
