"""When does a model learn from its own answers? Loops on five tasks, two models, three seeds, with the naive evaluator and an evolved one.

    python experiments/self_evaluation/run.py --out runs/self-evaluation [--models smollm2-135m] [--tasks questions inbox] [--seeds 0 1 2]

For each model and task an evaluator is evolved once on the judging task (`configs/evaluator.yaml`; it sees the demonstrations, fitness and
validation examples with labels, and no test example). Then the loop of `configs/boost/study.yaml` runs for each seed, with either evaluator.
Whatever is complete is not done again, and what was stopped goes on: the script can be ended and started at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs" / "boost"
#: Settings of each task's config section, beside its name.
TASKS: dict[str, list[str]] = {
    "questions": [],
    "sense": [],
    "inbox": [],
    "arithmetic": ["task.difficulty=1"],
    "scramble": ["task.difficulty=1"],
}


def evoprompt(command: str, config: Path, folder: Path, settings: list[str]) -> None:
    """Run a command to its end, or go on with it where it was stopped."""
    if (folder / "summary.json").exists():
        return
    begun = (folder / "checkpoint.json").exists()
    words = ["resume", str(folder)] if begun else [command, str(config), "--out", str(folder), *(w for s in settings for w in ("--set", s))]
    print(" ".join(words), flush=True)
    subprocess.run([sys.executable, "-m", "evoprompt.cli", *words], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    for model in arguments.models:
        for task in arguments.tasks:
            settings = [f"model.name={model}", f"task.name={task}", *TASKS[task]]
            evaluator = arguments.out / model / task / "evaluator"
            evoprompt("run", CONFIGS.parent / "evaluator.yaml", evaluator, settings)
            for seed in arguments.seeds:
                for kind, extra in (("naive", []), ("evolved", [f"evaluator_run={evaluator.resolve()}"])):
                    folder = arguments.out / model / task / f"{kind}-{seed}"
                    evoprompt("boost", CONFIGS / "study.yaml", folder, [*settings, f"seed={seed}", *extra])


if __name__ == "__main__":
    main()
