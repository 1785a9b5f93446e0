"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evoprompt.dynamics.population import Births, Floats
from evoprompt.policy import Policy
from evoprompt.records import Evaluation
from evoprompt.runtime.checkpoint import RunFolder
from evoprompt.runtime.ledger import Ledger


@dataclass(slots=True)
class Journal:
    """The run's memory. All of it can be read back from the run folder."""

    folder: RunFolder
    ledger: Ledger
    policies: dict[str, Policy] = field(default_factory=dict)  #: by policy id
    evaluations: dict[str, Evaluation] = field(default_factory=dict)  #: by policy id, in order of measurement: nothing is scored twice
    cases: dict[str, dict[str, Floats]] = field(default_factory=dict)  #: by policy id and trait: the trait by example, shape (example,)
    births: Births | None = None  #: of the last generation
    residual_max: float = 0.0  #: the greatest absolute residual of Price's parts so far

    def enter(self, policy: Policy, evaluation: Evaluation, cases: dict[str, Floats]) -> None:
        """Remember what a policy is worth."""
        self.policies[policy.policy_id] = policy
        self.evaluations[policy.policy_id] = evaluation
        self.cases[policy.policy_id] = cases

    @property
    def case_names(self) -> list[str]:
        """The traits that are means over examples; none where there is one example only, for then they have no standard error."""
        first = next(iter(self.cases.values()), {})
        return [name for name, values in first.items() if len(values) > 1]

    def cases_of(self, births: Births, name: str) -> Floats:
        """Return a trait of births by example, shape (birth, example)."""
        return np.stack([self.cases[policy_id][name] for policy_id in births.policy_ids])

    def index(self) -> dict[str, int]:
        """Return the place of each birth of the last generation, by birth id."""
        return {name: i for i, name in enumerate(self.births.birth_ids)} if self.births else {}

    def ranked(self) -> list[Policy]:
        """Return every policy that was scored, the fittest first; ties in order of id."""
        order = sorted(self.evaluations, key=lambda p: (-self.evaluations[p].fitness, p))
        return [self.policies[p] for p in order]
