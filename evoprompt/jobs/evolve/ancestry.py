"""Lines of a lineage -> what operators did, and how a policy came about. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from evoprompt.policy import SLOTS
from evoprompt.records import SURVIVE
from evoprompt.report.text import Line


def operator_effects(lineage: Sequence[Line], trait: str = "fitness") -> dict[str, list[float]]:
    """Return, by operator, each birth's trait minus the mean of its parents' by their shares;
    births that died are included.
    """
    traits = {b["birth_id"]: b["traits"][trait] for b in lineage}
    effects: dict[str, list[float]] = {}
    for birth in lineage:
        if birth["parent_ids"] and birth["operator"] != SURVIVE:
            effects.setdefault(birth["operator"], []).append(
                birth["traits"][trait] - _mid_parent(birth, traits)
            )
    return effects


@dataclass(frozen=True, slots=True)
class Step:
    """A birth on the way to a policy."""

    generation: int
    operator: str
    fitness: float
    gain: float | None  #: over the mean of its parents by their shares; None without parents
    num_demonstrations: int
    change: str  #: against the fitter parent, in words


def ancestry(lineage: Sequence[Line], policy_id: str) -> list[Step]:
    """Return the births that lead to a policy's first birth, founder first; of two parents the
    fitter is followed.
    """
    by_id = {b["birth_id"]: b for b in lineage}
    fitness = {b["birth_id"]: b["fitness"] for b in lineage}
    birth: Line | None = next(b for b in lineage if b["policy_id"] == policy_id)
    steps = []
    while birth is not None:
        parents = [by_id[p] for p in birth["parent_ids"]]
        parent = max(parents, key=lambda b: b["fitness"], default=None)
        known = parent is not None and "policy" in birth and "policy" in parent
        steps.append(
            Step(
                generation=birth["generation"],
                operator=birth["operator"],
                fitness=birth["fitness"],
                gain=birth["fitness"] - _mid_parent(birth, fitness) if parents else None,
                num_demonstrations=len(birth.get("policy", {}).get("demonstrations", [])),
                change=what_changed(parent["policy"], birth["policy"]) if parent and known else "",
            )
        )
        birth = parent
    return steps[::-1]


def what_changed(parent: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """Return in words how a policy differs from another, slot by slot; both as `lineage.jsonl` has
    them.
    """
    return "; ".join(
        change
        for slot in SLOTS
        for change in slot.changes(parent.get(slot.name), child.get(slot.name))
    )


def _mid_parent(birth: Line, values: Mapping[str, float]) -> float:
    return fsum(
        share * values[parent]
        for parent, share in zip(birth["parent_ids"], birth["shares"], strict=True)
    )
