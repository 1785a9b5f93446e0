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
    """Return, by operator, each birth's trait minus the mean of its parents' by their shares, on
    the most examples on which all of them are known; births that died are included.
    """
    by_id = {b["birth_id"]: b for b in lineage}
    effects: dict[str, list[float]] = {}
    for birth in lineage:
        gain = _gain(birth, by_id, trait)
        if gain is not None and birth["operator"] != SURVIVE:
            effects.setdefault(birth["operator"], []).append(gain)
    return effects


@dataclass(frozen=True, slots=True)
class Step:
    """A birth on the way to a policy."""

    generation: int
    operator: str
    fitness: float
    #: over the mean of its parents by their shares, on the most examples on which all are known;
    #: None without parents, or without such examples
    gain: float | None
    num_demonstrations: int
    change: str  #: against the fitter parent, in words
    birth: Line  #: as `lineage.jsonl` has it


def ancestry(lineage: Sequence[Line], policy_id: str) -> list[Step]:
    """Return the births that lead to a policy's first birth, founder first; of two parents the
    fitter is followed.
    """
    by_id = {b["birth_id"]: b for b in lineage}
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
                gain=_gain(birth, by_id, "fitness"),
                num_demonstrations=len(birth.get("policy", {}).get("demonstrations", [])),
                change=what_changed(parent["policy"], birth["policy"]) if parent and known else "",
                birth=birth,
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


def _gain(birth: Line, by_id: Mapping[str, Line], trait: str) -> float | None:
    own = _by_number(birth, trait)
    if not all(name in by_id for name in birth["parent_ids"]):
        return None  # of a long run not all births are shown
    parents = [_by_number(by_id[name], trait) for name in birth["parent_ids"]]
    shared = [number for number in own if all(number in each for each in parents)]
    if not parents or not shared:
        return None
    pairs = zip(birth["shares"], parents, strict=True)
    return own[shared[-1]] - fsum(share * each[shared[-1]] for share, each in pairs)


def _by_number(birth: Line, trait: str) -> dict[int | None, float]:
    """Return a birth's trait by number of examples, ascending; None is a number that is not
    told.
    """
    last = birth["fitness"] if trait == "fitness" else birth["traits"][trait]
    earlier = {rung["examples"]: rung["traits"][trait] for rung in birth.get("rungs", [])[:-1]}
    return {**earlier, birth.get("examples"): last}
