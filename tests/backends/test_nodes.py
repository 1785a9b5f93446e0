"""A run on a Ray cluster of several nodes, each with processes of its own, while nodes are lost and
join; and nodes that have other weights than the job.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

import pytest
from toys.ray_nodes import RayNodes

from evoprompt.backends.local import folder_identity
from evoprompt.backends.worker import Worker
from evoprompt.config.sections import ModelConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.evolve.session import start

#: Ray's own, made quick to see that a node is gone.
SYSTEM = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
}
KEYS = ("evolution.children=12", "evolution.generations=10", "evolution.scheme=plus")


def num_generations(run: Path) -> int:
    lines = run / "generations.jsonl"
    return lines.read_bytes().count(b"\n") if lines.exists() else 0


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_goes_on_where_a_node_is_lost_in_mid_generation_and_another_joins(
    config_file: Path, tmp_path: Path
):
    start(load_config(config_file, KEYS), tmp_path / "alone")
    keys = [part for key in KEYS for part in ("--set", key)]
    keys += ["--set", "workers.backend=toys.slow_fleet:SlowBackend"]
    with RayNodes(system=SYSTEM) as nodes:
        lost, _ = nodes.add(2)
        nodes.wait_for(3)
        run = subprocess.Popen(
            [
                *(sys.executable, "-m", "evoprompt.cli", "run", str(config_file)),
                *("--out", str(tmp_path / "run"), "--ray-address", nodes.address, *keys),
            ],
            env=nodes.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while num_generations(tmp_path / "run") < 2 and run.poll() is None:
            time.sleep(0.02)
        time.sleep(0.2)
        lost.kill()
        nodes.add()
        said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert "3 Ray workers" in said
    assert "a scoring worker" in said  # is gone with its machine, or died
    assert (tmp_path / "run" / LINEAGE).read_bytes() == (tmp_path / "alone" / LINEAGE).read_bytes()
    tests = [
        json.loads((tmp_path / name / "summary.json").read_text())["test"]
        for name in ("run", "alone")
    ]
    assert tests[0] == tests[1]


def test_a_node_with_other_weights_under_the_same_name_is_refused(tiny_model: Path, tmp_path: Path):
    model = ModelConfig(name=str(copytree(tiny_model, tmp_path / "model")))
    fingerprint = folder_identity(model).fingerprint
    assert Worker(model, 1, fingerprint).info().window == 256
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"is another one on .* give a folder that all machines"):
        Worker(model, 1, fingerprint)
