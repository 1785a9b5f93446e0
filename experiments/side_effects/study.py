"""Does taking side effects off the fitness spare other tasks, and what does it cost the own one?

    python experiments/side_effects/study.py runs/side_effects --seeds 1

For each pair of tasks, seed and coefficient a run that evolves for the first and looks at the
others; then one auxiliary against many. A run that is complete is not made again, so the command
goes on where it was stopped. Prints a line a run, and what the penalty changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprompt.fitness.side_effects import mean_change
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import SIDE_EFFECTS, EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.evolve.side_effects import KEY, Reference, measured_of
from evoprompt.store.folder import PROVENANCE, SUMMARY

#: What is evolved for, and the auxiliaries.
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "inbox-sense": ("inbox", {"tasks": ["sense"]}),
    "scramble-inbox": ("scramble", {"tasks": ["inbox"]}),
    "inbox-many": ("inbox", {"tasks": ["sense", "scramble", "arithmetic"], "random": 2}),
}
#: Off, and what a change of one standard deviation of the starting prompts costs, nats.
COEFFICIENTS = (0.0, 0.3)


def values_of(
    pair: str, coefficient: float, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Return the configuration of a run."""
    task, auxiliaries = PAIRS[pair]
    return {
        "seed": seed,
        "task": {"name": task, "test_examples": 60},
        "budget": {"prefill_tokens": given.tokens},
        "final": {"labels": 32},
        "workers": {"backend": "local", "threads": 1},
        "tracking": {"enabled": False},
        "side_effects": {**auxiliaries, "examples": given.examples, "coefficient": coefficient},
    }


def told(folder: Path) -> str:
    """Return a run's line: the champion's changes on the auxiliaries and its test."""
    found = EvolveFolder.open(folder)
    summary, known = found.read(SUMMARY), found.read(PROVENANCE)[KEY]
    reference = Reference(known["baseline"], known["scales"])
    changes = reference.changes(
        measured_of(found.lines(SIDE_EFFECTS)), summary["champion"]["policy_id"]
    )
    mean, test = mean_change(list(changes.values())), summary["test"]
    return (
        f"plain {mean.plain:.3f} (noise {mean.noise_floor:.3f}) decrease {mean.decrease:.3f} "
        f"increase {mean.increase:.3f}; accuracy {test['baseline']['value']:.3f} -> "
        f"{test['champion']['value']:.3f}; {summary['policies_scored']} policies, "
        f"{summary['tokens']['by_phase']['side_effects']} tokens for auxiliaries"
    )


def main() -> None:
    """Make the runs that are missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--examples", type=int, default=16, help="of each auxiliary")
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS))
    given = parser.parse_args()
    lines = []
    for seed in range(given.seeds):
        for pair in given.pairs:
            for coefficient in COEFFICIENTS:
                folder = given.out / f"{pair}-{coefficient:g}-{seed}"
                if not (folder / SUMMARY).exists():
                    values = values_of(pair, coefficient, seed, given)
                    if folder.exists():
                        resume(folder, [])
                    else:
                        start(check_config(values, folder.name), folder)
                lines.append(f"{folder.name}: {told(folder)}")
                print(lines[-1], flush=True)
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    main()
