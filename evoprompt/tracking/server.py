"""MLflow's own pages on the store of the runs."""

from __future__ import annotations

import os
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.tracking.stores import ARTIFACTS, default_uri


def serve(runs: Path, host: str, port: int) -> int:
    """Run the MLflow UI on the store of these runs until it is interrupted; return its exit
    status.

    Raises:
        UserError: the store is a server, which has pages of its own.
    """
    import subprocess
    import sys

    if default_uri(runs).startswith(("http://", "https://")):
        raise UserError(
            f"MLFLOW_TRACKING_URI is a server, whose own pages show the runs: open "
            f"{without_secrets(default_uri(runs))} in a browser"
        )
    print(
        f"MLflow UI on http://{host}:{port} (ready in about ten seconds; Ctrl-C ends it)",
        flush=True,
    )
    environment = {
        **os.environ,
        # not in the command, which everybody on the machine can read: it may have a password
        "MLFLOW_BACKEND_STORE_URI": default_uri(runs),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--allowed-hosts",
        f"localhost:{port},127.0.0.1:{port}",
        "--default-artifact-root",
        (runs.resolve() / ARTIFACTS).as_uri(),
    ]
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(timeout=10)
        return 0
