"""Tree masks on a device: dense ones, and block masks for FlexAttention, both from the ends of
subtrees alone.

Row i of a pass is column p + i after p kept rows; it attends to column k iff k <= p + i < ends[k]
(`trie.column_ends`), on sliding layers only if it is less than a window deeper, too. A dense mask
costs rows times columns; a block mask is a list of the 128 x 128 blocks in which anything is seen,
which for a tree is a few for each row of blocks. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.scoring.language_model import Ints

#: Rows and columns of a block. FlexAttention's own.
BLOCK = 128
#: Passes of no more rows than this are under a dense mask.
LEAST_BLOCK_ROWS = 2 * BLOCK
#: FlexAttention is compiled once for each kind of mask, with past rows and without. Beyond this
#: many compilations of a function in a process torch would compute it densely, without a word.
COMPILATIONS = 64


@dataclass(frozen=True, slots=True)
class MaskForm:
    """The form in which an architecture takes its masks."""

    window: int | None  #: of sliding layers
    by_type: bool  #: a mask for each type of layer, by its name
    #: the number type of a mask that is added to the scores; None where booleans are taken
    added: Any

    def masks(
        self,
        depth: Ints,
        num_rows: int,
        visible: NDArray[np.bool_] | Ints,
        to_device: Callable[[Any], Any],
        in_blocks: bool,
    ) -> Any:
        """Return one mask, or one for each type of layer.

        Args:
            depth: of each column, (column,).
            num_rows: of the pass; they are the last columns.
            visible: what each row sees, (row, column), or the ends of the columns, (column,), from
                which the device makes it.
            to_device: makes a tensor there.
            in_blocks: block masks for passes long enough to gain by them.
        """
        if visible.ndim == 2:
            seen = visible.astype(bool, copy=False)
            return self._fill(lambda window: to_device(near_mask(seen, depth, window))[None, None])
        make = block_mask if in_blocks and num_rows > LEAST_BLOCK_ROWS else dense_mask
        ends, deep = to_device(visible), to_device(depth)
        return self._fill(lambda window: make(ends, deep, num_rows, window))

    def _fill(self, make: Callable[[int | None], Any]) -> Any:
        near = self._additive(make(self.window))
        if not self.by_type:
            return near
        full = self._additive(make(None)) if self.window else near
        return {"full_attention": full, "sliding_attention": near}

    def _additive(self, mask: Any) -> Any:
        if self.added is None:
            return mask
        import torch

        # Eager attention adds its mask: a boolean one would silently be added as 1.0.
        zeros = torch.zeros(mask.shape, dtype=self.added, device=mask.device)
        return zeros.masked_fill_(~mask, torch.finfo(self.added).min)


def near_mask(visible: NDArray[np.bool_], depth: Ints, window: int | None) -> Any:
    """Return what of `visible`, (row, column), lies within a window; `depth` is of the columns."""
    if not window:
        return visible
    return visible & (depth[-len(visible) :, None] - depth < window)


def dense_mask(ends: Any, depth: Any, num_rows: int, window: int | None) -> Any:
    """Return what each row sees, booleans (1, 1, row, column).

    Args:
        ends: integers on the device, (column,).
        depth: of each column, integers on the device, (column,).
        num_rows: of the pass; they are the last columns.
        window: of sliding layers.
    """
    import torch

    columns = torch.arange(len(ends), device=ends.device)
    rows = columns[len(ends) - num_rows :, None]
    seen = (columns <= rows) & (rows < ends)
    if window:
        seen &= depth[len(ends) - num_rows :, None] - depth < window
    return seen[None, None]


def block_mask(ends: Any, depth: Any, num_rows: int, window: int | None) -> Any:
    """Return the same mask as a `BlockMask`, made on the device without waiting for it; arguments
    as above.
    """
    import torch
    from torch.nn.attention.flex_attention import BlockMask

    num_columns, past = len(ends), len(ends) - num_rows
    key_start, key_ends = _blocks(num_columns, ends, 0)
    first, row_depth = _blocks(num_rows, depth[past:], None)
    first = first[:, None] + past  # of each block of rows, in columns
    beyond = (first + BLOCK).clamp(max=num_columns)
    # A block is looked into if it may hold a pair that is seen, and taken whole if all its pairs
    # are.
    seen = (key_start < beyond) & (key_ends.amax(1) > first)
    full = (key_start + BLOCK - 1 <= first) & (key_ends.amin(1) >= beyond)
    offset = torch.arange(num_columns, device=ends.device) - past
    limit, own = ends - past, depth[past:]

    def sees(_batch: Any, _head: Any, row: Any, column: Any) -> Any:
        return (offset[column] <= row) & (row < limit[column])

    def sees_near(_batch: Any, _head: Any, row: Any, column: Any) -> Any:
        near = own[row] - depth[column] < window
        return (offset[column] <= row) & (row < limit[column]) & near

    if window:
        _, key_depth = _blocks(num_columns, depth, None)
        seen &= row_depth.amin(1)[:, None] - key_depth.amax(1) < window
        full &= row_depth.amax(1)[:, None] - key_depth.amin(1) < window
    return BlockMask.from_kv_blocks(
        *_listed(seen & ~full),
        *_listed(full & seen),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees_near if window else sees,
        seq_lengths=(num_rows, num_columns),
    )


def _blocks(length: int, values: Any, padding: int | None) -> tuple[Any, Any]:
    """Return where each block of a length begins, (block,), and its values, (block, 128).

    The last block is filled up with `padding`, or with the last value.
    """
    import torch

    number = -(-length // BLOCK)
    start = torch.arange(number, device=values.device) * BLOCK
    missing = number * BLOCK - length
    filling = (
        values[-1:].expand(missing) if padding is None else values.new_full((missing,), padding)
    )
    return start, torch.cat([values, filling]).view(number, BLOCK)


def _listed(chosen: Any) -> tuple[Any, Any]:
    """Return how many blocks of each row are chosen, (1, 1, row), and which, these first, (1, 1,
    row, block).
    """
    import torch

    order = torch.argsort(chosen.to(torch.int8), dim=1, descending=True, stable=True)
    return chosen.sum(1, dtype=torch.int32)[None, None], order.to(torch.int32)[None, None]


def block_attention(plain: Callable[..., Any], *, compiled: bool) -> Callable[..., Any]:
    """Return an attention function of transformers: FlexAttention under a block mask, else the
    plain one.

    Lengths are dynamic: a compilation, in a first call, serves passes of all lengths. Uncompiled,
    FlexAttention is a slow dense computation, good for tests.
    """
    import torch
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    run = flex_attention
    if compiled:
        torch._dynamo.config.recompile_limit = max(
            COMPILATIONS, torch._dynamo.config.recompile_limit
        )
        run = torch.compile(flex_attention, dynamic=True)

    def attend(
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        scaling: float | None = None,
        **others: Any,
    ) -> tuple[Any, None]:
        if not isinstance(attention_mask, BlockMask):
            return plain(module, query, key, value, attention_mask, scaling=scaling, **others)  # type: ignore[no-any-return]
        if any(others.get(name) is not None for name in ("softcap", "s_aux", "position_bias")):
            raise NotImplementedError("block masks know neither capped scores nor sinks nor biases")
        grouped = query.shape[1] != key.shape[1]
        out = run(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=grouped)
        return out.transpose(1, 2).contiguous(), None

    return attend
