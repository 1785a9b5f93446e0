"""Lineages of births that are measured on more and more examples, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = ("fitness", "z")


def numbers(rng: np.random.Generator) -> dict[str, float]:
    return {name: float(rng.normal()) for name in NAMES} | {"length": 0.0}


def birth(name: str, generation: int, parents: dict[str, float], operator: str) -> dict[str, Any]:
    return {
        "generation": generation,
        "birth_id": name,
        "parent_ids": list(parents),
        "shares": list(parents.values()),
        "operator": operator,
        "selected": False,
    }


def on(ladder: dict[int, dict[str, float]], reached: int) -> dict[str, Any]:
    """The keys of a birth that was measured on the first `reached` numbers of a ladder."""
    own = list(ladder)[:reached]
    last = {"examples": own[-1], "traits": ladder[own[-1]]}
    told = [{"examples": m, "traits": ladder[m]} for m in own]
    return last if len(ladder) == 1 else last | {"rungs": told}


def race_lineage(seed: int, num_generations: int = 3) -> list[dict[str, Any]]:
    """Generations on two islands whose births are measured on one to four numbers of examples.

    Those of a policy are the same wherever it is measured on as many. Parents survive or do not,
    and then the lineage has what they are worth where the next generation begins.
    """
    rng = np.random.default_rng(seed)
    worth: dict[tuple[str, int], dict[str, float]] = {}

    def of(policy: str, ladder: list[int]) -> dict[int, dict[str, float]]:
        for m in ladder:
            worth.setdefault((policy, m), numbers(rng) | {"length": float(len(policy))})
        return {m: worth[policy, m] for m in ladder}

    rows: list[dict[str, Any]] = []
    before: list[dict[str, Any]] = []
    for generation in range(num_generations):
        ladder = sorted(rng.choice([4, 8, 16, 32, 64], rng.integers(1, 5), replace=False).tolist())
        brood = _brood(rng, generation, before)
        kept = rng.permutation(len(brood))[: rng.integers(1, len(brood) + 1)].tolist()
        for place, row in enumerate(brood):
            finalist = place in kept or row["operator"] == "survive" or rng.random() < 0.3
            reached = len(ladder) if finalist else int(rng.integers(1, len(ladder) + 1))
            row |= on(of(row["policy_id"], ladder), reached) | {"selected": place in kept}
        survived = {row["parent_ids"][0] for row in brood if row["operator"] == "survive"}
        for row in before:
            if row["selected"] and row["birth_id"] not in survived:
                row["remeasured"] = of(row["policy_id"], ladder[:1])[ladder[0]]
        rows, before = [*rows, *brood], brood
    return rows


def _brood(
    rng: np.random.Generator, generation: int, before: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    chosen = [row for row in before if row["selected"]]
    brood = []
    if rng.random() < 0.7:
        for row in chosen:
            own = birth(
                f"{generation}.s{len(brood)}", generation, {row["birth_id"]: 1.0}, "survive"
            )
            brood.append(own | {"policy_id": row["policy_id"]})
    for _ in range(int(rng.integers(2, 9))):
        name, parents = f"{generation}.c{len(brood)}", {}
        if chosen and (not brood or rng.random() < 0.85):
            some = rng.choice(len(chosen), min(len(chosen), rng.integers(1, 3)), replace=False)
            shares = rng.dirichlet(np.ones(len(some)))
            parents = {chosen[i]["birth_id"]: float(s) for i, s in zip(some, shares, strict=True)}
        operator = str(rng.choice(["edit", "mix"])) if parents else "found"
        brood.append(birth(name, generation, parents, operator) | {"policy_id": name})
    return [row | {"island": int(rng.integers(2))} for row in brood]
