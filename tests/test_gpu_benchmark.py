"""The GPU benchmark runs through on a CPU with tiny shapes, and its own references agree with each
other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments" / "benchmarks"))
import gpu


def test_a_dry_run_measures_every_part_of_every_family(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    done = gpu.main(["--tiny", "--json", str(tmp_path / "gpu.json")])
    assert json.loads((tmp_path / "gpu.json").read_text()) == done
    for name in ("qwen3", "llama", "gemma3"):
        assert done[f"{name} scorer"]["how"].startswith("packed")
        assert done[f"{name} exact, nats"]["float32 packed max"] < 1e-4
        for workload in ("labels", "choices"):
            assert done[f"{name} {workload}, all at once"]["tokens_s"] > 0
            assert (
                done[f"{name} {workload}, harness"]["body_tokens"]
                > done[f"{name} {workload}, all at once"]["body_tokens"]
            )
        assert done[f"{name} writing"]["tokens"] == 16
    assert "| model, workload | seconds |" in capsys.readouterr().out


def test_padded_batches_score_as_sequences_alone_do():
    lm = gpu.load(gpu.configs(tiny=True)["llama"], "float32", "cpu")
    requests = [r for unit in gpu.TINY_WORKLOADS["choices"].requests(lm.vocabulary) for r in unit]
    np.testing.assert_allclose(
        gpu.padded(lm.network, requests, 3), gpu.plainly(lm.network, requests), atol=1e-4
    )


def test_kernels_are_told_apart_by_name():
    kinds = {
        "nvjet_sm90_tst_128x256": "products",
        "triton_tem_fused_flex_attention_0": "attention",
        "Memcpy HtoD": "copies",
        "silu_kernel": "the rest",
    }
    assert {name: gpu.kind_of(name) for name in kinds} == kinds
