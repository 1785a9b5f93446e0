"""A run with all that surrounds it: build, run, tell how it ended, give the workers back."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt import __version__
from evoprompt.backends.shared import Shared
from evoprompt.config.sections import Config
from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.evolve.build import build, check_task, open_tracker
from evoprompt.jobs.evolve.display import Display, print_result
from evoprompt.jobs.evolve.loop import Observer, run
from evoprompt.scoring.models import is_fetched, model_fingerprint, resolve_model
from evoprompt.store.folder import CHECKPOINT, CONFIG, PROVENANCE, SUMMARY, SWEEP, TRACKING, RunFolder

#: The packages whose versions a result may depend on.
RECORDED = ("deap", "mlflow", "numpy", "ray", "tokenizers", "torch", "transformers")


def start(config: Config, out: Path | None) -> dict[str, Any]:
    """Run a configuration in a new folder; return the summary.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a generation is taken away again.
    """
    check_task(config)
    folder = begin(config, out)
    with taken_away(folder):
        return _show(config, folder)


def begin(config: Config | BoostConfig, out: Path | None) -> RunFolder:
    """Return a new folder that says what is done in it; the model is fetched before, where it has to be."""
    if not is_fetched(config.model.name):
        Console().print(f"fetching and converting {config.model.name}, once; this takes about a minute")
    model = resolve_model(config.model.name, config.model.revision)
    folder = RunFolder.create(out, config.name)
    folder.begin(config, provenance(config, model))
    return folder


@contextmanager
def taken_away(folder: RunFolder) -> Iterator[None]:
    """Take the folder away again where the user's mistake comes out before anything is committed in it."""
    try:
        yield
    except UserError:
        if folder.read(CHECKPOINT) is None:
            _take_away(folder)
        raise


def resume(path: Path) -> dict[str, Any]:
    """Go on with a run from its last committed generation; return the summary.

    Raises:
        UserError: there is no run, it is complete, or its folder is damaged.
    """
    folder = RunFolder.open(path)
    if folder.is_complete:
        raise UserError(f"the run in {path} is complete; its result is in summary.json, and evoprompt report {path} makes its page again")
    return _show(folder.config(), folder)


def provenance(config: Config | BoostConfig, model: Path) -> dict[str, Any]:
    """Return what a result depends on: versions, git commit, seed, model fingerprint, machine."""
    return {
        "evoprompt": __version__,
        "git_commit": _git_commit(),
        "seed": config.seed,
        "model": {"name": config.model.name, "folder": str(model), "fingerprint": model_fingerprint(model)},
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in RECORDED},
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


def carry_out(config: Config, folder: RunFolder, observer: Observer, shared: Shared | None = None) -> tuple[dict[str, Any], str]:
    """Begin a run or go on with it, to its end; return the summary, and where the tracker has it.

    Args:
        config: of the run.
        folder: has the configuration already.
        observer: sees it happen.
        shared: lends workers that are not to end with this run.
    """
    begun = time.perf_counter()
    parts = build(config, home(folder.path), shared, _parent(folder.path))
    status = "FAILED"
    champion = None
    try:
        summary = run(parts, folder, observer, startup_seconds=time.perf_counter() - begun)
        status, champion = "FINISHED", summary["champion"]["prompt"]
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with ThreadPoolExecutor(max_workers=1) as thread:  # Ray takes a second to end; MLflow is told the rest meanwhile
            thread.submit(parts.tracker.finish, status, folder.path if status == "FINISHED" else None, champion)
            parts.close()
    return summary, parts.tracker.location()


def tell_end(config: Config, folder: RunFolder) -> None:
    """Tell the tracker of a complete run that it is complete: a kill may have come between the two."""
    identity = folder.read(TRACKING)
    if identity:
        tracker = open_tracker(config, home(folder.path))
        tracker.resume(identity)
        tracker.finish("FINISHED", folder.path, folder.read(SUMMARY)["champion"]["prompt"])


def home(run: Path) -> Path:
    """Return the folder whose MLflow store a run is in: the one around it, or for a run of a sweep the one around the sweep."""
    return run.parent.parent if (run.parent / SWEEP).exists() else run.parent


def _parent(run: Path) -> str | None:
    """Return the id of the MLflow run of the sweep that a run belongs to."""
    identity = (RunFolder(run.parent).read(SWEEP) or {}).get("tracking") or {}
    return identity.get("run_id")


def _show(config: Config, folder: RunFolder) -> dict[str, Any]:
    with Display(config) as display:
        try:
            summary, location = carry_out(config, folder, display)
        except KeyboardInterrupt:
            display.interrupted(folder.path)
            raise
    print_result(display.console, summary, folder.path, location, home(folder.path))
    return summary


def _take_away(folder: RunFolder) -> None:
    """Remove the files that a run wrote before its first generation, and the folder if nothing else is in it."""
    for name in (CONFIG, PROVENANCE, TRACKING):
        (folder.path / name).unlink(missing_ok=True)
    if not any(folder.path.iterdir()):
        folder.path.rmdir()


def _git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, if it runs from one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
