"""What evaluators say of the right and of a wrong answer to each example. An evaluator is asked
about a set of examples once, whoever has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores
from evoprompt.tasks.judge import evaluator_of


class Verdicts:
    """Remembers verdicts by evaluator and examples."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...]], NDArray[np.float64]] = {}

    def due(self, policies: Sequence[Policy], examples: Sequence[Example]) -> dict[str, Policy]:
        """Return the evaluators that were not asked about these examples, by the id of the first
        policy that has each.
        """
        ids = tuple(e.example_id for e in examples)
        firsts: dict[Policy, str] = {}
        for policy in policies:
            firsts.setdefault(evaluator_of(policy), policy.policy_id)
        return {
            first: evaluator
            for evaluator, first in firsts.items()
            if (evaluator.policy_id, ids) not in self._known
        }

    def enter(
        self, policy: Policy, examples: Sequence[Example], verdict: NDArray[np.float64]
    ) -> None:
        """Remember the verdicts of a policy's evaluator on these examples, shape (1, example,
        answer, verdict).
        """
        ids = tuple(e.example_id for e in examples)
        self._known[evaluator_of(policy).policy_id, ids] = verdict

    def recall(self, policy: Policy, scores: LabelScores) -> None:
        """Remember the verdicts that were measured with a policy, if any were."""
        if scores.verdict is not None:
            self._known[evaluator_of(policy).policy_id, scores.example_ids] = scores.verdict

    def of(self, policy: Policy, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Return the verdicts of a policy's evaluator, shape (1, example, answer, verdict) as in
        `LabelScores`.
        """
        return self._known[evaluator_of(policy).policy_id, tuple(e.example_id for e in examples)]
