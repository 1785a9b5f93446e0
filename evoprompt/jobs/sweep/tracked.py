"""What a tracker is told of a sweep: when it begins, and when it is complete."""

from __future__ import annotations

import json
from pathlib import Path

from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.sweep.config import Sweep
from evoprompt.jobs.sweep.page import PAGE, TABLE, markdown
from evoprompt.jobs.sweep.record import SweepState
from evoprompt.jobs.sweep.tables import best_group, column, done, mean_of
from evoprompt.tracking.base import About, Ending, Point

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
    tags = {"evoprompt.folder": str(path), "evoprompt.sweep": config.name}
    return About(path.name, parameters, tags)


def ending_of(path: Path, state: SweepState) -> Ending:
    """Return what a tracker is told of a sweep that has ended, from its folder alone."""
    rows = list(state.rows)
    best, finished = best_group(rows), done(rows)
    metrics: dict[str, float] = {
        "sweep/runs_done": len(finished),
        "sweep/runs_failed": sum(row.status == "failed" for row in rows),
    }
    if best:
        metrics |= {
            metric: mean.value for name, metric in METRICS.items() if (mean := mean_of(best, name))
        }
        metrics |= {
            "tokens/total": sum(column(rows, "tokens")),
            "time/total": sum(column(rows, "seconds")),
        }
    folders = [EvolveFolder(path / row.folder) for row in finished]
    last = max((folder.generations()[-1].time_ms for folder in folders), default=0)
    files = [path / name for name in (TABLE, PAGE, SETTINGS, BEST)]
    kept = [file for file in files if file.exists()]
    return Ending(markdown(state), Point(metrics, 0, last), files=kept)
