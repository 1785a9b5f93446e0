"""MLflow, by its client: every call names its run, nothing relies on an active one.

All calls go through one thread in order, so the search does not wait for the store and a slow
import of mlflow is hidden behind the loading of the model. Telling goes wrong without harm to the
search: the run folder has everything, and the trouble is reported at the end.
"""

from __future__ import annotations

import getpass
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError, clip
from evoprompt.tracking.base import Dataset
from evoprompt.tracking.names import store_key, store_value

logger = logging.getLogger(__name__)

#: Metrics and parameters that MLflow takes in one call.
MAX_METRICS, MAX_PARAMETERS = 1000, 100


def default_uri(runs: Path) -> str:
    """Return the store to use: MLFLOW_TRACKING_URI where it is set, else SQLite in the folder of
    the runs.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve() / 'mlflow.db'}"


class MlflowTracker:
    """One MLflow run. Implements `base.Tracker`.

    Args:
        runs: the folder of the runs, where the store is if no other is set.
        experiment: its name.
        parent: the id of the MLflow run that this one is shown under.
    """

    def __init__(self, runs: Path, experiment: str, parent: str | None = None) -> None:
        self._parent = {"mlflow.parentRunId": parent} if parent else {}
        self._runs = runs
        self._uri = default_uri(runs)
        self._experiment = experiment
        self._run_id: str | None = None
        self._problem: Exception | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._client: Future[Any] = self._thread.submit(self._connect)

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        """Open the run; return its ids.

        Raises:
            UserError: the store cannot be reached.
        """
        identity: dict[str, str] = self._now(
            lambda client: self._begin(client, name, parameters, tags, datasets)
        )
        return identity

    def resume(self, identity: Mapping[str, str]) -> None:
        """Open a run again that did not end; it must be in the same store.

        Raises:
            UserError: the store cannot be reached or does not know the run.
        """
        self._run_id = identity["run_id"]
        self._now(lambda client: client.update_run(self._run_id, status="RUNNING"))

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Record metrics. Values that are not finite are left out: a chart with them shows nothing
        else.
        """
        from_caller = {store_key(k): float(v) for k, v in metrics.items() if math.isfinite(v)}
        self._later(lambda client: self._log(client, from_caller, step, timestamp_ms))

    def describe(self, text: str) -> None:
        """Set the description that the UI shows on top of the run, in Markdown."""
        self._later(
            lambda client: client.set_tag(self._run_id, "mlflow.note.content", store_value(text))
        )

    def attach(self, files: Sequence[Path]) -> None:
        """Keep files as artifacts."""
        self._later(lambda client: [client.log_artifact(self._run_id, str(file)) for file in files])

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Close the run, with artifacts; waits until all is told. Trouble is logged, not raised:
        the run itself is done.
        """
        if self._run_id is None:
            self._thread.shutdown(wait=True)
            return
        if champion is not None:
            self._later(lambda client: client.log_text(self._run_id, champion, "champion.txt"))
        if folder is not None:
            self._later(lambda client: client.log_artifacts(self._run_id, str(folder), "run"))
        self._later(lambda client: client.set_terminated(self._run_id, status=status))
        self._thread.shutdown(wait=True)
        if self._problem is not None:
            logger.warning(
                "MLflow was not told everything (%s: %s); the run folder is complete",
                type(self._problem).__name__,
                self._problem,
            )

    def location(self) -> str:
        """Return the store and the run's id."""
        return f"{self._uri}, run {self._run_id}"

    def _connect(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # MLflow's own seven take minutes to say that nobody answers
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        import mlflow
        from filelock import FileLock

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._runs.mkdir(parents=True, exist_ok=True)
        with FileLock(
            self._runs / ".mlflow.lock"
        ):  # two processes that create one database at once break it
            client = mlflow.MlflowClient(tracking_uri=self._uri)
            if client.get_experiment_by_name(self._experiment) is None:
                local = (
                    (self._runs.resolve() / "mlartifacts").as_uri()
                    if self._uri.startswith("sqlite")
                    else None
                )
                # The tag makes the UI open on the runs and their charts rather than on its pages
                # for traces.
                client.create_experiment(
                    self._experiment,
                    artifact_location=local,
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
        return client

    def _begin(
        self,
        client: Any,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        from mlflow import entities

        experiment = client.get_experiment_by_name(self._experiment)
        own = {
            "mlflow.user": getpass.getuser(),
            "mlflow.source.name": "evoprompt",
            "mlflow.source.type": "LOCAL",
            **self._parent,
            **tags,
        }
        run = client.create_run(
            experiment.experiment_id,
            run_name=name,
            tags={store_key(k): store_value(v) for k, v in own.items()},
        )
        self._run_id = run.info.run_id
        rows = [entities.Param(store_key(k), store_value(v)) for k, v in parameters.items()]
        for part in batched(rows, MAX_PARAMETERS):
            client.log_batch(self._run_id, params=part)
        inputs = [
            entities.DatasetInput(
                entities.Dataset(
                    clip(d.name),
                    d.digest,
                    "local",
                    d.source,
                    profile=f'{{"num_examples": {d.num_examples}}}',
                ),
                [entities.InputTag("mlflow.data.context", d.context)],
            )
            for d in datasets
        ]
        client.log_inputs(self._run_id, datasets=inputs)
        return {
            "tracking_uri": self._uri,
            "experiment_id": experiment.experiment_id,
            "run_id": self._run_id,
        }

    def _log(self, client: Any, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        from mlflow import entities

        rows = [entities.Metric(k, v, timestamp_ms, step) for k, v in metrics.items()]
        for part in batched(rows, MAX_METRICS):
            client.log_batch(self._run_id, metrics=part)

    def _now(self, call: Callable[[Any], Any]) -> Any:
        import sqlite3

        try:
            return self._thread.submit(lambda: call(self._client.result())).result()
        except Exception as error:
            # Whatever the store's client raises, the user's store is at fault and the search has
            # not begun.
            if isinstance(error, (sqlite3.Error, OSError)) or type(error).__module__.startswith(
                ("mlflow", "sqlalchemy", "requests", "urllib3")
            ):
                self._thread.shutdown(wait=False, cancel_futures=True)
                reason = str(error).splitlines()[0][:200]
                raise UserError(
                    f"the MLflow store {self._uri} does not answer ({reason}); mend "
                    f"MLFLOW_TRACKING_URI or set tracking.enabled=false"
                ) from None
            raise

    def _later(self, call: Callable[[Any], Any]) -> None:
        def guarded() -> None:
            try:
                call(self._client.result())
            except Exception as error:  # noqa: BLE001 (kept, and reported by `finish`)
                self._problem = self._problem or error

        self._thread.submit(guarded)


def open_mlflow(runs: Path, experiment: str, parent: str | None) -> MlflowTracker:
    """Return a tracker of one run in the store of these runs."""
    return MlflowTracker(runs, experiment, parent)


def batched(rows: list[Any], size: int) -> list[list[Any]]:
    """Return a list in parts of at most this size."""
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def serve(runs: Path, host: str, port: int) -> int:
    """Run the MLflow UI on the store of these runs until it is interrupted; return its exit
    status.
    """
    import subprocess
    import sys

    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        default_uri(runs),
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
        (runs.resolve() / "mlartifacts").as_uri(),
    ]
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(timeout=10)
        return 0
