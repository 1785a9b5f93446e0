"""What is in a model folder is a whole causal language model, or is refused by name; and which
lengths it has.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toys.gguf_file import write_gguf
from toys.tiny_models import architectures

from evoprompt.errors import UserError
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.weights import limits_of, picks_positions, window_of


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def change_weights(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_missing_head_is_named_and_never_made_up(folder: Path):
    change_weights(folder, lambda w: w.pop("lm_head.weight"))
    with pytest.raises(UserError, match=r"1 weight missing \(lm_head.weight\)") as caught:
        TransformersLM(folder)
    assert str(folder) in str(caught.value)


def test_a_head_that_is_the_embedding_is_not_missing(folder: Path):
    change_weights(folder, lambda w: w.pop("lm_head.weight"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert TransformersLM(folder).vocabulary == 101


def test_weights_that_the_model_does_not_have_are_named_but_old_buffers_are_not(folder: Path):
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(folder, lambda w: w.update({buffer: w["model.norm.weight"].clone()}))
    assert TransformersLM(folder).window == 256
    change_weights(folder, lambda w: w.update({"score.weight": w["model.norm.weight"].clone()}))
    with pytest.raises(UserError, match=r"1 weight unexpected \(score.weight\)"):
        TransformersLM(folder)


def test_weights_of_another_shape_are_refused(folder: Path):
    change_weights(
        folder, lambda w: w.update({"model.norm.weight": w["model.norm.weight"][:5].clone()})
    )
    with pytest.raises(UserError, match="cannot load a causal language model"):
        TransformersLM(folder)


def test_weights_that_are_no_numbers_are_refused(folder: Path):
    change_weights(folder, lambda w: w["model.norm.weight"].fill_(float("nan")))
    with pytest.raises(UserError, match="NaN or infinite"):
        TransformersLM(folder)


def test_a_model_that_looks_ahead_is_no_causal_model(folder: Path):
    import transformers as t

    sizes: dict[str, Any] = dict(
        vocab_size=101, hidden_size=48, num_hidden_layers=2, num_attention_heads=6
    )
    how = sizes | {"intermediate_size": 96, "initializer_range": 0.3}
    t.BertForMaskedLM(t.BertConfig(**how)).save_pretrained(folder)
    with pytest.raises(UserError, match="BertLMHeadModel is no causal model"):
        TransformersLM(folder)
    t.BertLMHeadModel(t.BertConfig(**how, is_decoder=True)).save_pretrained(folder)
    assert TransformersLM(folder).vocabulary == 101  # its power twin: as a decoder it does not


def test_an_encoder_decoder_and_its_decoder_alone_are_refused(folder: Path):
    import transformers as t

    config = t.BartConfig(
        vocab_size=101, d_model=48, encoder_layers=1, decoder_layers=1, decoder_ffn_dim=96,
        encoder_ffn_dim=96, decoder_attention_heads=6, encoder_attention_heads=6,
    )  # fmt: skip
    t.BartForConditionalGeneration(config).save_pretrained(folder)
    with pytest.raises(UserError, match=r"an encoder with a decoder \(bart\)"):
        TransformersLM(folder)
    t.BartForCausalLM(config).save_pretrained(folder)
    with pytest.raises(UserError, match="is the decoder of an encoder-decoder"):
        TransformersLM(folder)


def test_code_in_the_folder_is_never_run(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "mine.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(UserError, match="code of its own, which is never run"):
        TransformersLM(folder)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_one_sentence_with_the_folder(folder: Path, part: float):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match=str(folder)) as caught:
        TransformersLM(folder)
    assert "\n" not in str(caught.value)


def test_an_adapter_and_several_gguf_files_are_told_what_to_do(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="but an adapter: set model.adapter to it"):
        resolve_model(str(tmp_path))
    (tmp_path / "adapter_config.json").rename(tmp_path / "model.gguf")
    with pytest.raises(UserError, match="cannot convert the GGUF file"):
        resolve_model(str(tmp_path))
    (tmp_path / "other.gguf").touch()
    with pytest.raises(UserError, match="several GGUF files; set model.name to one"):
        resolve_model(str(tmp_path))


def test_a_gguf_file_is_converted_once_and_computes_as_its_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("EVOPROMPT_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    write_gguf(tiny_model, file)
    found = resolve_model(str(file))
    written = (found / "model.safetensors").stat().st_mtime_ns
    assert resolve_model(str(tmp_path)) == found  # the only one of its folder
    assert (found / "model.safetensors").stat().st_mtime_ns == written
    tokens, scored = np.arange(20, 40), (np.arange(20), np.arange(40, 60))
    here, there = (
        TransformersLM(folder, dtype="float32").forward_plain(tokens, scored).log_prob
        for folder in (tiny_model, found)
    )
    np.testing.assert_allclose(there, here, atol=1e-5)


def test_limits_are_windows_chunks_and_earlier_lengths_and_no_widths():
    models = architectures()
    found = {
        name: limits_of(model := build(), window_of(model.config.get_text_config()))
        for name, build in models.items()
        if name.startswith(("llama", "gpt2", "gpt-neo (", "phi3 (", "qwen2 (", "mistral"))
    }
    assert found == {
        "llama": (),
        "gpt2": (),
        "mistral with a window": (),  # 8 tokens: every probe is longer
        "gpt-neo (window by index)": (64,),
        "phi3 (longrope)": (100,),
        "qwen2 (yarn)": (),  # its rotation is the same at all lengths
    }


def test_a_whole_number_that_nobody_knows_is_a_length():
    import torch

    config = SimpleNamespace(
        to_dict=lambda: {"hidden_size": 48, "attention_sieve": 96, "far": {"reach": 120}},
        max_position_embeddings=256,
    )
    config.get_text_config = lambda: config
    network = torch.nn.Module()
    network.config, network.device, network.dtype = config, "cpu", torch.float32
    network.sieve = type("Sieve", (torch.nn.Module,), {})()
    network.sieve.span, network.sieve.width, network.sieve.size = 40, 50, 48
    assert limits_of(network, 256) == (40, 96, 120)


def test_a_gpu_that_is_not_there_is_said(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"model.device=cuda asks for a GPU.*set model.device to"):
        TransformersLM(tiny_model, device="cuda")
    assert TransformersLM(tiny_model, device="auto").device == "cpu"


def test_a_pass_that_memory_surely_does_not_hold_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    import psutil

    model = TransformersLM(tiny_model)
    # A token takes 4 bytes * (8 * 48 hidden + 3 * 96 between) = 2,688, and a byte for each of the
    # 256 columns of its mask: 2,944; 1,000 are 2,944,000.
    free = SimpleNamespace(available=2_944_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    model.check_memory(1000)
    free.available -= 1
    with pytest.raises(UserError) as caught:
        model.check_memory(1000)
    # half of what would just fit: 1,000 * 2,943,999 / 2,944,000 / 2 = 499.99...
    assert "passes of 1000 tokens take 2 MiB" in str(caught.value)
    assert "set model.chunk_tokens to 499, for the whole run" in str(caught.value)
    free.available = 0
    with pytest.raises(UserError, match="set model.chunk_tokens to 16,"):  # the least there is
        model.check_memory(1000)


@pytest.mark.parametrize(
    ("fields", "picks"),
    [
        ({"index_topk": 64}, True),
        ({"sparse": {"index_topk_blocks": 16}}, True),
        ({"indexer_budget": 64}, True),
        ({"indexer_budget": None, "index_topk": 0, "index_head_dim": 8}, False),
        ({"num_experts_per_tok": 2, "topk_group": 1}, False),
    ],
)
def test_who_picks_positions_is_known_by_its_configuration(fields: dict[str, Any], picks: bool):
    text = SimpleNamespace(to_dict=lambda: fields)
    network = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))
    assert picks_positions(network) is picks
