"""Which use of a bonus for narrated steps helps a search over paths? Three ways against none.

    python experiments/gridworld/shaping.py runs/shaping --seeds 3

A bonus that is a potential adds the same number to each prompt, so it can change nothing. This one
is no potential: it is how likely the model says, at each move, what the expert is about to do. It
has another optimum, so it can only serve as a guide, and all champions are chosen by what counts,
the likelihood of the actions whatever may be said:

    none         parents and survivors by what counts
    lexicase     by what counts and the bonus at each stage alone, in a random order of the stages
    early stop   by what counts and the bonus, until the best stands still for two generations
    annealing    by what counts and the bonus, whose weight falls to 0 over the search

Runs of one seed begin with the same sets of demonstrations and make as many children, but for
those that stop early. A run that is complete is not made again, and one that was stopped goes on.
Prints a line a run, then what each way comes to on test paths and how far that is from none, with
intervals over the test paths.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.stats.resampling import paired_bootstrap_interval
from evoprompt.store.folder import SUMMARY

START = {"input_prefix": "", "output_prefix": "\nNext:", "separator": "\n"}
BY_STAGES = {"method": "epsilon_lexicase"}
#: What each way changes in the task and in the evolution.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "lexicase": (
        {"stages": True},
        {
            "shaping": {"weight": 1.0},
            "parent_selection": BY_STAGES,
            "survival_selection": BY_STAGES,
        },
    ),
    "early stop": ({}, {"shaping": {"weight": 1.0}, "stop": {"patience": 2}}),
    "annealing": ({}, {"shaping": {"weight": 1.0, "until": 0.8}}),
}


def values_of(way: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration of a run."""
    task, evolution = WAYS[way]
    return {
        "seed": seed,
        "model": {"name": given.model},
        "task": {
            "name": "gridworld",
            "difficulty": 1,
            "instructions": "marginal",
            "starting_policies": [START],
            "starting_demonstrations": [given.shots],
            "starting_sets": 3,
            "fitness_examples": given.levels,
            "validation_examples": given.levels,
            "test_examples": given.tested,
            **task,
        },
        "evolution": {
            "population": 2,
            "children": 3,
            "generations": given.generations,
            "max_demonstrations": given.shots + 2,
            "examples": {"first": None},
            "racing": {"method": "off"},
            **evolution,
        },
        "final": {"candidates": 2},
        "workers": {"backend": "local", "threads": 1},
        "tracking": {"enabled": False},
    }


def run_of(way: str, seed: int, given: argparse.Namespace) -> EvolveFolder:
    """Return the folder of a run, which is made or ended where it is not complete."""
    place = given.out / f"{way.replace(' ', '-')}-{seed}"
    if not (place / SUMMARY).exists():
        if place.exists():
            resume(place, [])
        else:
            start(check_config(values_of(way, seed, given), place.name), place)
    return EvolveFolder.open(place)


def tested(folder: EvolveFolder, who: str) -> np.ndarray:
    """Return nats a move of the test paths under the champion or the baseline, shape (path,)."""
    policy = folder.read(SUMMARY)[who]["policy_id"]
    rows = [r for r in folder.predictions() if r.split == "test" and r.policy_id == policy]
    return np.array([np.mean(r.moves) for r in sorted(rows, key=lambda r: r.example_id)])


def table(found: dict[str, list[EvolveFolder]]) -> str:
    """Return what each way comes to, in Markdown."""
    heads = ("way", "generations", "named steps", "fitness", "test", "less the start", "less none")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    none = np.mean([tested(folder, "champion") for folder in found["none"]], axis=0)
    for way, folders in found.items():
        summaries = [folder.read(SUMMARY) for folder in folders]
        test = np.mean([tested(folder, "champion") for folder in folders], axis=0)
        start = np.mean([tested(folder, "baseline") for folder in folders], axis=0)
        steps = [s["champion"]["traits"]["named_steps"] for s in summaries]
        fitness = [s["champion"]["fitness"] for s in summaries]
        cells = (
            way,
            " / ".join(str(len(folder.generations()) - 1) for folder in folders),
            f"{np.mean(steps):.3f}",
            f"{np.mean(fitness):.3f}",
            f"{test.mean():.3f}",
            interval(test - start),
            "" if way == "none" else interval(test - none),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: np.ndarray) -> str:
    """Return a mean with its bootstrap interval over test paths."""
    low, high = paired_bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--levels", type=int, default=3, help="that the search measures on")
    parser.add_argument("--tested", type=int, default=12)
    parser.add_argument("--shots", type=int, default=4, help="demonstrations, a move each")
    parser.add_argument("--generations", type=int, default=4)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[EvolveFolder]] = {way: [] for way in WAYS}
    for seed in range(given.seeds):
        for way in WAYS:
            folder = run_of(way, seed, given)
            summary = folder.read(SUMMARY)
            found[way].append(folder)
            moves = tested(folder, "champion").mean()
            told = f"{moves:.3f} nats a move, {summary['tokens']['total']} tokens"
            print(f"{folder.path.name}: {told}", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
