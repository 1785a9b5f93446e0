"""Hugging Face causal language models, on CPU or CUDA. The only file that imports transformers.

Knows tensors, masks and caches. Does not know plans, policies or why a token is scored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.scoring.engine import RowScores

#: Rows that go through the vocabulary head at once: 64 rows of the largest vocabulary in use (262,144) are 64 MiB in fp32.
HEAD_ROWS = 256


class Tokenizer:
    """Text -> token ids, in batches."""

    def __init__(self, folder: Path) -> None:
        self._fast: Any = None
        self._slow: Any = None
        settings = _read_json(folder / "tokenizer_config.json")
        if (folder / "tokenizer.json").exists() and settings.get("tokenizer_class") == "TokenizersBackend":
            # This class says that tokenizer.json is the whole tokenizer; reading it alone spares the 4 s import of transformers.
            from tokenizers import Tokenizer as Backend

            self._fast = Backend.from_file(str(folder / "tokenizer.json"))
            self._fast.no_padding()
            self._fast.no_truncation()
        else:
            from transformers import AutoTokenizer

            self._slow = AutoTokenizer.from_pretrained(folder)
        model = _read_json(folder / "config.json")
        model = model.get("text_config", model)
        begin = model.get("bos_token_id")
        self.begin_token: int = int(begin if begin is not None else _first(model.get("eos_token_id", 0)))

    def encode(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[tuple[int, ...]]:
        """Return the token ids of each text; each distinct text is encoded once."""
        unique = list(dict.fromkeys(texts))
        if self._fast is not None:
            ids = [tuple(e.ids) for e in self._fast.encode_batch(unique, add_special_tokens=add_special_tokens)]
        else:
            ids = [tuple(i) for i in self._slow(unique, add_special_tokens=add_special_tokens)["input_ids"]] if unique else []
        table = dict(zip(unique, ids, strict=True))
        return [table[t] for t in texts]


class TransformersLM:
    """A frozen causal language model. Implements `engine.LanguageModel`.

    Args:
        folder: a model folder as `save_pretrained` writes it.
        dtype: `auto` is the checkpoint's own type where the device computes in it, else float32.
        device: `auto` is CUDA where there is one, else the CPU.
        threads: of the CPU; None leaves torch's choice.

    Raises:
        UserError: the folder holds no causal language model that transformers can load.
    """

    def __init__(self, folder: Path, *, dtype: str = "auto", device: str = "auto", threads: int | None = None) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        if self._device.type == "cpu":
            # Without it a mask makes transformers copy keys and values once per query head; results are the same.
            os.environ["TRANSFORMERS_SDPA_FORCE_GQA"] = "1"
        try:
            config = transformers.AutoConfig.from_pretrained(folder)
            kind = _pick_dtype(torch, config, dtype, self._device)
            self.network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind).to(self._device).eval()
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"cannot load a causal language model from {folder}: {str(error).splitlines()[0]}") from None
        text = self.network.config.get_text_config()
        self.dtype = str(kind).removeprefix("torch.")
        self.vocabulary = int(text.vocab_size)
        self.window = int(getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None) or 2**20)
        self._layer_types = set(getattr(text, "layer_types", None) or ())
        uses_window = not self._layer_types or "sliding_attention" in self._layer_types
        self.sliding_window = getattr(text, "sliding_window", None) if uses_window and getattr(text, "use_sliding_window", True) else None
        self._eager = text._attn_implementation == "eager"
        self._cache = transformers.DynamicCache()
        self._new_cache = transformers.DynamicCache  # without a config: full keys and values on sliding layers too

    def begin(self) -> None:
        """Forget all kept rows."""
        self._cache = self._new_cache()

    def drop(self, num_rows: int) -> None:
        """Forget the last rows kept."""
        self._cache.crop(-num_rows)  # negative: how many to remove

    def forward(
        self,
        tokens: NDArray[np.int64],
        depth: NDArray[np.int64],
        past_depth: NDArray[np.int64],
        visible: NDArray[np.bool_],
        scored: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        keep: bool,
    ) -> RowScores:
        """Forward one packed pass after the kept rows."""
        torch = self._torch
        inputs = {
            "input_ids": self._tensor(tokens)[None],  # (1, row)
            "position_ids": self._tensor(depth)[None],  # (1, row)
            "attention_mask": self._masks(depth, past_depth, visible),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        rows, targets = scored
        with torch.inference_mode():
            if len(rows) == 0:
                self.network.base_model(**inputs)  # nothing is predicted here: spare the head
                scores = RowScores(np.zeros(0), np.zeros(0, dtype=bool))
            else:
                needed, place = np.unique(rows, return_inverse=True)
                logits = self._logits(inputs, needed, len(tokens))
                scores = self._gather(logits, place, targets)
        if not keep:
            self._cache.crop(-len(tokens))
        return scores

    def forward_plain(self, tokens: NDArray[np.int64], scored: tuple[NDArray[np.int64], NDArray[np.int64]]) -> RowScores:
        """Forward one whole sequence by itself, without cache, mask or positions of our own."""
        rows, targets = scored
        needed, place = np.unique(rows, return_inverse=True)
        with self._torch.inference_mode():
            logits = self._logits({"input_ids": self._tensor(tokens)[None], "use_cache": False}, needed, len(tokens))
            return self._gather(logits, place, targets)

    def _logits(self, inputs: dict[str, Any], needed: NDArray[np.int64], num_tokens: int) -> Any:
        """Return the logits of the needed rows only, shape (needed row, vocabulary); the model's own head computes them."""
        keep = self._torch.zeros(1, num_tokens, dtype=self._torch.bool, device=self._device)
        keep[0, self._tensor(needed)] = True
        logits = self.network(**inputs, logits_to_keep=keep).logits  # a boolean mask means rows; integers would mean positions
        logits = logits.reshape(-1, logits.shape[-1])
        return logits if len(logits) == len(needed) else logits[keep[0]]  # some architectures ignore logits_to_keep

    def _gather(self, logits: Any, place: NDArray[np.int64], targets: NDArray[np.int64]) -> RowScores:
        torch = self._torch
        rows, wanted = self._tensor(place), self._tensor(targets)
        normalizer = torch.cat([part.float().logsumexp(-1) for part in logits.split(HEAD_ROWS)])  # (needed row,)
        first = torch.cat([part.argmax(-1) for part in logits.split(HEAD_ROWS)])
        log_prob = logits[rows, wanted].double() - normalizer[rows].double()  # (scored token,)
        return RowScores(log_prob.cpu().numpy(), (first[rows] == wanted).cpu().numpy())

    def _masks(self, depth: NDArray[np.int64], past_depth: NDArray[np.int64], visible: NDArray[np.bool_]) -> Any:
        """Return the 4-D mask in the form that the architecture takes: one tensor, or one for each type of layer."""
        near = visible
        if self.sliding_window:
            columns = np.concatenate([past_depth, depth])
            near = visible & (depth[:, None] - columns[None, :] < self.sliding_window)
        if self._layer_types:
            return {"full_attention": self._mask(visible), "sliding_attention": self._mask(near)}
        return self._mask(near)

    def _mask(self, allowed: NDArray[np.bool_]) -> Any:
        mask = self._torch.from_numpy(allowed).to(self._device)[None, None]  # (1, 1, row, past and row)
        if self._eager:  # eager attention adds its mask: a boolean one would silently be added as 1.0
            kind = self.network.dtype
            return self._torch.zeros(mask.shape, dtype=kind, device=self._device).masked_fill_(~mask, self._torch.finfo(kind).min)
        return mask

    def _tensor(self, array: NDArray[np.int64]) -> Any:
        return self._torch.as_tensor(np.ascontiguousarray(array), device=self._device)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as a float32 safetensors folder. It is read by transformers, which dequantizes it, in about 30 s."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    quantized = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are plain now; with the entry the result could not be saved
    with torch.device("meta"):
        plain = type(quantized)(config)
    plain.load_state_dict(quantized.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pick_dtype(torch: Any, config: Any, asked: str, device: Any) -> Any:
    if asked != "auto":
        return getattr(torch, asked)
    own = getattr(config.get_text_config(), "dtype", None) or torch.float32
    if device.type == "cuda":
        return own if own != torch.bfloat16 or torch.cuda.is_bf16_supported() else torch.float16
    native = own == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return own if native else torch.float32  # emulated bf16 is 10 to 40 times slower than float32


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value
