"""The examples for clusters: KubeRay's manifest has what a RayJob needs, and the batch script of
Slurm starts what it should, with stand-ins for Slurm and Ray.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from evoprompt.cli import app

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def check_command(words: list[str]) -> None:
    """Hold a command to being one of the program's, with options that it has."""
    assert words[0] == "evoprompt"
    command = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    known = {option for p in command.params for option in p.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert CliRunner().invoke(app, [words[1], "--help"]).exit_code == 0


def test_the_manifest_of_kuberay_is_a_job_on_workers_with_the_same_image_and_folder():
    job = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    check_command(shlex.split(spec["entrypoint"]))
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    containers = [pod["containers"][0] for pod in pods]
    for shared in ("image", "env", "volumeMounts"):
        assert all(c[shared] == containers[0][shared] for c in containers)
    for pod, container in zip(pods, containers, strict=True):
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= names
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["groupName"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_the_script_of_slurm_begins_a_run_or_goes_on_with_it(tmp_path: Path, is_begun: bool):
    stand_ins = {"scontrol": 'printf "n1\\nn2\\n"', "srun": 'printf "%s\\n" "$RAY_AUTH_TOKEN" "$@"'}
    for name, does in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    if is_begun:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.yaml").touch()
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "CONFIG": "mine.yaml",
        "RUN": str(tmp_path / "run"),
    }
    done = subprocess.run(
        ["bash", str(EXAMPLES / "slurm.sh")],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    token, *words = done.stdout.split("\n")[:-1]
    assert len(token) == 64
    at = words.index("--")
    start = "ray symmetric-run --address n1:6379 --min-nodes 2 --num-gpus 4"
    assert words[:at] == start.split()
    check_command(words[at + 1 :])
    expected = ["resume", str(tmp_path / "run")] if is_begun else ["run", "mine.yaml"]
    assert words[at + 2 : at + 4] == expected
