"""Recompute Price's equation of runs from `lineage.jsonl` alone, by plain loops that share no code
with the package.

    python experiments/check_price.py runs/quickstart [RUN ...]

Prints the greatest residual of each run over all generations and traits, and how far the recorded
terms are from the recomputed ones. Exits with 1 where either is 1e-12 or more.
"""

from __future__ import annotations

import json
import sys
from math import fsum
from pathlib import Path

LIMIT = 1e-12


def mean(values: list[float]) -> float:
    return fsum(values) / len(values)


def check(run: Path) -> tuple[float, float, int]:
    births = [json.loads(line) for line in (run / "lineage.jsonl").open(encoding="utf-8")]
    recorded = {
        g["generation"]: g
        for g in map(json.loads, (run / "generations.jsonl").open(encoding="utf-8"))
    }
    residual = distance = 0.0
    for generation in range(1, max(recorded) + 1):
        parents = {
            b["birth_id"]: b for b in births if b["generation"] == generation - 1 and b["selected"]
        }
        brood = [b for b in births if b["generation"] == generation]
        success = dict.fromkeys(parents, 0.0)
        for birth in brood:
            for parent, share in zip(birth["parent_ids"], birth["shares"], strict=True):
                success[parent] += share
        for trait in recorded[generation]["price"]:
            z = {name: parent["traits"][trait] for name, parent in parents.items()}
            before, average = mean(list(z.values())), mean(list(success.values()))
            selection = mean([(success[i] - average) * (z[i] - before) for i in z]) / average
            effects = [
                b["traits"][trait]
                - fsum(s * z[p] for p, s in zip(b["parent_ids"], b["shares"], strict=True))
                for b in brood
            ]
            chosen, everyone = (
                [b["traits"][trait] for b in brood if b["selected"]],
                [b["traits"][trait] for b in brood],
            )
            survival = mean(chosen) - mean(everyone)
            terms = recorded[generation]["price"][trait]
            residual = max(
                residual, abs(mean(chosen) - before - selection - mean(effects) - survival)
            )
            distance = max(
                distance,
                abs(selection - terms["reproduction"]["selection"]),
                abs(mean(effects) - terms["transmission"]),
                abs(survival - terms["survival"]["selection"]),
            )
    return residual, distance, max(recorded)


def main() -> int:
    worst = 0.0
    for run in map(Path, sys.argv[1:]):
        residual, distance, generations = check(run)
        print(
            f"{run}: {generations} generations, residual at most {residual:.1e}, recorded terms "
            f"within {distance:.1e}"
        )
        worst = max(worst, residual, distance)
    return int(worst >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
