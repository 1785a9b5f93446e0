"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from evoprompt.dynamics.population import Births
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
    births: Births | None = None  #: of the last generation
    residual_max: float = 0.0  #: the greatest absolute residual of Price's parts so far

    def index(self) -> dict[str, int]:
        """Return the place of each birth of the last generation, by birth id."""
        return {name: i for i, name in enumerate(self.births.birth_ids)} if self.births else {}

    def ranked(self) -> list[Policy]:
        """Return every policy that was scored, the fittest first; ties in order of id."""
        order = sorted(self.evaluations, key=lambda p: (-self.evaluations[p].fitness, p))
        return [self.policies[p] for p in order]
