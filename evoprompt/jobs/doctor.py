"""What a run needs of this machine, looked at without a run: `evoprompt doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from evoprompt.about import __version__
from evoprompt.backends.cluster import folder_for_sockets
from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.scoring.memo import describe_memo
from evoprompt.scoring.models import EMBEDDED, cache_folder, is_fetched, memo_file
from evoprompt.scoring.weights import default_threads, devices, has_bf16
from evoprompt.tracking.base import StoreDownError
from evoprompt.tracking.server import check_free
from evoprompt.tracking.stores import beside, database_file, default_uri, probe

Mark = Literal["ok", "note", "fails"]

#: Packages without which nothing runs.
PACKAGES = ("torch", "transformers", "tokenizers", "ray", "mlflow", "deap", "numpy", "pyarrow")
#: Packages that a part needs, with its key.
OPTIONAL = {"lm-eval": "task.lm_eval", "optuna": "method: bayes", "rouge-score": "rouge_l"}
#: GB that the embedded model with its conversion takes, and a run's folder many times over.
LEAST_DISK = 2.0
#: GB of memory that the embedded model takes in float32, and as much again.
LEAST_MEMORY = 2.0
#: Where `evoprompt ui` listens if nothing else is said.
UI_PORT = 5000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    mark: Mark
    text: str  #: what was found, and how to mend what fails


def examine(runs: Path) -> Iterator[Finding]:
    """Yield what was found of each thing that a run needs; `runs` is the folder of the runs."""
    yield Finding("evoprompt", "ok", f"{__version__}, Python {platform.python_version()}")
    yield from _packages()
    for what, look in (
        ("device", _device),
        ("numbers", _numbers),
        ("threads", _threads),
        ("memory", _memory),
        ("disk", _disk),
        ("model", _model),
        ("memo of scores", _memo),
        ("Ray", _ray),
    ):
        yield _looked(what, look)
    yield _looked("MLflow", lambda: _tracking(runs))
    yield _looked("port", _port)
    yield _looked("runs", lambda: _writable(runs))


def _looked(what: str, look: Callable[[], tuple[Mark, str]]) -> Finding:
    """Return what a look found; what it cannot do for the machine's reasons fails."""
    try:
        mark, text = look()
    except (OSError, RuntimeError, ValueError, ImportError, sqlite3.Error) as error:
        mark, text = "fails", str(error) or type(error).__name__
    return Finding(what, mark, text)


def _packages() -> Iterator[Finding]:
    found, missing = _versions(PACKAGES)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        lost = ", ".join(missing)
        yield Finding("packages", "fails", f"not installed: {lost}; pip install evoprompt")
    found, missing = _versions(OPTIONAL)
    absent = [f"{name} is not installed (for {OPTIONAL[name]})" for name in missing]
    yield Finding("optional packages", "ok", ", ".join([*found, *absent]))


def _versions(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the packages that are there, with their versions, and those that are not."""
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return found, missing


def _device() -> tuple[Mark, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus, arithmetic = devices()
    if gpus:
        return "ok", f"{', '.join(gpus)}; {cores} CPU cores"
    return "ok", f"CPU, {cores} cores, {arithmetic}; no GPU is seen"


def _numbers() -> tuple[Mark, str]:
    gpus, _ = devices()
    where = "GPU" if gpus else "CPU"
    if has_bf16("cuda" if gpus else "cpu"):
        return "ok", f"float32, and bf16 at full speed on the {where}"
    return "ok", f"float32; the {where} has no bf16 arithmetic, which would be emulated slowly"


def _threads() -> tuple[Mark, str]:
    given = os.environ.get("OMP_NUM_THREADS")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    text = f"{default_threads()} for the model (OMP_NUM_THREADS {given or 'is not set'})"
    text += f"; the load is {load:.1f} on {cores} cores"
    return ("note", f"{text}: others work here") if load > cores else ("ok", text)


def _port() -> tuple[Mark, str]:
    try:
        check_free("127.0.0.1", UI_PORT)
    except UserError:
        return "note", f"{UI_PORT} is in use; give evoprompt ui another: --port"
    return "ok", f"{UI_PORT} is free for evoprompt ui; Ray takes free ones on loopback"


def _memory() -> tuple[Mark, str]:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    enough = free >= LEAST_MEMORY
    text = f"{free:.1f} GB are free"
    return ("ok", text) if enough else ("note", f"{text}; the embedded model takes about 1 GB")


def _disk() -> tuple[Mark, str]:
    place = cache_folder()
    there = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    text = f"{free:.1f} GB are free at {place}"
    if free >= LEAST_DISK:
        return "ok", text
    return "note", f"{text}; a model is fetched and converted there"


def _model() -> tuple[Mark, str]:
    here = [name for name in EMBEDDED if is_fetched(name)]
    others = [f"{n} ({EMBEDDED[n].megabytes} MB)" for n in EMBEDDED if n not in here]
    if here:
        more = f"; can be fetched: {', '.join(others)}" if others else ""
        return "ok", f"fetched: {', '.join(here)}{more}"
    name = next(iter(EMBEDDED))
    return "note", f"none is fetched yet; the first run does, or: evoprompt models --fetch {name}"


def _memo() -> tuple[Mark, str]:
    return "ok", describe_memo(memo_file())


def _ray() -> tuple[Mark, str]:
    sockets = folder_for_sockets()
    where = f"; its sockets are in {sockets}" if sockets else ""
    return "ok", f"can be started (workers.backend: ray){where}"


def _tracking(runs: Path) -> tuple[Mark, str]:
    uri = default_uri(runs)
    if uri == beside(runs) and not database_file(uri).exists():
        return "ok", f"the first run makes its store in {runs}"
    try:
        probe(uri)
    except (UserError, StoreDownError) as error:
        return "fails", f"{without_secrets(str(error))}; or run with --set tracking.enabled=false"
    own = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "beside the runs"
    return "ok", f"the store can be used ({own})"


def _writable(runs: Path) -> tuple[Mark, str]:
    there = next(p for p in (runs.absolute(), *runs.absolute().parents) if p.exists())
    if os.access(there, os.W_OK):
        free = shutil.disk_usage(there).free / 1e9
        return "ok", f"{runs} can be written; {free:.1f} GB are free there"
    return "fails", f"{there} cannot be written; give another folder with --out"
