"""Hold the scores of tiny random models, of every architecture that can be built small, against a
plain loop of `model(input_ids)` over one sequence at a time.

    python experiments/check_architectures.py --out results/architectures [--only gpt_neo,doge]

Prompts go well past every window, chunk and length of earlier training that the architectures have.
Each architecture is a process of its own with a time limit; its answer is a file of the folder, and
what is there already is not done again. Exit code 1: a silent error of more than 1e-4 nats plus
2e-5 of the value, or a refusal that is no sentence. `rounding`: the error is that large, but no
larger than three times what the last bits of the weights do to the plain loop itself.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

VOCABULARY, WINDOW = 101, 320
ABSOLUTE, RELATIVE = 1e-4, 2e-5
#: Values of configurations' fields, where an architecture has them.
SMALL: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "embedding_size", "word_embed_proj_dim", "dim"), 48
    ),
    **dict.fromkeys(("emb_dim", "lru_width", "attention_hidden_size", "mamba_d_ssm"), 48),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "decoder_ffn_dim"), 96
    ),
    **dict.fromkeys(("dff", "d_inner", "d_ff", "dim_ff", "block_ff_dim", "mlp_hidden_size"), 96),
    **dict.fromkeys(("intermediate_size_mlp", "dense_intermediate_size", "encoder_ffn_dim"), 96),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("shared_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 3),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers"), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 6),
    **dict.fromkeys(("decoder_attention_heads", "attention_heads", "encoder_attention_heads"), 6),
    **dict.fromkeys(("num_key_value_heads", "n_shared_experts", "moe_num_shared_experts"), 2),
    **dict.fromkeys(("head_dim", "d_head", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("v_head_dim", "index_head_dim", "linear_head_dim", "kv_channels"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_d_head"), 8),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "laurel_rank"), 8),
    **dict.fromkeys(("hidden_size_per_layer_input", "mamba_dt_rank", "time_step_rank"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), WINDOW),
    **dict.fromkeys(("context_length", "max_sequence_length", "model_max_length"), WINDOW),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts", "index_n_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "linear_num_key_heads"), 2),
    **dict.fromkeys(("num_experts_per_token",), 2),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups"), 1),
    **dict.fromkeys(("mamba_n_heads",), 12),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "block_size"), 32),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size"), 64),
    **dict.fromkeys(("attention_window_size", "keep_window_size", "attention_chunk_size"), 64),
    **dict.fromkeys(("index_topk", "index_block_size", "local_attention"), 64),
    **dict.fromkeys(("initializer_range", "init_std"), 0.3),
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: What some need beside that.
OWN: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "falcon_mamba": {"num_hidden_layers": 2},
    "mamba": {"num_hidden_layers": 2},
    "mamba2": {"num_heads": 12, "n_groups": 2, "num_hidden_layers": 2},
    "falcon": {"new_decoder_architecture": False, "alibi": False, "multi_query": True},
    "codegen": {"rotary_dim": 8, "num_attention_heads": 4},
    "gptj": {"rotary_dim": 8},
    "recurrent_gemma": {
        "num_key_value_heads": 1,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "jamba": {"attn_layer_period": 3, "attn_layer_offset": 1, "num_experts": 2},
    "gemma3n_text": {"num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0] * 3},
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"], "num_local_experts": 2},
    "zamba": {"layer_types": ["mamba", "hybrid", "mamba", "hybrid"], "n_mamba_heads": 2,
              "num_hidden_layers": 4,
              "attention_head_dim": 16, "attention_hidden_size": 96},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "mamba_ngroups": 1,
               "num_mem_blocks": 1, "num_hidden_layers": 4,
               "n_mamba_heads": 12, "mamba_headdim": 8, "attention_head_dim": 16,
               "attention_hidden_size": 96},
    "falcon_h1": {"mamba_n_heads": 6},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 8},
    "xlstm": {"hidden_size": 64, "num_heads": 4, "num_blocks": 2, "num_hidden_layers": 2},
    "minimax": {"layer_types": ["full_attention", "linear_attention", "full_attention"]},
    "dbrx": {
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8},
        "ffn_config": {"hidden_size": 48, "ffn_hidden_size": 96, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_key_value_heads": 6},
    "deepseek_v3": {"num_key_value_heads": 6},
    "deepseek_v32": {"num_key_value_heads": 6},
}  # fmt: skip
ROPES: dict[str, dict[str, Any]] = {
    "longrope": {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0},
    "linear": {"factor": 4.0},
    "llama3": {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
#: Variants of an architecture: its kind, and what is set beside the above.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{kind} {name}": (
        kind,
        {
            "rope_parameters": {"rope_type": name, "rope_theta": 1e4, **how}
            | {"original_max_position_embeddings": 64},
        }
        | ({"original_max_position_embeddings": 64} if name == "longrope" else {}),
    )
    for kind, name, how in [
        ("phi3", "longrope", ROPES["longrope"]),
        *(("llama", name, ROPES[name]) for name in ("dynamic", "yarn", "linear", "llama3")),
    ]
} | {
    "falcon alibi": ("falcon", {"alibi": True}),
    "mistral full": ("mistral", {"sliding_window": None}),
    "qwen2 window": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}),
    "gpt_neo wide": ("gpt_neo", {"window_size": 256}),
}


def kinds() -> list[str]:
    """Return the names of all architectures and variants."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS]


def build(name: str, folder: Path) -> None:
    """Save a tiny random model of an architecture."""
    import torch
    import transformers

    kind, extra = VARIANTS.get(name, (name, {}))
    plain = transformers.AutoConfig.for_model(kind)
    if plain.get_text_config() is not plain:
        raise ValueError("its text part is an architecture of its own, which is checked")
    known = set(plain.to_dict()) | set(type(plain).attribute_map)
    given = {key: value for key, value in SMALL.items() if key in known}
    if getattr(plain, "sliding_window", 1) is None:
        given.pop("sliding_window", None)
    types = getattr(plain, "layer_types", None)
    mapped = type(plain).attribute_map.get("layer_types", "layer_types")
    if isinstance(getattr(type(plain), mapped, None), property):  # it follows from other keys
        given.pop("layer_types", None)
    elif types:
        distinct = list(dict.fromkeys(types))
        given["layer_types"] = [distinct[i % len(distinct)] for i in range(3)]
    if kind in ("recurrent_gemma", "bamba", "zamba2"):
        given.pop("layer_types", None)
    if kind == "gpt_neo":
        given = {k: v for k, v in given.items() if k not in ("num_hidden_layers", "n_layer")}
    config = type(plain)(**(given | OWN.get(kind, {}) | extra))
    transformers.set_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    random_state = torch.Generator().manual_seed(1)
    with torch.no_grad():  # so large that attention decides
        for parameter in network.parameters():
            if parameter.dim() >= 2 and parameter.std() < 0.15:
                parameter.copy_(torch.randn(parameter.shape, generator=random_state) * 0.25)
    network.save_pretrained(folder)


def requests_of(seed: int, vocabulary: int, window: int) -> list[Any]:
    """Return requests of all lengths up to the window: shared beginnings, one the beginning of
    another, contexts of one token, continuations of up to 20.
    """
    from evoprompt.scoring.trie import TokenRequest

    draw = random.Random(seed)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, vocabulary) for _ in range(length))

    longest = min(window, WINDOW) - 2
    trunk = tokens(draw.choice([n for n in (1, 20, 50, 62, 100, 130, 250) if n < longest - 40]))
    found: list[Any] = []
    for _ in range(14):
        kind = draw.random()
        if found and kind < 0.25:
            whole = (other := draw.choice(found)).context + other.continuation
            cut = draw.randrange(1, len(whole))
            context, continuation = whole[:cut], tokens(draw.randrange(1, 21))
        elif kind < 0.35:
            context, continuation = tokens(draw.randrange(1, 30)), tokens(draw.randrange(1, 21))
        elif kind < 0.5:
            context = trunk + tokens(longest - 20 - len(trunk))
            continuation = tokens(draw.randrange(1, 20))
        else:
            context = trunk + tokens(draw.randrange(1, 40))
            continuation = tokens(draw.randrange(1, 21))
        if len(context) + len(continuation) <= longest:
            found.append(TokenRequest(context, continuation))
    return found


def loop(network: Any, requests: list[Any]) -> list[float]:
    """Return the log-likelihoods, each from a forward of its own, in nats."""
    import torch

    values = []
    for request in requests:
        whole = torch.tensor([request.context + request.continuation])
        with torch.no_grad():
            logits = network(input_ids=whole[:, :-1], use_cache=False).logits[0].double()
        at = torch.arange(len(request.context) - 1, whole.shape[1] - 1)
        chosen = logits[at, whole[0, at + 1]] - logits[at].logsumexp(-1)
        values.append(float(chosen.sum()))
    return values


def nudge(network: Any) -> None:
    """Move every weight by up to its last bit: what that does to a score, rounding may do."""
    import torch

    random_state = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in network.parameters():
            step = torch.randint(-1, 2, weight.shape, generator=random_state)
            weight.mul_(1 + step * torch.finfo(weight.dtype).eps)


def check(name: str) -> dict[str, Any]:
    """Return the way, the largest difference in nats, and the verdict on an architecture."""
    import numpy as np
    import torch
    import transformers

    from evoprompt.errors import UserError
    from evoprompt.scoring.engine import Scorer
    from evoprompt.scoring.lm import TransformersLM

    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            build(name, folder)
            network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        except Exception as error:  # noqa: BLE001  what cannot be built small is no finding
            return {"verdict": "not built", "why": f"{type(error).__name__}: {error}"[:200]}
        try:
            model = TransformersLM(folder, threads=1)
            scorer = Scorer(model, chunk_tokens=model.chunk_tokens())
        except UserError as error:
            return {"verdict": "refused", "why": str(error).replace(place, "FOLDER")[:300]}
    network.eval()
    worst = excess = rounding = 0.0
    right_of: list[Any] = []
    for seed in range(4):
        requests = requests_of(seed, model.vocabulary, model.window)
        found = scorer.score(requests).log_likelihood
        right = np.array(loop(network, requests))
        right_of.append((requests, right))
        errors = np.abs(found - right)
        worst = max(worst, float(errors.max()))
        excess = max(excess, float((errors - ABSOLUTE - RELATIVE * np.abs(right)).max()))
    verdict = "right"
    if excess > 0:
        nudge(network)
        rounding = max(float(np.abs(loop(network, r) - v).max()) for r, v in right_of)
        verdict = "rounding" if worst <= 3 * rounding else "WRONG"
    return {
        "verdict": verdict,
        "rounding": rounding,
        "way": scorer.path,
        "packed_length": scorer.verdict.packed_length,
        "limits": list(model.limits),
        "error": worst,
        "why": scorer.reason,
    }


def run_one(name: str, file: Path, time_limit: float) -> dict[str, Any]:
    """Check one architecture in a process of its own; keep and return what came out."""
    command = [sys.executable, __file__, "--one", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=time_limit, check=False
        )
        lines = done.stdout.strip().splitlines()
        found = json.loads(lines[-1]) if done.returncode == 0 else None
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        found = found or {"verdict": "FAILED", "why": f"exit {done.returncode}: {last}"[:300]}
    except subprocess.TimeoutExpired:
        found = {"verdict": "no time", "why": f"more than {time_limit:.0f} s"}
    file.write_text(json.dumps({"architecture": name} | found, indent=1) + "\n")
    return found


def main() -> int:
    """Check what is asked for, and print a line for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/architectures"))
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--time-limit", type=float, default=240, help="seconds for each")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        try:
            print(json.dumps(check(asked.one)))
        except Exception:  # noqa: BLE001  the parent writes down what it was
            traceback.print_exc()
            return 3
        return 0
    asked.out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for name in asked.only.split(",") if asked.only else kinds():
        file = asked.out / f"{name.replace(' ', '-')}.json"
        kept = json.loads(file.read_text()) if file.exists() else None
        found = kept or run_one(name, file, asked.time_limit)
        verdict = found["verdict"]
        counts[verdict] = counts.get(verdict, 0) + 1
        way = found.get("way", "") + (
            f" to {found['packed_length']}" if found.get("packed_length") else ""
        )
        error = f"{found['error']:.1e}" if "error" in found else ""
        said = found["why"] if verdict != "right" else ""
        print(f"{name:28} {way:14} {error:8} {verdict:10} {said[:120]}", flush=True)
    print(", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items())))
    return 1 if counts.get("WRONG") or counts.get("FAILED") else 0


if __name__ == "__main__":
    sys.exit(main())
