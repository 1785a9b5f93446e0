"""Lines of the run folder's files -> the numbers that tables and figures show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

from evoprompt.records import SURVIVE

Line = Mapping[str, Any]


def operator_effects(lineage: Sequence[Line], trait: str = "fitness") -> dict[str, list[float]]:
    """Return, by operator, each birth's trait minus the mean of its parents' by their shares; births that died are included."""
    traits = {b["birth_id"]: b["traits"][trait] for b in lineage}
    effects: dict[str, list[float]] = {}
    for birth in lineage:
        if birth["parent_ids"] and birth["operator"] != SURVIVE:
            effects.setdefault(birth["operator"], []).append(birth["traits"][trait] - _mid_parent(birth, traits))
    return effects


def ancestry(lineage: Sequence[Line], policy_id: str) -> list[dict[str, Any]]:
    """Return the births that lead to a policy's first birth, founder first; of two parents the fitter is followed."""
    by_id = {b["birth_id"]: b for b in lineage}
    fitness = {b["birth_id"]: b["fitness"] for b in lineage}
    birth: Line | None = next(b for b in lineage if b["policy_id"] == policy_id)
    steps = []
    while birth is not None:
        gain = birth["fitness"] - _mid_parent(birth, fitness) if birth["parent_ids"] else None
        steps.append(
            {
                "generation": birth["generation"],
                "operator": birth["operator"],
                "fitness": birth["fitness"],
                "gain": gain,
                "num_demonstrations": len(birth["policy"].get("demonstrations", [])),
            }
        )
        birth = max((by_id[p] for p in birth["parent_ids"]), key=lambda b: b["fitness"], default=None)
    return steps[::-1]


def interval(part: Mapping[str, Any], *, signed: bool = False) -> tuple[str, str]:
    """Return a value and its interval as text."""
    sign = "+" if signed else ""
    low, high = part["ci"]
    return format(part["value"], f"{sign}.3f"), f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def _mid_parent(birth: Line, values: Mapping[str, float]) -> float:
    return fsum(share * values[parent] for parent, share in zip(birth["parent_ids"], birth["shares"], strict=True))
