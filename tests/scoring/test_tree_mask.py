"""Masks made from the ends of subtrees: the dense ones equal `visible`, block masks equal the dense
ones, and so do scores under them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask
from toys.tiny_models import save_model

from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.probe import probe_blocks
from evoprompt.scoring.tree_mask import BLOCK, block_mask, dense_mask, near_mask
from evoprompt.scoring.trie import Pass, TokenRequest, TriePlan, column_ends, plan, visible

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def passes_with_and_without_past() -> list[tuple[TriePlan, Pass]]:
    """Passes of hundreds of rows, below a kept stem and alone."""
    rng = np.random.default_rng(0)
    root = tuple(rng.integers(0, 50, 210).tolist())
    contexts = [root + tuple(rng.integers(0, 50, 60 + i).tolist()) for i in range(8)]
    requests = [TokenRequest(context, (i, 1, 2)) for context in contexts for i in range(3)]
    return [(trie, p) for trie in (plan(requests, 400), plan(requests, 4000)) for p in trie.passes]


@pytest.mark.parametrize("window", [None, 50, 150])
def test_masks_from_ends_equal_those_from_rows(window: int | None):
    for trie, piece in passes_with_and_without_past():
        ends = column_ends(trie, piece)
        rows = piece.end - piece.start
        past = [row for start, end in piece.past for row in range(start, end)]
        depth = trie.depth[[*past, *range(piece.start, piece.end)]]
        tensors = torch.tensor(ends), torch.tensor(depth)
        expected = near_mask(visible(trie, piece), depth, window)
        assert np.array_equal(dense_mask(*tensors, rows, window)[0, 0].numpy(), expected)

        mask = block_mask(*tensors, rows, window)
        reference = create_block_mask(mask.mask_mod, None, None, rows, len(ends), device="cpu")
        assert torch.equal(mask.to_dense(), reference.to_dense())  # which blocks are computed
        assert torch.equal(
            mask.full_kv_num_blocks[..., :-1], reference.full_kv_num_blocks[..., :-1]
        )
        assert np.array_equal(seen_by(mask.mask_mod, rows, len(ends)), expected)


def seen_by(mask_mod, rows: int, columns: int) -> np.ndarray:
    pairs = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return mask_mod(0, 0, *pairs).numpy()


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "mistral with a window"])
def test_scores_under_block_masks_equal_those_under_dense_ones(name: str, tmp_path: Path):
    model = TransformersLM(save_model(tmp_path / "model", name), threads=1)
    rng = np.random.default_rng(1)
    trunk = tuple(rng.integers(3, 99, 90).tolist())
    contexts = [trunk + tuple(rng.integers(3, 99, 40).tolist()) for _ in range(12)]
    requests = [TokenRequest(c, (9, label)) for c in contexts for label in range(20, 23)]
    dense = Scorer(model, chunk_tokens=4000).score(requests)
    model.reads_ends = model.block_masks = True
    model._attend_in_blocks(compiled=False)
    scorer = Scorer(model, chunk_tokens=4000)
    assert scorer.path == "packed"
    assert "block masks: mean error" in scorer.reason
    assert model.block_masks
    for chunk_tokens in (4000, 300):  # in one pass, and with a kept stem
        scorer.chunk_tokens = chunk_tokens
        blocks = scorer.score(requests)
        np.testing.assert_allclose(blocks.log_likelihood, dense.log_likelihood, atol=1e-4)
        assert blocks.is_greedy.tolist() == dense.is_greedy.tolist()
        assert blocks.count.body_tokens == dense.count.body_tokens


@pytest.mark.parametrize("fault", ["wrong", "refused"])
def test_block_masks_that_are_not_exact_are_turned_off(fault: str, tmp_path: Path):
    model = TransformersLM(save_model(tmp_path / "model"), threads=1)
    model.reads_ends = model.block_masks = True
    if fault == "wrong":
        model._attend_in_blocks(compiled=False)
        forward = model.forward

        def blind(tokens, depth, past_depth, ends, scored, *, keep):
            ends = np.full_like(ends, len(ends)) if model.block_masks else ends  # plainly causal
            return forward(tokens, depth, past_depth, ends, scored, keep=keep)

        model.forward = blind
    scorer = Scorer(model, path="packed", chunk_tokens=4000)
    said = probe_blocks(model, scorer._log_probs, 1e-4)
    assert "block masks refused" in said
    assert not model.block_masks
    assert BLOCK == 128
