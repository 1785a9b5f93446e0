"""MLflow, by its client: every call names its run, nothing relies on an active one."""

from __future__ import annotations

import getpass
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from evoprompt.errors import UserError, clip
from evoprompt.masking import without_secrets
from evoprompt.tracking.base import KIND, Dataset, StoreDownError
from evoprompt.tracking.courier import CONTACT_SECONDS, KEY
from evoprompt.tracking.dashboards import DASHBOARDS, Dashboard
from evoprompt.tracking.names import store_key, store_value
from evoprompt.tracking.prompts import RegisteredPrompt
from evoprompt.tracking.registry import register
from evoprompt.tracking.stores import ARTIFACTS, SQLITE, candidates, database_file, explained, probe
from evoprompt.tracking.views import missing_views

logger = logging.getLogger(__name__)

#: Metrics and parameters that MLflow takes in one call.
MAX_METRICS, MAX_PARAMETERS = 1000, 100
#: Seconds for a new SQLite store to be made, which takes a few on a busy machine.
NEW_STORE_SECONDS = 60.0
#: Loggers of which nothing is heard: what goes wrong is raised.
SILENCED = ("alembic", "mlflow", "urllib3")
#: MLflow's own patience is minutes for each call; here who calls tries again.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


class MlflowTracker:
    """One MLflow run. Implements `base.Tracker`.

    Args:
        runs: the folder of the runs, where the store is if no other is set.
        experiment: its name.
        parent: the id of the MLflow run that this one is shown under.
        dashboards: that the experiment has.
    """

    def __init__(
        self,
        runs: Path,
        experiment: str,
        parent: str | None = None,
        dashboards: tuple[Dashboard, ...] = DASHBOARDS,
    ) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._parent = {"mlflow.parentRunId": parent} if parent else {}
        self._runs = runs
        self._experiment = experiment
        self._dashboards = dashboards
        self._stores = candidates(runs, None)
        self._no_store: StoreDownError | None = None
        self._uri = self._stores[0]
        self._run_id: str | None = None
        self._client: Any = None
        # seconds of imports, while the model is loaded
        Thread(target=import_module, args=["mlflow"], daemon=True).start()

    @property
    def patience(self) -> float:
        """Seconds that a run waits for the first answer."""
        return NEW_STORE_SECONDS if self._uri.startswith(SQLITE) else CONTACT_SECONDS

    def settle(self, known: Mapping[str, Any]) -> dict[str, str]:
        """Find where the run may be, given what is kept of an earlier part of it; return its
        store, without secrets.
        """
        address = known.get("tracking_uri")
        try:
            self._stores = candidates(self._runs, address)
            self._uri = self._stores[0]
        except StoreDownError as error:
            self._no_store = error
            return {"tracking_uri": str(address)}
        return {"tracking_uri": without_secrets(self._uri)}

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        """Open the run; return its ids. The same call again finds the run that the first made.

        Raises:
            StoreDownError: the store does not answer.
            UserError: the store cannot be used.
        """
        if self._no_store is not None:
            raise self._no_store
        with self._telling():
            client = self._connect(self._uri)
            experiment_id = self._experiment_id(client)
            keep_views(client, experiment_id, self._dashboards)
            own = {
                "mlflow.user": _user(),
                "mlflow.source.name": "evoprompt",
                "mlflow.source.type": "LOCAL",
                **self._parent,
                **tags,
            }
            texts = {store_key(k): store_value(without_secrets(str(v))) for k, v in own.items()}
            run_id = _made_before(client, experiment_id, tags.get(KEY))
            if run_id is None:
                run = client.create_run(experiment_id, run_name=name, tags=texts)
                run_id = run.info.run_id
            _log_inputs(client, run_id, parameters, datasets)
            self._client, self._run_id = client, run_id
        return {
            "tracking_uri": without_secrets(self._uri),
            "experiment_id": experiment_id,
            "run_id": run_id,
        }

    def resume(self, identity: Mapping[str, str]) -> None:
        """Open a run again that began earlier, in the first of the stores that has it.

        Raises:
            StoreDownError: a store where it may be does not answer.
            UserError: no store has it, or it is deleted there.
        """
        if self._no_store is not None:
            raise self._no_store
        reasons: list[Exception] = []
        for uri in self._stores:
            try:
                self._reopen(uri, identity["run_id"])
            except (StoreDownError, UserError) as error:
                reasons.append(error)
            else:
                return
        raise next((r for r in reasons if isinstance(r, StoreDownError)), reasons[-1])

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Record metrics; the same again changes nothing. Values that are not finite are left out:
        a chart with them shows nothing else.
        """
        from mlflow import entities

        finite = {store_key(k): float(v) for k, v in metrics.items() if math.isfinite(v)}
        rows = [entities.Metric(k, v, timestamp_ms, step) for k, v in finite.items()]
        with self._telling():
            for part in batched(rows, MAX_METRICS):
                self._client.log_batch(self._run_id, metrics=part)

    def describe(self, text: str) -> None:
        """Set the description that the UI shows on top of the run, in Markdown."""
        with self._telling():
            self._client.set_tag(self._run_id, "mlflow.note.content", store_value(text))

    def attach(self, files: Sequence[Path]) -> None:
        """Keep files as artifacts."""
        with self._telling():
            self._check_artifacts()
            for file in files:
                self._client.log_artifact(self._run_id, str(file))

    def write(self, path: str, text: str) -> None:
        """Keep a text as an artifact."""
        with self._telling():
            self._check_artifacts()
            self._client.log_text(self._run_id, text, path)

    def tabulate(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Keep a table as an artifact that the UI shows as one; one that is there stays, since
        MLflow would put its rows below.
        """
        with self._telling():
            self._check_artifacts()
            if path not in {found.path for found in self._client.list_artifacts(self._run_id)}:
                self._client.log_table(self._run_id, dict(columns), path)

    def register(self, prompt: RegisteredPrompt) -> None:
        """Make a prompt a version in the registry, linked to the run; the same again adds none."""
        with self._telling():
            register(self._client, self._run_id, prompt)

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Close the run, with artifacts."""
        with self._telling():
            try:
                if folder is not None or champion is not None:
                    self._check_artifacts()
                if champion is not None:
                    self._client.log_text(self._run_id, champion, "champion.txt")
                # file by file: MLflow's own way for folders has threads that an exit waits for
                for file in sorted(folder.rglob("*") if folder is not None else ()):
                    if file.is_file() and not file.name.startswith("."):
                        under = Path("run", file.relative_to(folder or file).parent).as_posix()
                        self._client.log_artifact(self._run_id, str(file), under)
            finally:
                self._client.set_terminated(self._run_id, status=status)

    def location(self) -> str:
        """Return the store and the run's id."""
        place = without_secrets(self._uri)
        return f"{place}, run {self._run_id}" if self._run_id else f"{place}, not told yet"

    @contextmanager
    def _telling(self) -> Iterator[None]:
        with explained(self._uri):
            yield

    def _connect(self, uri: str, *, may_be_new: bool = True) -> Any:
        probe(uri, may_be_new=may_be_new)
        import mlflow
        from filelock import FileLock

        for name in SILENCED:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not uri.startswith(SQLITE):
            return mlflow.MlflowClient(tracking_uri=uri)
        file = database_file(uri)
        # two processes that create one database at once break it
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=NEW_STORE_SECONDS):
            return mlflow.MlflowClient(tracking_uri=uri)

    def _experiment_id(self, client: Any) -> str:
        """Return the id of the experiment, which is made where there is none."""
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            local = (self._runs.resolve() / ARTIFACTS).as_uri()
            # the tag makes the experiment's own pages those of runs, not of traces
            try:
                made: str = client.create_experiment(
                    self._experiment,
                    artifact_location=local if self._uri.startswith("sqlite") else None,
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                    raise
                made = client.get_experiment_by_name(self._experiment).experiment_id
            return made
        if found.lifecycle_stage == "deleted":
            raise UserError(
                f"the experiment '{self._experiment}' is deleted in the MLflow store "
                f"{without_secrets(self._uri)}; restore it (mlflow experiments restore "
                f"--experiment-id {found.experiment_id}), or set tracking.experiment"
            )
        experiment_id: str = found.experiment_id
        return experiment_id

    def _reopen(self, uri: str, run_id: str) -> None:
        with explained(uri):
            client = self._connect(uri, may_be_new=False)
            try:
                run = client.get_run(run_id)
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise UserError(
                    f"the MLflow store {without_secrets(uri)} has no run {run_id}; it was deleted "
                    f"for good, or is in another store (set MLFLOW_TRACKING_URI). Without "
                    f"tracking.json in its folder it is told as a new run"
                ) from None
            if run.info.lifecycle_stage == "deleted":
                raise UserError(
                    f"the run {run_id} is deleted in the MLflow store {without_secrets(uri)}; "
                    f"restore it: mlflow runs restore --run-id {run_id}"
                )
            client.update_run(run_id, status="RUNNING")
            for name, value in self._parent.items():
                client.set_tag(run_id, name, value)
        self._client, self._run_id, self._uri = client, run_id, uri

    def _check_artifacts(self) -> None:
        """Refuse to make a folder of artifacts where the runs are no more."""
        place = urlsplit(self._client.get_run(self._run_id).info.artifact_uri)
        if place.scheme in ("", "file"):
            artifacts = Path(unquote(place.path)).parent.parent
            root = artifacts.parent
            if artifacts.name == ARTIFACTS and not root.exists():
                raise UserError(
                    f"MLflow keeps the artifacts of this run below {root}, which is no more; they "
                    f"are in the run folder"
                )


def open_mlflow(runs: Path, experiment: str, parent: str | None) -> MlflowTracker:
    """Return a tracker of one run in the store of these runs."""
    return MlflowTracker(runs, experiment, parent)


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The run of this package that was begun last."""

    experiment_id: str
    kind: str  #: as the tag `KIND` has it; that of a sweep for a run of one


def latest_run(uri: str) -> LatestRun | None:
    """Return the run, loop or sweep that was begun last in a store, or None; all experiments with
    such runs have the dashboards from then on.

    Raises:
        UserError: the store cannot be used.
        StoreDownError: it does not answer.
    """
    probe(uri, may_be_new=False)
    with explained(uri):
        import mlflow

        logging.getLogger("alembic").setLevel(logging.CRITICAL)
        client = mlflow.MlflowClient(tracking_uri=uri)
        latest: list[Any] = []
        for experiment in client.search_experiments():
            ours = f"tags.`{KIND}` != 'comparison'"
            found = client.search_runs([experiment.experiment_id], ours, max_results=1)
            if found:
                keep_views(client, experiment.experiment_id, DASHBOARDS)
                latest += found
    if not latest:
        return None
    run = max(latest, key=lambda found: found.info.start_time)
    kind = "sweep" if "mlflow.parentRunId" in run.data.tags else run.data.tags[KIND]
    return LatestRun(run.info.experiment_id, kind)


def keep_views(client: Any, experiment_id: str, dashboards: tuple[Dashboard, ...]) -> None:
    """Have these dashboards in an experiment, as they are now; where the store does not take them,
    that is said, and its runs have charts of MLflow's own.
    """
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_experiment(experiment_id).tags
        for key, value in missing_views(dashboards, tags, int(time.time() * 1000)).items():
            client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:
        reason = without_secrets(str(error)).partition("\n")[0]
        logger.warning("MLflow has no dashboards in experiment %s: %s", experiment_id, reason)


def batched(rows: list[Any], size: int) -> list[list[Any]]:
    """Return a list in parts of at most this size."""
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def _user() -> str:
    """Return who runs this; the number where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def _made_before(client: Any, experiment_id: str, key: str | None) -> str | None:
    """Return the id of the run that an earlier call made, whose answer was lost."""
    if key is None:
        return None
    found = client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)
    return found[0].info.run_id if found else None


def _log_inputs(
    client: Any, run_id: str, parameters: Mapping[str, Any], datasets: Sequence[Dataset]
) -> None:
    from mlflow import entities

    rows = [
        entities.Param(store_key(k), store_value(without_secrets(str(v))))
        for k, v in parameters.items()
    ]
    for part in batched(rows, MAX_PARAMETERS):
        client.log_batch(run_id, params=part)
    inputs = [
        entities.DatasetInput(
            entities.Dataset(
                clip(d.name),
                d.digest,
                "local",
                without_secrets(d.source),
                profile=f'{{"num_examples": {d.num_examples}}}',
            ),
            [entities.InputTag("mlflow.data.context", d.context)],
        )
        for d in datasets
    ]
    client.log_inputs(run_id, datasets=inputs)
