"""Does a curriculum by regret do better on held-out levels than other ways to draw examples?

    python experiments/curriculum/study.py runs/curriculum --seeds 2 --tokens 30000

At equal tokens, on arithmetic of three difficulties, a region that shows its answers and one that
nobody can solve. A run that is complete is not made again, and one that was stopped goes on. Prints
means over seeds with Student's intervals, and the differences from uniform sampling by seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.jobs.curriculum.config import load_curriculum
from evoprompt.jobs.curriculum.session import resume, start
from evoprompt.stats.significance import mean_interval
from evoprompt.store.folder import SUMMARY, RunFolder

ARMS = ("regret", "uniform", "random", "minimax")
SOLVABLE = ("sums", "differences", "three_terms")
LEVEL = (
    "{name: arithmetic, difficulty: %d, demonstration_pool: 40, validation_examples: 8, "
    "test_examples: 40}"
)
CONFIG = f"""
regions:
  sums: {{task: {LEVEL % 2}}}
  differences: {{task: {LEVEL % 3}}}
  three_terms: {{task: {LEVEL % 5}}}
  trivial: {{task: {LEVEL % 2}, answers: shown}}
  unsolvable: {{task: {LEVEL % 4}, answers: drawn}}
rounds: 24
rate: 8.0
examples: 20
population: 2
children: 4
max_demonstrations: 4
tracking: {{enabled: false}}
"""


def run(folder: Path, arm: str, seed: int, tokens: int) -> Mapping[str, Any]:
    """Return the summary of an arm with a seed; what is there is not made again."""
    out = folder / f"{arm}-{seed}"
    if out.exists():
        done = RunFolder(out)
        return done.read(SUMMARY) if done.is_complete else resume(out)
    file = folder / "study.yaml"
    file.write_text(CONFIG)
    settings = [f"sampling={arm}", f"seed={seed}", f"tokens={tokens}"]
    return start(load_curriculum(file, settings), out)


def held_out(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return what the champion has on the test examples of each region, and in the mean of those
    that can be solved.
    """
    found = {row["region"]: row["champion"]["value"] for row in summary["test"]["regions"]}
    mean = {"solvable": float(np.mean([found[name] for name in SOLVABLE]))}
    return found | mean | {"gained": mean["solvable"] - _before(summary)}


def _before(summary: Mapping[str, Any]) -> float:
    rows = {row["region"]: row["baseline"]["value"] for row in summary["test"]["regions"]}
    return float(np.mean([rows[name] for name in SOLVABLE]))


def regrets(summaries: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[tuple[str, int], float]:
    """Return how far each champion is behind in the solvable region where that is the most, against
    the champion of all runs that the validation examples of the region prefer.
    """
    names = next(iter(summaries.values()))["regions"]
    best = {
        name: max(summaries, key=lambda key: summaries[key]["validation"][names.index(name)])
        for name in SOLVABLE
    }
    values = {key: held_out(summary) for key, summary in summaries.items()}
    return {
        key: max(values[best[name]][name] - own[name] for name in SOLVABLE)
        for key, own in values.items()
    }


def told(values: list[float]) -> str:
    """Return a mean with its interval."""
    found = mean_interval(values)
    ends = "" if found.low is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.value:+.3f}{ends}"


def main() -> None:
    """Make the runs that are not there, and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=30_000)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.seeds)
    summaries = {
        (arm, seed): run(given.out, arm, seed, given.tokens) for seed in seeds for arm in ARMS
    }
    worst = regrets(summaries)
    for arm in ARMS:
        own = [summaries[arm, seed] for seed in seeds]
        print(
            f"{arm}: rounds {[s['rounds'] for s in own]}, tokens "
            f"{[s['tokens']['logical'] for s in own]}"
        )
        print("  last weights", *np.mean([s["weights"] for s in own], axis=0).round(3))
        for name in (*SOLVABLE, "trivial", "unsolvable", "solvable", "gained"):
            values = [held_out(s)[name] for s in own]
            others = [held_out(summaries["uniform", seed])[name] for seed in seeds]
            less = [a - b for a, b in zip(values, others, strict=True)]
            print(f"  {name}: {told(values)}; less uniform {told(less)}")
        print(f"  worst regret: {told([worst[arm, seed] for seed in seeds])}")


if __name__ == "__main__":
    main()
