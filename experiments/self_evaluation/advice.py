"""Is the advice before the first round right? Loops on five tasks and two models that go on
whatever is advised, by the package's own clause.

    python experiments/self_evaluation/advice.py runs/advice [--models smollm2-135m]
    [--tasks sense inbox] [--seeds 10]

The advice is what `evoprompt boost` says by default (`recurrence/advice.py`, whose bounds were set
before these loops). It is right where it says yes and the error falls, the interval of the paired
change below 0, and where it does not say yes and no such fall is shown: nothing was foregone. What
is complete is not done again; prints a line for each loop, then the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from run import CONFIGS, LOOPS, TASKS

from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.session import conduct, resume
from evoprompt.store.folder import SUMMARY


def loop_of(root: Path, model: str, task: str, seed: int) -> BoostFolder:
    """Return the folder of a loop, which is made or ended where it is missing."""
    place = root / model / task / str(seed)
    if (place / SUMMARY).exists():
        return BoostFolder.open(place)
    if (place / "checkpoint.json").exists():
        resume(place)
        return BoostFolder.open(place)
    settings = [f"model.name={model}", f"task.name={task}", f"seed={seed}", *TASKS[task]]
    more = ["tracking.enabled=false", "workers.threads=1"]
    config = load_boost(CONFIGS / "study.yaml", [*settings, *LOOPS.get(task, []), *more])
    return conduct(config, place, show=False)


def row_of(model: str, task: str, folder: BoostFolder) -> dict[str, Any]:
    """Return what was advised of a loop and what it did."""
    first, second = folder.rounds()[:2]
    summary: Mapping[str, Any] = folder.read(SUMMARY)
    change = summary["test"]["difference"]
    advice, fit, one = first.advice, first.imitation, second.predicted_ci
    assert advice is not None
    assert fit is not None
    assert one is not None
    low, high = change["ci"]
    return {
        "model": model,
        "task": task,
        "before": f"{first.error_rate:.3f}",
        "floor": f"{fit.floor:.3f}",
        "ceiling": f"{fit.ceiling:.3f}",
        "s + c": f"{first.sensitivity or 0:.2f} + {first.specificity or 0:.2f}",
        "expected": f"{advice.change:+.3f} [{advice.low:+.3f}, {advice.high:+.3f}]",
        "chance": f"{advice.chance:.2f}",
        "advice": advice.answer.value,
        "change": f"{change['value']:+.3f} [{low:+.3f}, {high:+.3f}]",
        "right": "yes" if advice.pays == (high < 0) else "no",
        "width of round 1": f"{one[1] - one[0]:.3f}",
    }


def main() -> None:
    """Make the loops that are missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10])
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        for model in given.models:
            for task in given.tasks:
                rows.append(row_of(model, task, loop_of(given.root, model, task, seed)))
                print(rows[-1], flush=True)
    print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
