"""What a tracker is told of a sweep: when it begins, when it is complete, and what it missed."""

from __future__ import annotations

import json
from pathlib import Path

from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.tracked import sync as sync_run
from evoprompt.jobs.sweep.config import Sweep, load_sweep, settle
from evoprompt.jobs.sweep.page import PAGE, TABLE, markdown, read_state
from evoprompt.jobs.sweep.record import SweepState
from evoprompt.jobs.sweep.tables import best_group, column, done, mean_of
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.tracking.base import KIND, About, Ending, Point
from evoprompt.tracking.courier import SYNC_SECONDS, is_told
from evoprompt.tracking.open import open_tracker

SETTINGS, BEST = "sweep.yaml", "best.yaml"

#: What is told of the best settings: the mean over their runs.
METRICS = {
    "objective": "sweep/objective",
    "fitness_best": "fitness/best",
    "accuracy_before": "test/baseline",
    "accuracy_after": "test/champion",
}


def about(path: Path, sweep: Sweep, total: int) -> About:
    """Return what a tracker is told when a sweep of this many runs begins."""
    config = sweep.config
    parameters: dict[str, object] = {
        key: json.dumps(axis) for key, axis in config.model_dump(mode="json")["axes"].items()
    }
    parameters |= {
        "sweep.method": config.method,
        "sweep.objective": config.objective,
        "sweep.runs": total,
    }
    tags = {KIND: "sweep", "evoprompt.folder": str(path), "evoprompt.sweep": config.name}
    return About(path.name, parameters, tags)


def ending_of(path: Path, state: SweepState) -> Ending:
    """Return what a tracker is told of a sweep that has ended, from its folder alone."""
    rows = list(state.rows)
    best, finished = best_group(rows), done(rows)
    metrics: dict[str, float] = {
        "sweep/runs_done": len(finished),
        "sweep/runs_failed": sum(row.status == "failed" for row in rows),
        "sweep/runs_stopped": sum(row.status == "stopped" for row in rows),
    }
    if best:
        metrics |= {
            metric: mean.value for name, metric in METRICS.items() if (mean := mean_of(best, name))
        }
        metrics |= {
            "cost/tokens_in_all": sum(column(rows, "tokens")),
            "cost/seconds_in_all": sum(column(rows, "seconds")),
        }
    folders = [EvolveFolder(path / row.folder) for row in finished]
    last = max((folder.generations()[-1].time_ms for folder in folders), default=0)
    files = [path / name for name in (TABLE, PAGE, SETTINGS, BEST)]
    kept = [file for file in files if file.exists()]
    return Ending(markdown(state), Point(metrics, 0, last), files=kept)


def sync(path: Path) -> list[Exception]:
    """Tell MLflow all that it was not told of a sweep and of its runs; return why that was not
    possible.

    Raises:
        UserError: another process writes in it.
    """
    with RunFolder(path).owned():
        return _sync(path)


def _sync(path: Path) -> list[Exception]:
    state = read_state(path)
    sweep = load_sweep(path / SETTINGS)
    first = settle(sweep, state.rows[0].settings, "first")
    courier, folder = open_tracker(first, path.parent), RunFolder(path)
    reasons: list[Exception | None] = []
    if not is_told(folder):
        total = sweep.config.runs or len(state.rows)
        courier.open(folder, lambda: about(path, sweep, total), once=True)
        complete = sum(not row.is_left for row in state.rows) == total
        ending = ending_of(path, state) if complete else None
        status = "FINISHED" if complete else "KILLED"
        reasons.append(courier.finish(status, ending, SYNC_SECONDS))
    for row in state.rows:
        if (path / row.folder / CONFIG).exists():
            run = EvolveFolder.open(path / row.folder)
            with run.owned():
                reasons.append(sync_run(run.config(), run))
    return [reason for reason in reasons if reason is not None]
