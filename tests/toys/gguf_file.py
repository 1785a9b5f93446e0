"""The folder of a Llama -> a GGUF file in float32, for a server of llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import load_file

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(folder: Path, file: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(str(file), "llama")
    _write_shape(writer, config)
    _write_tokens(writer, config, json.loads((folder / "tokenizer.json").read_text()))
    for name, values in load_file(folder / "model.safetensors").items():
        writer.add_tensor(*_tensor(name, values.astype(np.float32), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _head_dim(config: dict[str, Any]) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def _write_shape(writer: GGUFWriter, config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or config
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(_head_dim(config))
    writer.add_value_length(_head_dim(config))
    writer.add_rope_dimension_count(_head_dim(config))
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)


def _write_tokens(writer: GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    special = {row["id"]: row["content"] for row in tokenizer.get("added_tokens", [])}
    named = {i: token for token, i in tokenizer["model"]["vocab"].items()} | special
    size = range(config["vocab_size"])
    merges = tokenizer["model"].get("merges") or ["~ ~"]  # a file without any is refused
    if merges == ["~ ~"]:
        named[max(named) + 1] = "~~"
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([named.get(i, f"<unused{i}>") for i in size])
    writer.add_token_types([3 if i in special else 1 if i in named else 5 for i in size])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def _tensor(name: str, values: np.ndarray, config: dict[str, Any]) -> tuple[str, np.ndarray]:
    if name in OUTER:
        return OUTER[name], values
    _, _, layer, inner = name.removesuffix(".weight").split(".", 3)
    heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}
    if inner in heads:  # llama.cpp turns neighbours, transformers the halves of a head
        split = (config[heads[inner]], 2, _head_dim(config) // 2, -1)
        values = values.reshape(split).swapaxes(1, 2).reshape(values.shape)
    return f"blk.{layer}.{NAMES[inner]}.weight", np.ascontiguousarray(values)
