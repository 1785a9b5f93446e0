"""Recompute Price's equation of runs from `lineage.jsonl` alone, by plain loops that share no code
with the package. `generations.jsonl` has the terms that were recorded, and what parents that left
no survivor were worth on the examples of their children.

    python experiments/check_price.py runs/quickstart [RUN ...]

Prints the greatest residual of each run over all generations and traits, and how far the recorded
terms are from the recomputed ones. Exits with 1 where either is 1e-12 or more.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from math import fsum
from pathlib import Path

LIMIT = 1e-12


def mean(values: list[float]) -> float:
    return fsum(values) / len(values)


def worth(birth: dict, trait: str) -> dict[int, float]:
    """A birth's trait by number of examples, ascending; 0 stands for a number that is not told."""
    told = birth.get("rungs") or [{"examples": birth.get("examples", 0), "traits": birth["traits"]}]
    return {rung["examples"]: rung["traits"][trait] for rung in told}


def first_worth(
    parents: dict[str, dict], brood: list[dict], trait: str, told: dict[str, dict]
) -> dict[str, float]:
    """The parents' trait on the examples that all of the brood were measured on."""
    number = min(m for birth in brood for m in worth(birth, trait))
    found = {name: worth(parent, trait).get(number) for name, parent in parents.items()}
    for birth in brood:
        if birth["operator"] == "survive":
            found[birth["parent_ids"][0]] = worth(birth, trait)[number]
    found |= {name: traits[trait] for name, traits in told.items()}
    lost = [name for name, value in found.items() if value is None]
    if lost:
        raise ValueError(f"the parent {lost[0]} is not known on {number} examples")
    return {name: value for name, value in found.items() if value is not None}


def recompute(
    parents: dict[str, dict], brood: list[dict], trait: str, told: dict[str, dict]
) -> dict[str, float]:
    """Every term of a trait, by name, and the change that they add up to."""
    success = dict.fromkeys(parents, 0.0)
    for birth in brood:
        for parent, share in zip(birth["parent_ids"], birth["shares"], strict=True):
            success[parent] += share
    z = {name: parent["traits"][trait] for name, parent in parents.items()}
    again = first_worth(parents, brood, trait, told)
    before, average = mean(list(z.values())), mean(list(success.values()))

    def covariance(values: dict[str, float]) -> float:
        center = mean(list(values.values()))
        return mean([(success[i] - average) * (values[i] - center) for i in z]) / average

    numbers = [worth(birth, trait) for birth in brood]
    ladder = sorted({m for own in numbers for m in own})
    born = [own[ladder[0]] for own in numbers]
    effects = [
        own - fsum(s * again[p] for p, s in zip(b["parent_ids"], b["shares"], strict=True))
        for own, b in zip(born, brood, strict=True)
        if b["parent_ids"]
    ]
    strangers = [own for own, b in zip(born, brood, strict=True) if not b["parent_ids"]]
    native = len(effects) / len(brood)
    shift = mean([again[i] - z[i] for i in z]) + covariance(again) - covariance(z)
    terms = {
        "reproduction": native * covariance(z),
        "again": native * shift,
        "transmission": native * mean(effects),
        "immigration": fsum(own - before for own in strangers) / len(brood),
    }
    for here, further in pairwise(ladder):
        alive = [own for own in numbers if here in own]
        goes_on = [own for own in alive if further in own]
        terms[f"rungs/{here}/selection"] = mean([own[here] for own in goes_on]) - mean(
            [own[here] for own in alive]
        )
        terms[f"rungs/{further}/shift"] = mean([own[further] - own[here] for own in goes_on])
    last = [own[ladder[-1]] for own in numbers if ladder[-1] in own]
    kept = [own[ladder[-1]] for own, b in zip(numbers, brood, strict=True) if b["selected"]]
    return terms | {"survival": mean(kept) - mean(last), "change": mean(kept) - before}


def written(terms: dict) -> dict[str, float]:
    """The terms as a line of generations.jsonl has them, by the names of `recompute`."""
    found = {
        "reproduction": terms["reproduction"]["selection"],
        "again": terms.get("batch_shift", 0.0) + terms.get("noise_giveback", 0.0),
        "transmission": terms["transmission"],
        "immigration": terms["immigration"],
        "survival": terms["survival"]["selection"],
        "change": terms["change"],
    }
    for number, rung in terms.get("rungs", {}).items():
        for part in ("shift", "selection"):
            if part in rung:
                found[f"rungs/{number}/{part}"] = rung[part]
    return found


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
        line = recorded[generation]
        for trait in line["price"]:
            again = (line["parent_selection"] or {}).get("remeasured") or {}
            terms = recompute(parents, brood, trait, again)
            told = written(line["price"][trait])
            if terms.keys() != told.keys():
                raise ValueError(f"generation {generation}, {trait}: other terms are recorded")
            parts = fsum(value for name, value in terms.items() if name != "change")
            residual = max(residual, abs(terms["change"] - parts))
            distance = max(distance, *(abs(terms[name] - told[name]) for name in terms))
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
