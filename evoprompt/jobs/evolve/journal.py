"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from evoprompt.dynamics.account import GenerationAccount, PriceAccount
from evoprompt.dynamics.cases import Cases
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.record import ParentSelection
from evoprompt.policy import Policy
from evoprompt.records import Brood, Evaluation
from evoprompt.selection.base import Expectation
from evoprompt.store.ledger import Ledger

#: Price's parts must add up to this, relative to the trait's greatest value or 1.
RESIDUAL_LIMIT = 1e-12


@dataclass(slots=True)
class Journal:
    """The run's memory. All of it can be read back from the run folder."""

    folder: EvolveFolder
    ledger: Ledger
    policies: dict[str, Policy] = field(default_factory=dict)  #: by policy id
    #: by policy id, in order of measurement: nothing is scored twice
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    #: by policy id and trait: the trait by example, shape (example,)
    cases: dict[str, Cases] = field(default_factory=dict)
    history: History = field(default_factory=History)  #: the dynamics so far
    residual_max: float = 0.0  #: the greatest absolute residual of Price's parts so far

    def enter(self, policy: Policy, evaluation: Evaluation, cases: Cases) -> None:
        """Remember what a policy is worth."""
        self.policies[policy.policy_id] = policy
        self.evaluations[policy.policy_id] = evaluation
        self.cases[policy.policy_id] = cases

    def unscored(self, brood: Brood) -> list[Policy]:
        """Return the brood's policies that were never scored, each once."""
        policies = dict.fromkeys(birth.policy for birth in brood.births)
        return [policy for policy in policies if policy.policy_id not in self.evaluations]

    def explain(
        self, births: Births, chances: Expectation | None = None
    ) -> tuple[GenerationAccount, ParentSelection | None]:
        """Add a generation to the dynamics; return its account, and how likely each member of the
        one before was to be a parent, where that is known.

        Raises:
            ArithmeticError: Price's parts do not add up, which is a bug.
        """
        how = None
        if chances is None:
            account = self.history.add(births, self.cases_on)
        else:
            p, filling, num = chances.probability.tolist(), chances.filling, chances.num
            how = ParentSelection(p, chances.how, filling, num)
            account = self.history.add(births, self.cases_on, p, filling=filling, num_slots=num)
        self._check_price(births, account.price)
        return account, how

    def cases_on(self, policy_id: str, num: int | None) -> Cases:
        """Return the traits of a policy that are means over examples, on the first `num`, shape
        (example,) each; None stands for all.
        """
        return {name: values[:num] for name, values in self.cases[policy_id].items()}

    def ranked(self) -> list[Policy]:
        """Return every policy that was scored, the fittest first; ties in order of id."""
        order = sorted(self.evaluations, key=lambda p: (-self.evaluations[p].fitness, p))
        return [self.policies[p] for p in order]

    def _check_price(self, births: Births, price: Mapping[str, PriceAccount]) -> None:
        for name, terms in price.items():
            scale = max(1.0, float(np.abs(births.trait(name)).max()))
            if abs(terms.residual) > RESIDUAL_LIMIT * scale:
                raise ArithmeticError(
                    f"Price's parts of '{name}' leave {terms.residual:.3g} in generation "
                    f"{births.generation}; please report this"
                )
            self.residual_max = max(self.residual_max, abs(terms.residual))
