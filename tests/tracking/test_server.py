"""A real MLflow server that dies in the middle of a run, and what it is told when it is back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toys.stores import free_port

from evoprompt.commands import show_sync
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import conduct, resume
from evoprompt.tracking.server import serve

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@contextmanager
def server(database: Path, address: str) -> Iterator[subprocess.Popen]:
    """MLflow's server on a database, until the block ends; with all its children."""
    port = address.rpartition(":")[2]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{database}"),
            *("--default-artifact-root", (database.parent / "artifacts").as_uri()),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_server_that_dies_costs_the_run_nothing_and_is_told_all_when_it_is_back(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys
):
    from mlflow import MlflowClient

    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    config = load_config(config_file, ["tracking.enabled=true"])
    with server(tmp_path / "m.db", address) as process:

        def kill(line: dict) -> None:
            if line["generation"] == 2:
                time.sleep(1)  # what was committed has arrived, or has not
                end(process)

        conduct(config, tmp_path / "run", on_generation=kill, show=False)
    assert f"evoprompt sync {tmp_path / 'run'}" in caplog.text
    # a second run, which a kill ends and which goes on when the server is back
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    (tmp_path / "killed" / "summary.json").unlink()
    (tmp_path / "killed" / "tracking.json").unlink()
    with server(tmp_path / "m.db", address):
        assert show_sync(tmp_path / "run") == 0
        resume(tmp_path / "killed")
        client = MlflowClient(address)
        for name in ("run", "killed"):
            known = json.loads((tmp_path / name / "tracking.json").read_text())
            history = client.get_metric_history(known["run_id"], "fitness/best")
            assert sorted(m.step for m in history) == [0, 1, 2, 3, 4]
            assert client.get_run(known["run_id"]).info.status == "FINISHED"
            assert "mlflow.note.content" in client.get_run(known["run_id"]).data.tags
            kept = {Path(a.path).name for a in client.list_artifacts(known["run_id"], "run")}
            assert {"lineage.jsonl", "summary.json", "report.html"} <= kept
        with pytest.raises(
            UserError, match=f"open {address}/#/experiments/[0-9]+/runs.* in a browser"
        ):
            serve(tmp_path, "127.0.0.1", 5000)
