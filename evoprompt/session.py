"""A run with all that surrounds it: build, run, tell how it ended, give the workers back."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt import __version__
from evoprompt.build import build, check_task
from evoprompt.config import Config
from evoprompt.display import Display, print_result
from evoprompt.errors import UserError
from evoprompt.run import run
from evoprompt.runtime.checkpoint import CHECKPOINT, CONFIG, PROVENANCE, TRACKING, RunFolder
from evoprompt.scoring.models import is_fetched, model_fingerprint, resolve_model

#: The packages whose versions a result may depend on.
RECORDED = ("deap", "mlflow", "numpy", "ray", "tokenizers", "torch", "transformers")


def start(config: Config, out: Path | None) -> dict[str, Any]:
    """Run a configuration in a new folder; return the summary.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a generation is taken away again.
    """
    check_task(config)
    if not is_fetched(config.model.name):
        Console().print(f"fetching and converting {config.model.name}, once; this takes about a minute")
    model = resolve_model(config.model.name, config.model.revision)
    folder = RunFolder.create(out, config.name)
    folder.begin(config, provenance(config, model))
    try:
        return _carry_out(config, folder)
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
    return _carry_out(folder.config(), folder)


def provenance(config: Config, model: Path) -> dict[str, Any]:
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


def _carry_out(config: Config, folder: RunFolder) -> dict[str, Any]:
    with Display(config) as display:
        begun = time.perf_counter()
        parts = build(config, folder.path.parent)
        status = "FAILED"
        champion = None
        try:
            summary = run(parts, folder, display, startup_seconds=time.perf_counter() - begun)
            status, champion = "FINISHED", summary["champion"]["prompt"]
        except KeyboardInterrupt:
            status = "KILLED"
            display.interrupted(folder.path)
            raise
        finally:
            with ThreadPoolExecutor(max_workers=1) as thread:  # Ray takes a second to end; MLflow is told the rest meanwhile
                thread.submit(parts.tracker.finish, status, folder.path if status == "FINISHED" else None, champion)
                parts.close()
    print_result(display.console, summary, folder.path, parts.tracker.location())
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
