"""Weights on disk -> a network, and what its configuration says of its windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError
from evoprompt.scoring.adapter import merge_adapter
from evoprompt.scoring.language_model import REFUSALS

#: Tokens that a model reads where its configuration names no limit.
NO_LIMIT = 2**20
#: Keys of the longest sequence.
WINDOWS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx")
#: Columns of a pass, for an estimate of the memory that it takes: few prompts are longer.
COLUMNS = 4096
#: Names of whole numbers that are lengths, whatever else is in the name.
LENGTHS = re.compile(r"(window|chunk|block|floor|original_max|topk|span)(?!.*layers)")
#: Names of those that are none: widths, numbers of things, tokens, factors.
WIDTHS = re.compile(
    r"hidden|intermediate|vocab|dim|embd|embed|embedding_size|head|layer|expert|token|rank|ffn|dff"
    r"|num_|\bn_(?!positions)|group|seed|width|kernel|state|channel|scal|theta|factor|base|multipl"
    r"|divis|version|period|interval|iter|cycles|offset|bucket|inner|d_model|moe|_id\b|index$|idx"
    r"|label|^n[xf]$|conv|expan|rotary|features|split_size|eps\b|sampling|image|altup|mult\b"
)
#: Names of how many positions an indexer picks for each query to attend to.
PICKS = re.compile(r"index.*(topk|top_k|budget)")
#: Buffers in old checkpoints, that are computed and not learned.
HARMLESS = re.compile(r"inv_freq|rotary_emb|masked_bias|(attn|attention)\.bias$|position_ids$")
#: Ends of the names of what attends to an encoder.
CROSS_ATTENTION = ("encoder_attn", "crossattention", "EncDecAttention")
#: Difference of logits, as a part of the greatest, that is no influence of later tokens.
CAUSAL_TOLERANCE = 1e-3


def load_network(folder: Path, dtype: str, device: Any, adapter: Path | None = None) -> Any:
    """Return the causal language model of a folder, on a torch device, ready to be forwarded; with
    an adapter merged into it.

    Raises:
        UserError: there is none that transformers can read, some of its weights are missing, not a
            number or of another shape, or it is no decoder that stands alone; or the adapter does
            not fit it.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise ValueError(
                f"it is an encoder with a decoder ({config.model_type}), of which the decoder says "
                "nothing by itself; give a decoder-only model"
            )
        config.get_text_config()
        kind = _pick_dtype(config, dtype, device)
        network, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=kind, output_loading_info=True, trust_remote_code=False
        )
        if fault := _loading_fault(info):
            raise ValueError(fault)
        if adapter is not None:
            network = merge_adapter(network, adapter)
        network = network.to(device).eval()
        if fault := _forward_fault(network, device):
            raise ValueError(fault)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  a folder may hold anything, and break any reader
        raise UserError(
            f"cannot load a causal language model from {folder}: {told(error)}"
        ) from None
    return network


def pick_device(asked: str) -> Any:
    """Return the torch device that is asked for; `auto` is CUDA where there is one, else the CPU.

    Raises:
        UserError: CUDA is asked for, and this torch or this machine has none.
    """
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda" if asked == "auto" else asked)
    if asked.startswith("cuda"):
        why = "sees no GPU" if torch.version.cuda else "is built without CUDA"
        raise UserError(
            f"model.device={asked} asks for a GPU, and torch {torch.__version__} {why} here; set "
            "model.device to auto or cpu, or run it where torch sees a GPU"
        )
    return torch.device("cpu" if asked == "auto" else asked)


def devices() -> tuple[list[str], str]:
    """Return the names of the GPUs that torch sees, and what the CPU computes with."""
    import torch

    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    names = [torch.cuda.get_device_name(number) for number in gpus]
    return names, str(torch.backends.cpu.get_cpu_capability())


def vocabulary_of(network: Any) -> int:
    """Return how many tokens a network can read: the rows of its embedding, or fewer where its
    configuration says so.
    """
    rows = int(network.get_input_embeddings().weight.shape[0])
    named = getattr(network.config.get_text_config(), "vocab_size", None)
    return min(rows, named) if isinstance(named, int) else rows


def told(error: Exception) -> str:
    """Return what an error says, in a line, for people."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        return "it brings code of its own, which is never run; give a model that transformers has"
    if isinstance(error, (UserError, ValueError, OSError)) and text:
        return text[:300]
    return f"{type(error).__name__}: {text}"[:300].removesuffix(": ")


def _loading_fault(info: Any) -> str:
    """Return what is wrong with the weights that were found, or nothing.

    Heads that are tied to the embedding are not missing, and what an architecture knows to be
    superfluous is left out by transformers.
    """
    kinds = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(key for key in info["unexpected_keys"] if not HARMLESS.search(key)),
        "of another shape": sorted(
            key if isinstance(key, str) else str(key[0]) for key in info["mismatched_keys"]
        ),
    }
    faults = [
        f"{len(names)} {'weights' if len(names) > 1 else 'weight'} {kind} "
        f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
        if names
    ]
    if not faults:
        return ""
    return (
        f"its files have {' and '.join(faults)}, so the scores would be those of another model; "
        "give the folder of a complete causal language model with its head"
    )


def _forward_fault(network: Any, device: Any) -> str:
    """Return what is wrong with the logits of a few tokens, or nothing: they must be numbers, and
    none may depend on a later token.
    """
    import torch

    if any(name.endswith(CROSS_ATTENTION) for name, _ in network.named_modules()):
        return (
            f"{type(network).__name__} is the decoder of an encoder-decoder: it attends to an "
            "encoder that is not there; give a decoder-only model"
        )
    size = vocabulary_of(network)
    first = (torch.arange(3, 15, device=device) * 7 % size)[None]
    second = first.clone()
    second[0, -4:] = (second[0, -4:] + 1) % size
    with torch.inference_mode():
        one, other = (
            network(input_ids=tokens, use_cache=False).logits[0].float()
            for tokens in (first, second)
        )
    if not bool(torch.isfinite(one).all()):
        return (
            "its weights make NaN or infinite logits; check its files, or try model.dtype=float32"
        )
    difference = float((one[:-4] - other[:-4]).abs().max())
    if difference > CAUSAL_TOLERANCE * float(one.abs().max()):
        return (
            f"{type(network).__name__} is no causal model: what it predicts depends on later "
            "tokens; give a decoder-only model"
        )
    return ""


def limits_of(network: Any, window: int) -> tuple[int, ...]:
    """Return the lengths past which a network may compute otherwise, ascending: windows, chunks,
    lengths of earlier training.

    They are all whole numbers in its configuration and its modules but those whose name says a
    width, a number of things or a token: what nobody knows the meaning of costs a longer probe, not
    a wrong score. Numbers below 16 are passed by every probe.
    """
    numbers = dict(_numbers(network.config.get_text_config().to_dict()))
    widths = {value for name, value in numbers.items() if not _may_be_length(name)}
    for module in network.modules():
        if not type(module).__module__.startswith(("torch.", "evoprompt.")):
            own = {k: v for k, v in vars(module).items() if not k.startswith("_")}
            numbers |= {k: v for k, v in _numbers(own) if v not in widths}
    static = _rope_is_static(network)
    found = {
        value
        for name, value in numbers.items()
        if _may_be_length(name) and not (static and "original_max" in name)
    }
    return tuple(sorted(value for value in found if 16 <= value < window))


def picks_positions(network: Any) -> bool:
    """Return whether each query attends to the best few positions of an indexer."""
    numbers = _numbers(network.config.get_text_config().to_dict())
    return any(PICKS.search(name) and value > 0 for name, value in numbers)


def _may_be_length(name: str) -> bool:
    return bool(LENGTHS.search(name)) or not WIDTHS.search(name)


def _numbers(values: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Return the whole numbers of a configuration, by name, those inside it too."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers({str(k): v for k, v in value.items()}, f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _rope_is_static(network: Any) -> bool:
    """Return whether the rotation of early positions is the same beside the last ones; False where
    that cannot be asked.
    """
    import torch

    ropes = [m for m in network.modules() if type(m).__name__.endswith("RotaryEmbedding")]
    last = window_of(network.config.get_text_config()) - 1
    early = torch.arange(8, device=network.device)[None]
    late = torch.cat([early, torch.tensor([[last]], device=network.device)], dim=1)
    rows = torch.zeros(1, 1, 1, dtype=network.dtype, device=network.device)
    try:
        with torch.inference_mode():
            return bool(ropes) and all(
                torch.equal(a, b[:, :8])
                for rope in ropes
                for a, b in zip(rope(rows, early), rope(rows, late), strict=True)
            )
    except REFUSALS:
        return False


def window_of(text: Any) -> int:
    """Return the longest sequence that a text configuration allows, in tokens."""
    named = (getattr(text, key, None) for key in WINDOWS)
    return int(next((limit for limit in named if isinstance(limit, int) and limit > 0), NO_LIMIT))


def sliding_window_of(text: Any) -> int | None:
    """Return the width of the sliding attention of a text configuration, None where it has none."""
    layer_types = getattr(text, "layer_types", None) or ()
    if layer_types and "sliding_attention" not in layer_types:
        return None
    if not getattr(text, "use_sliding_window", True):
        return None
    width: int | None = getattr(text, "sliding_window", None)
    return width


def bytes_per_token(network: Any, window: int, eager: bool, with_kept: bool) -> int:
    """Return about how much memory a token of a pass takes.

    Args:
        network: what is forwarded.
        window: its longest sequence, in tokens.
        eager: attention weights are held in memory.
        with_kept: keys and values count too.
    """
    text = network.config.get_text_config()
    size = network.dtype.itemsize

    def number(name: str, default: int) -> int:
        value = getattr(text, name, None)
        return int(max(value) if isinstance(value, list) else value or default)

    hidden = number("hidden_size", 0)
    heads = number("num_attention_heads", 1)
    columns = min(window, COLUMNS)
    scores = 2 * heads * columns if eager else 0
    per_token = size * (8 * hidden + 3 * number("intermediate_size", 4 * hidden) + scores) + columns
    if with_kept:
        grouped = number("num_key_value_heads", heads) / heads
        per_token += int(2 * size * number("num_hidden_layers", 1) * hidden * grouped)
    return int(per_token)


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
    native = own == torch.bfloat16 and has_bf16(device.type)
    return own if native else torch.float32  # emulated bf16 is 10 to 40 times slower than float32


def default_threads() -> int:
    """Return with how many threads the CPU computes where nothing else is said."""
    import torch

    return int(torch.get_num_threads())


def has_bf16(device: str) -> bool:
    """Return whether a kind of device computes with bf16 itself."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
