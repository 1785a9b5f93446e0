"""Tiny random-weight models of many architectures, built from their configs: no download, a second
each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCABULARY = 101


def architectures() -> dict[str, Callable[[], Any]]:
    """Return a builder for each architecture; all are seeded, three layers deep, and have a window
    of 256.
    """
    import transformers as t

    base: dict[str, Any] = dict(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    head = base | {"head_dim": 8}
    layers = {
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    small: dict[str, Any] = dict(vocab_size=VOCABULARY, n_layer=3, n_head=6, initializer_range=0.3)
    opt: dict[str, Any] = dict(
        vocab_size=VOCABULARY,
        hidden_size=48,
        ffn_dim=96,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=256,
        word_embed_proj_dim=48,
        init_std=0.3,
    )
    neox = {k: v for k, v in base.items() if k != "num_key_value_heads"}
    configs: dict[str, tuple[str, Any]] = {
        "llama": ("LlamaForCausalLM", lambda: t.LlamaConfig(**head)),
        "qwen2": ("Qwen2ForCausalLM", lambda: t.Qwen2Config(**base)),
        "qwen3": ("Qwen3ForCausalLM", lambda: t.Qwen3Config(**head)),
        "mistral with a window": (
            "MistralForCausalLM",
            lambda: t.MistralConfig(**head, sliding_window=8),
        ),
        "gemma2": (
            "Gemma2ForCausalLM",
            lambda: t.Gemma2Config(**head, **layers, query_pre_attn_scalar=8),
        ),
        "gemma3": (
            "Gemma3ForCausalLM",
            lambda: t.Gemma3TextConfig(**head, **layers, query_pre_attn_scalar=8),
        ),
        "phi3": ("Phi3ForCausalLM", lambda: t.Phi3Config(**base)),
        "gpt-neox": ("GPTNeoXForCausalLM", lambda: t.GPTNeoXConfig(**neox)),
        "gpt2": (
            "GPT2LMHeadModel",
            lambda: t.GPT2Config(
                **small, n_embd=48, n_positions=256, bos_token_id=1, eos_token_id=2
            ),
        ),
        "opt": ("OPTForCausalLM", lambda: t.OPTConfig(**opt)),
        "gpt-oss": (
            "GptOssForCausalLM",
            lambda: t.GptOssConfig(**head, **layers, num_local_experts=4, num_experts_per_tok=2),
        ),
        "bloom": ("BloomForCausalLM", lambda: t.BloomConfig(**small, hidden_size=48)),
        "mamba": (
            "MambaForCausalLM",
            lambda: t.MambaConfig(
                vocab_size=VOCABULARY, hidden_size=48, state_size=8, num_hidden_layers=2
            ),
        ),
        "mamba2": (
            "Mamba2ForCausalLM",
            lambda: t.Mamba2Config(
                vocab_size=VOCABULARY,
                hidden_size=48,
                state_size=8,
                num_hidden_layers=2,
                num_heads=12,
                head_dim=8,
                n_groups=2,
                chunk_size=16,
            ),
        ),
        "lfm2 (hybrid)": (
            "Lfm2ForCausalLM",
            lambda: t.Lfm2Config(
                **base, layer_types=["conv", "full_attention", "conv"], block_multiple_of=8
            ),
        ),
        "falcon-h1 (hybrid)": (
            "FalconH1ForCausalLM",
            lambda: t.FalconH1Config(
                **base,
                mamba_d_ssm=48,
                mamba_n_heads=6,
                mamba_d_head=8,
                mamba_n_groups=1,
                mamba_d_state=8,
                mamba_chunk_size=16,
            ),
        ),
        "jamba (hybrid)": (
            "JambaForCausalLM",
            lambda: t.JambaConfig(
                **base,
                num_experts=2,
                attn_layer_period=3,
                attn_layer_offset=1,
                use_mamba_kernels=False,
                mamba_d_state=8,
                mamba_dt_rank=4,
            ),
        ),
        "gpt-neo (window by index)": (
            "GPTNeoForCausalLM",
            lambda: t.GPTNeoConfig(
                **{k: base[k] for k in ("vocab_size", "hidden_size", "initializer_range")},
                num_layers=2,
                num_heads=6,
                attention_types=[[["global", "local"], 1]],
                window_size=64,
                max_position_embeddings=256,
            ),
        ),
        "phi3 (longrope)": (
            "Phi3ForCausalLM",
            lambda: t.Phi3Config(
                **base,
                original_max_position_embeddings=100,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "short_factor": [1.0] * 4,
                    "long_factor": [4.0] * 4,
                    "original_max_position_embeddings": 100,
                },
            ),
        ),
        "qwen2 (yarn)": (
            "Qwen2ForCausalLM",
            lambda: t.Qwen2Config(
                **base,
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 10000.0,
                    "factor": 4.0,
                    "original_max_position_embeddings": 64,
                },
            ),
        ),
        "granite (scaled logits)": (
            "GraniteForCausalLM",
            lambda: t.GraniteConfig(**base, logits_scaling=4.0),
        ),
    }

    def builder(name: str) -> Callable[[], Any]:
        kind, config = configs[name]

        def build() -> Any:
            t.set_seed(0)
            return getattr(t, kind)(config()).eval()

        return build

    return {name: builder(name) for name in configs}


def save_model(folder: Path, architecture: str = "llama") -> Path:
    """Save a tiny model with a byte-level tokenizer of 101 tokens; return the folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # 95 printable characters (the space as byte-level writes it), the line end, and three specials:
    # every text has tokens.
    letters = ["<pad>", "<s>", "</s>", "\u0120", "\u010a", *(chr(c) for c in range(33, 127))]
    backend = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    network = architectures()[architecture]()
    network.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder


def save_quick_model(folder: Path, texts: list[str]) -> Path:
    """Save a random model of one layer whose tokens are the words of these texts, in a window of
    4,096; return the folder. The same prompts are a fifth of the tokens of `save_model`'s.
    """
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=specials, initial_alphabet=letters, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    t.set_seed(0)
    network = t.LlamaForCausalLM(
        t.LlamaConfig(
            vocab_size=backend.get_vocab_size(),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            initializer_range=0.3,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    network.eval().save_pretrained(folder)
    t.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder
