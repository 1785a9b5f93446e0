"""What a search starts from: the starting policies as they were given, and as many sets of
demonstrations as the model's window and the budget have room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evoprompt.jobs.evolve.budget import Costs
from evoprompt.jobs.evolve.build import Parts
from evoprompt.policy import Policy

#: Of what the budget leaves beside validation, test and checks, what the founders may take.
SHARE = 0.5


def with_start(parts: Parts, numbers: Sequence[int]) -> Parts:
    """Return the parts of a run that starts from what there is room for. The policies that were
    given stay, whatever they take.

    Args:
        parts: with all starting policies.
        numbers: of examples on which founders are measured, ascending.
    """
    task = parts.task
    fitting = [p for p in task.starting_policies if p not in task.added or parts.costs.fits(p)]
    kept = [p for p in fitting if p not in task.added] or fitting[:1]
    for policy in fitting:
        if policy not in kept and _has_room(parts.costs, [*kept, policy], numbers):
            kept.append(policy)
    left_out = set(task.starting_policies) - set(kept)
    if not left_out:
        return parts
    why = (
        f"{len(left_out)} of {len(task.added)} sets of demonstrations to start from are left out: "
        f"the model's window or the budget has no room for them"
    )
    task = task.without(left_out, why)
    return replace(parts, task=task, costs=Costs(parts.config, task, parts.measurer))


def _has_room(costs: Costs, policies: Sequence[Policy], numbers: Sequence[int]) -> bool:
    room = costs.room(policies)
    return room is None or costs.founding(policies, numbers) <= SHARE * room
