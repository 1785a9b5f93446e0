"""What a search starts from: the starting policies as they were given, and as many sets of
demonstrations as the model's window and the budget have room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evoprompt.jobs.evolve.budget import Costs
from evoprompt.jobs.evolve.build import Parts
from evoprompt.policy import Policy


def with_start(parts: Parts, numbers: Sequence[int]) -> Parts:
    """Return the parts of a run that starts from what there is room for. The policies that were
    given stay, whatever they take.

    Args:
        parts: with all starting policies.
        numbers: of examples on which founders are measured, ascending.
    """
    task = parts.costs.fitting()
    kept = [p for p in task.starting_policies if p not in task.added]

    def costs_of(founders: Sequence[Policy]) -> Costs:
        return parts.costs.starting(replace(task, starting_policies=tuple(founders)), numbers)

    for policy in task.starting_policies:
        if policy not in kept and (not kept or costs_of([*kept, policy]).has_room):
            kept.append(policy)
    if left_out := set(task.starting_policies) - set(kept):
        why = (
            f"{len(left_out)} of {len(task.starting_policies)} starting policies are left out: the "
            f"budget has no room for the demonstrations that were added to them"
        )
        task = task.without(left_out, why)
    return replace(parts, task=task, costs=costs_of(task.starting_policies))
