"""What operators are told of the policies that were scored so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from evoprompt.evolution.engine import Strategy
from evoprompt.policy import Policy
from evoprompt.variation.base import Need, needs_of
from evoprompt.variation.credit import demonstration_credit


def informed(strategy: Strategy, scored: Callable[[], Mapping[Policy, float]]) -> Strategy:
    """Return the strategy with what its operators need to know of what was scored so far; the same
    where they need nothing.

    Args:
        strategy: any.
        scored: returns the fitness of every policy on the examples that all were scored on; asked
            only where it is needed, and in whatever order: what follows is the same.
    """
    if Need.CREDIT not in needs_of(strategy.operators.values()):
        return strategy
    known = scored()
    policies = sorted(known, key=lambda p: p.policy_id)
    credit = demonstration_credit(policies, [known[p] for p in policies])
    return replace(strategy, materials=replace(strategy.materials, credit=credit))
