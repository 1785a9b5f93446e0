"""Weights on disk -> a network, and what its configuration says of its windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprompt.errors import UserError

#: Tokens that a model reads where its configuration names no limit.
NO_LIMIT = 2**20


def load_network(folder: Path, dtype: str, device: Any) -> Any:
    """Return the causal language model of a folder, on a torch device, ready to be forwarded.

    Raises:
        UserError: there is none that transformers can read.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = _pick_dtype(config, dtype, device)
        network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot load a causal language model from {folder}: {str(error).splitlines()[0]}"
        ) from None
    return network.to(device).eval()


def window_of(text: Any) -> int:
    """Return the longest sequence that a text configuration allows, in tokens."""
    named = (getattr(text, key, None) for key in ("max_position_embeddings", "n_positions"))
    return int(next((limit for limit in named if limit), NO_LIMIT))


def sliding_window_of(text: Any) -> int | None:
    """Return the width of the sliding attention of a text configuration, None where it has none."""
    layer_types = getattr(text, "layer_types", None) or ()
    if layer_types and "sliding_attention" not in layer_types:
        return None
    if not getattr(text, "use_sliding_window", True):
        return None
    width: int | None = getattr(text, "sliding_window", None)
    return width


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as a float32 safetensors folder. It is read by transformers, which
    dequantizes it, in about 30 s.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    quantized = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    config = quantized.config
    if hasattr(config, "quantization_config"):
        # the weights are plain now; with the entry the result could not be saved
        del config.quantization_config
    with torch.device("meta"):
        plain = type(quantized)(config)
    plain.load_state_dict(quantized.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pick_dtype(config: Any, asked: str, device: Any) -> Any:
    import torch

    if asked != "auto":
        return getattr(torch, asked)
    own = getattr(config.get_text_config(), "dtype", None) or torch.float32
    if device.type == "cuda":
        return own if own != torch.bfloat16 or torch.cuda.is_bf16_supported() else torch.float16
    native = own == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return own if native else torch.float32  # emulated bf16 is 10 to 40 times slower than float32
