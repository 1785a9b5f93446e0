"""Hugging Face causal language models, on CPU or CUDA. The only file that imports transformers.

Knows tensors, masks and caches. Does not know plans, policies or why a token is scored.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.scoring.fusion import fuse_modules
from evoprompt.scoring.head import score_rows
from evoprompt.scoring.language_model import (
    DENSE_CHUNK,
    LEAST_CHUNK,
    REFUSALS,
    Answers,
    Ints,
    Logits,
    OutOfMemoryError,
    RowScores,
)
from evoprompt.scoring.packing import pack_linear_layers
from evoprompt.scoring.tree_mask import MaskForm, block_attention
from evoprompt.scoring.weights import (
    bytes_per_token,
    limits_of,
    load_network,
    pick_device,
    picks_positions,
    sliding_window_of,
    vocabulary_of,
    window_of,
)

#: Bytes of logits at once: rows go through the vocabulary head in chunks of this size (64 rows of
#: Gemma's 262,144 words in float32).
HEAD_BYTES, CUDA_HEAD_BYTES = 64 * 2**20, 2**30
#: Tokens per pass: on a CPU more is no faster (SmolLM2 has the same rate from 64 on); a GPU
#: computes best with many thousands.
CPU_CHUNK, CUDA_CHUNK = 256, 32768


class TransformersLM:
    """A frozen causal language model. Implements `language_model.LanguageModel`.

    Args:
        folder: a model folder as `save_pretrained` writes it.
        dtype: `auto` is the checkpoint's own type where the device computes in it, else float32.
        device: `auto` is CUDA where there is one, else the CPU.
        threads: of the CPU; None leaves torch's choice.

    Raises:
        UserError: the folder holds no causal language model that transformers can load, or there
            is no such device.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dtype: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        adapter: Path | None = None,
    ) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        import torch
        import transformers

        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._device = pick_device(device)
        on_cpu = self._device.type == "cpu"
        if on_cpu:
            # Without it a mask makes transformers copy keys and values once per query head; results
            # are the same.
            os.environ["TRANSFORMERS_SDPA_FORCE_GQA"] = "1"
        self.network = load_network(folder, dtype, self._device, adapter)
        changed = (pack_linear_layers if on_cpu else fuse_modules)(self.network)
        text = self.network.config.get_text_config()
        self.device = self._device.type
        self.dtype = str(self.network.dtype).removeprefix("torch.")
        kernels = (
            torch.backends.cpu.get_cpu_capability()
            if on_cpu
            else torch.cuda.get_device_name(self._device)
        )
        self._kernels = f"{kernels}, {changed} {'packed layers' if on_cpu else 'fused modules'}"
        self.vocabulary = vocabulary_of(self.network)
        self.window = window_of(text)
        self.limits = limits_of(self.network, self.window)
        self.picks_positions = picks_positions(self.network)
        self._eager = text._attn_implementation == "eager"
        self._form = MaskForm(
            sliding_window_of(text),
            bool(getattr(text, "layer_types", None)),
            self.network.dtype if self._eager else None,
        )
        self.reads_ends = self._device.type == "cuda"
        self.block_masks = self.reads_ends and text._attn_implementation == "sdpa"
        if self.block_masks:
            self._attend_in_blocks(compiled=True)
        self._cache = transformers.DynamicCache()
        # without a config: full keys and values on sliding layers too
        self._new_cache = transformers.DynamicCache
        self._states: list[Any] = []  # of `grow`
        self._cache_name = "past_key_values"  # recurrent models call it otherwise
        self._head = self._plain_head()

    @property
    def arithmetic(self) -> str:
        """How products are computed: the last bits of a score depend on it."""
        return self._kernels + (", block masks" if self.block_masks else "")

    def chunk_tokens(self) -> int:
        """Return how long passes are: what is fast on this device, or on a GPU less where a quarter
        of all its memory does not hold that. It does not depend on what is free.
        """
        if not self.reads_ends:
            return CPU_CHUNK
        tokens = CUDA_CHUNK if self.block_masks else DENSE_CHUNK
        total = int(self._torch.cuda.get_device_properties(self._device).total_memory)
        while tokens > LEAST_CHUNK and tokens * self._bytes_per_token() > total / 4:
            tokens //= 2
        return tokens

    def check_memory(self, chunk_tokens: int) -> None:
        """Raise a `UserError` where what is free now surely does not hold a pass."""
        if self._device.type == "cuda":
            free = int(self._torch.cuda.mem_get_info(self._device)[0])
        else:
            import psutil

            free = int(psutil.virtual_memory().available)
        needed = chunk_tokens * self._bytes_per_token()
        if needed > free:
            raise UserError(
                f"passes of {chunk_tokens} tokens take {needed >> 20} MiB with this model, and "
                f"{free >> 20} MiB are free on the {self.device}; set model.chunk_tokens to "
                f"{max(16, int(chunk_tokens * free / needed / 2))}, for the whole run, or use "
                "fewer workers (workers.count)"
            )

    def _bytes_per_token(self) -> int:
        return bytes_per_token(self.network, self.window, self._eager, self.reads_ends)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The end-of-text tokens that the model's configurations name."""
        network = self.network
        configs = (network.config, network.config.get_text_config(), network.generation_config)
        named = [getattr(config, "eos_token_id", None) for config in configs]
        every = (ids if isinstance(ids, list) else [ids] for ids in named if ids is not None)
        return frozenset(int(token) for ids in every for token in ids)

    def begin(self) -> None:
        """Forget all that is kept."""
        self._cache = self._new_cache()
        self._states = [None]

    def drop(self, num_rows: int) -> None:
        """Forget the last rows kept."""
        self._cache.crop(-num_rows)  # negative: how many to remove

    def take(self, num_rows: int) -> tuple[list[tuple[Any, Any]], int]:
        """Return a copy of the last rows kept, keys and values by layer, and its size in bytes."""
        rows = [
            (layer.keys[..., -num_rows:, :].clone(), layer.values[..., -num_rows:, :].clone())
            for layer in self._cache.layers
        ]
        return rows, sum(t.numel() * t.element_size() for pair in rows for t in pair)

    def put(self, segments: Sequence[list[tuple[Any, Any]]]) -> None:
        """Keep these rows, as `take` returned them."""
        for layer, parts in enumerate(zip(*segments, strict=True)):
            keys, values = (
                self._torch.cat(tensors, dim=-2) for tensors in zip(*parts, strict=True)
            )
            self._cache.update(keys, values, layer)

    def forward(
        self,
        tokens: Ints,
        depth: Ints,
        past_depth: Ints,
        visible: NDArray[np.bool_] | Ints,
        scored: tuple[Ints, Ints],
        *,
        keep: bool,
    ) -> Answers:
        """Forward one packed pass after the kept rows."""
        alone = self.reads_ends and not keep and not len(past_depth)
        with self._guarded():
            inputs = self._packed(tokens, depth, past_depth, visible)
            if alone:  # spare the copy of keys and values that nothing reads
                inputs |= {"past_key_values": None, "use_cache": False}
            scores = self._score_rows(inputs, *scored)[0]
            if not keep and not alone:
                self._cache.crop(-len(tokens))
        return scores

    def forward_logits(
        self, tokens: Ints, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_], rows: Ints
    ) -> Logits:
        """Forward and keep one packed pass after the kept rows; return the logits at these rows of
        it, (row, vocabulary), ascending.
        """
        with self._guarded():
            return self._logits(self._packed(tokens, depth, past_depth, visible), rows)[0]

    def _packed(
        self, tokens: Ints, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_] | Ints
    ) -> dict[str, Any]:
        return {
            "input_ids": self._tensor(tokens)[None],  # (1, row)
            "position_ids": self._tensor(depth)[None],  # (1, row)
            "attention_mask": self._masks(depth, past_depth, visible),
            "past_key_values": self._cache,
            "use_cache": True,
        }

    def grow(self, tokens: Ints, scored: tuple[Ints, Ints]) -> Answers:
        """Forward one sequence after the state on top, and put the state after it there."""
        inputs: dict[str, Any] = {"input_ids": self._tensor(tokens)[None], "use_cache": True}
        if self._states[-1] is not None:
            inputs[self._cache_name] = copy.deepcopy(self._states[-1])
        with self._guarded():
            scores, outputs = self._score_rows(inputs, *scored)
        self._states.append(self._state_of(outputs))
        return scores

    def extend(self, tokens: Ints) -> Logits:
        """Forward one sequence after the state on top, which becomes the state after it; return the
        next token's logits, (vocabulary,).
        """
        inputs: dict[str, Any] = {"input_ids": self._tensor(tokens)[None], "use_cache": True}
        if self._states[-1] is not None:
            inputs[self._cache_name] = self._states[-1]
        with self._guarded():
            [logits], outputs = self._logits(inputs, np.array([len(tokens) - 1]))
        self._states[-1] = self._state_of(outputs)
        return np.asarray(logits)

    def _state_of(self, outputs: Any) -> Any:
        for name in ("past_key_values", "cache_params"):
            if getattr(outputs, name, None) is not None:
                self._cache_name = name
                return getattr(outputs, name)
        raise AttributeError("no state comes back that can be kept")

    def shrink(self) -> None:
        """Forget the state on top."""
        self._states.pop()

    def branch(self, tokens: Ints, scored: tuple[Ints, Ints, Ints]) -> Answers:
        """Forward a batch of sequences, each from a copy of the state on top; what they leave is
        forgotten.
        """
        which, rows, targets = scored
        inputs: dict[str, Any] = {
            "input_ids": self._tensor(tokens),
            "use_cache": self._states[-1] is not None,
        }
        with self._guarded():
            if self._states[-1] is not None:
                inputs[self._cache_name] = copy.deepcopy(self._states[-1])
                inputs[self._cache_name].reorder_cache(
                    self._torch.zeros(len(tokens), dtype=self._torch.long, device=self._device)
                )
            return self._score_rows(inputs, which * tokens.shape[1] + rows, targets)[0]

    def forward_plain(self, tokens: Ints, scored: tuple[Ints, Ints]) -> Answers:
        """Forward one whole sequence by itself, without cache, mask or positions of our own."""
        with self._guarded():
            return self._score_rows(
                {"input_ids": self._tensor(tokens)[None], "use_cache": False}, *scored
            )[0]

    def _score_rows(
        self, inputs: Mapping[str, Any], rows: Ints, targets: Ints
    ) -> tuple[Answers, Any]:
        """Forward the body; return the scores of the targets at these rows of the flattened batch,
        and the body's outputs.
        """
        if len(rows) == 0:  # nothing is predicted here: spare the head
            return RowScores(np.zeros(0), np.zeros(0, dtype=bool)), self.network.base_model(
                **inputs
            )
        needed, place = np.unique(rows, return_inverse=True)
        hidden, head, outputs = self.hidden(inputs, needed)
        return self._gather(hidden, head, place, targets), outputs

    def _logits(self, inputs: Mapping[str, Any], rows: Ints) -> tuple[Logits, Any]:
        """Forward the body; return the logits at these rows of the flattened batch, which ascend,
        and the body's outputs.
        """
        if len(rows) == 0:
            return np.zeros((0, self.vocabulary), dtype=np.float32), self.network.base_model(
                **inputs
            )
        hidden, head, outputs = self.hidden(inputs, rows)
        return head(hidden).float().cpu().numpy(), outputs

    def hidden(self, inputs: Mapping[str, Any], needed: Ints) -> tuple[Any, Any, Any]:
        """Forward the body; return what it has at these rows, (needed row, hidden size), the head
        that makes logits of it, and the outputs.
        """
        torch = self._torch
        if self._head is not None:
            outputs = self.network.base_model(**inputs)
            return (
                outputs.last_hidden_state.flatten(0, 1)[self._tensor(needed)],
                self._head,
                outputs,
            )
        keep = torch.zeros(inputs["input_ids"].shape, dtype=torch.bool, device=self._device)
        keep.view(-1)[self._tensor(needed)] = True
        # a boolean mask means rows; integers would mean positions
        outputs = self.network(**inputs, logits_to_keep=keep)
        logits = outputs.logits.reshape(-1, outputs.logits.shape[-1])
        # some architectures ignore logits_to_keep
        logits = logits if len(logits) == len(needed) else logits[keep.view(-1)]
        return logits, torch.nn.Identity(), outputs

    def _gather(self, hidden: Any, head: Any, place: Ints, targets: Ints) -> Answers:
        """Return the scores of targets at places of `hidden`, (needed row, hidden size or
        vocabulary), in chunks of rows.
        """
        size = HEAD_BYTES if self._device.type == "cpu" else CUDA_HEAD_BYTES
        step = max(1, size // (4 * self.vocabulary))
        return score_rows(hidden, head, place, targets, step, self._tensor)

    def _plain_head(self) -> Any:
        """Return the vocabulary head if it alone makes the model's logits, bit for bit, so that its
        rows can be taken in chunks; else None.

        Architectures that scale or cap their logits afterwards keep their own head, on the needed
        rows of a pass at once.
        """
        tokens = self._tensor(np.arange(8) % self.vocabulary)[None]
        head = self.network.get_output_embeddings()
        if head is None:
            return None
        try:
            with self._guarded():
                own = self.network(input_ids=tokens, use_cache=False).logits
                body = self.network.base_model(input_ids=tokens, use_cache=False)
                alone = head(body.last_hidden_state)
        except OutOfMemoryError:
            raise
        except REFUSALS:  # some bodies are not called alone
            return None
        return head if own.shape == alone.shape and self._torch.equal(own, alone) else None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Compute without gradients, and say in one way that there is no memory."""
        try:
            with self._torch.inference_mode():
                yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(
                error, (self._torch.OutOfMemoryError, MemoryError)
            ) or "can't allocate memory" in str(error):
                raise OutOfMemoryError(str(error).splitlines()[0][:200]) from None
            raise

    def _masks(self, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_] | Ints) -> Any:
        """Return the 4-D mask in the form that the architecture takes."""
        columns = np.concatenate([past_depth, depth])
        return self._form.masks(columns, len(depth), visible, self._tensor, self.block_masks)

    def _attend_in_blocks(self, *, compiled: bool) -> None:
        """Let the network attend by FlexAttention where it is given a block mask."""
        from transformers import AttentionInterface
        from transformers.integrations.sdpa_attention import sdpa_attention_forward
        from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

        attend = block_attention(sdpa_attention_forward, compiled=compiled)
        AttentionInterface.register("evoprompt_tree", attend)
        AttentionMaskInterface.register("evoprompt_tree", sdpa_mask)
        self.network.set_attn_implementation("evoprompt_tree")

    def _tensor(self, array: NDArray[Any]) -> Any:
        tensor = self._torch.from_numpy(np.ascontiguousarray(array))
        if self._device.type != "cuda":
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)  # else it would wait
