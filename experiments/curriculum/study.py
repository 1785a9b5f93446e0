"""Does a curriculum by regret do better on held-out levels than other ways to draw examples?

    python experiments/curriculum/study.py runs/curriculum --seeds 3 --tokens 300000

At equal tokens, on three regions that compete for the four demonstrations of a prompt (sums,
scrambled words, messages to sort), one that every prompt can solve, since the wrong answers are no
words, and one that nobody can. A run that is complete is not made again, and one that was stopped
goes on. Prints means over seeds with Student's intervals, and the differences from uniform sampling
by seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.jobs.curriculum.config import load_curriculum
from evoprompt.jobs.curriculum.session import resume, start
from evoprompt.stats.significance import mean_interval
from evoprompt.store.folder import SUMMARY, RunFolder

ARMS = ("regret", "uniform", "random", "minimax")
SOLVABLE = ("sums", "words", "messages")
LEVEL = (
    "{%s, fitness_examples: 160, demonstration_pool: 40, validation_examples: 8, test_examples: 40}"
)
SUMS = "name: arithmetic, difficulty: %d"
CONFIG = f"""
regions:
  sums: {{task: {LEVEL % SUMS % 2}}}
  words: {{task: {LEVEL % "name: scramble, difficulty: 1"}}}
  messages: {{task: {LEVEL % "name: inbox"}}}
  trivial: {{task: {LEVEL % "path: trivial.jsonl"}}}
  unsolvable: {{task: {LEVEL % SUMS % 4}, answers: drawn}}
rounds: 200
rate: 8.0
examples: 40
population: 2
children: 3
max_demonstrations: 4
tracking: {{enabled: false}}
"""


def write_trivial(file: Path) -> None:
    """Write sums whose wrong answers are no words."""
    draws = np.random.default_rng(0)
    rows = []
    for number in draws.choice(8100, 800, replace=False).tolist():
        one, other = 10 + number // 90, 10 + number % 90
        wrong = ["".join(draws.choice(list("#^~|{}qzxj"), 8).tolist()) for _ in range(3)]
        right = str(one + other)
        row = {"input": f"{one} + {other}", "target": right, "choices": [right, *wrong]}
        rows.append(json.dumps(row) + "\n")
    file.write_text("".join(rows))


def run(folder: Path, arm: str, seed: int, tokens: int) -> Mapping[str, Any]:
    """Return the summary of an arm with a seed; what is there is not made again."""
    out = folder / f"{arm}-{seed}"
    if out.exists():
        done = RunFolder(out)
        return done.read(SUMMARY) if done.is_complete else resume(out)
    file = folder / "study.yaml"
    file.write_text(CONFIG)
    write_trivial(folder / "trivial.jsonl")
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
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument(
        "--arms", nargs="+", default=list(ARMS), choices=ARMS, help="beside uniform"
    )
    given = parser.parse_args()
    arms = [arm for arm in ARMS if arm in {"uniform", *given.arms}]
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.seeds)
    summaries = {
        (arm, seed): run(given.out, arm, seed, given.tokens) for seed in seeds for arm in arms
    }
    worst = regrets(summaries)
    for arm in arms:
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
