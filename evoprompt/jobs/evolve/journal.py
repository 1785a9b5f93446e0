"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.policy import Policy
from evoprompt.records import Evaluation
from evoprompt.store.ledger import Ledger


@dataclass(slots=True)
class Journal:
    """The run's memory. All of it can be read back from the run folder."""

    folder: EvolveFolder
    ledger: Ledger
    policies: dict[str, Policy] = field(default_factory=dict)  #: by policy id
    evaluations: dict[str, Evaluation] = field(
        default_factory=dict
    )  #: by policy id, in order of measurement: nothing is scored twice
    cases: dict[str, dict[str, Floats]] = field(
        default_factory=dict
    )  #: by policy id and trait: the trait by example, shape (example,)
    history: History = field(default_factory=History)  #: the dynamics so far
    residual_max: float = 0.0  #: the greatest absolute residual of Price's parts so far

    def enter(self, policy: Policy, evaluation: Evaluation, cases: dict[str, Floats]) -> None:
        """Remember what a policy is worth."""
        self.policies[policy.policy_id] = policy
        self.evaluations[policy.policy_id] = evaluation
        self.cases[policy.policy_id] = cases

    def cases_of(self, births: Births) -> dict[str, Floats]:
        """Return the traits that are means over examples of births by example, shape (birth,
        example) each.
        """
        names = next(iter(self.cases.values()), {})
        return {
            name: np.stack([self.cases[policy_id][name] for policy_id in births.policy_ids])
            for name in names
        }

    def ranked(self) -> list[Policy]:
        """Return every policy that was scored, the fittest first; ties in order of id."""
        order = sorted(self.evaluations, key=lambda p: (-self.evaluations[p].fitness, p))
        return [self.policies[p] for p in order]
