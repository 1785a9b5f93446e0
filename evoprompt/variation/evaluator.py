"""Edits of the self-evaluation clause, which is a policy of the judging task and is edited like any
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.tasks.judge import evaluator_of
from evoprompt.variation.base import Need, policy_of
from evoprompt.variation.editors import evaluator_edits


@dataclass(frozen=True, slots=True)
class EvaluatorChange:
    """Edits the policy's evaluator by one operator, all that can do something to it equally likely.
    The package's clause is stored as none.
    """

    name: ClassVar[str] = "evaluator_change"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "evaluator"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EVALUATOR})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where the task has no judging task or no operator can do
        anything.
        """
        if materials.evaluator is None:
            return None
        edits = evaluator_edits()
        evaluator = evaluator_of(parents[0])
        for index in rng.permutation(len(edits)):  # the first in a random order that can
            changed = policy_of(edits[index].apply((evaluator,), materials.evaluator, rng))
            if changed is not None:
                bare = replace(parents[0], evaluator=None)
                return replace(bare, evaluator=changed if changed != evaluator_of(bare) else None)
        return None
