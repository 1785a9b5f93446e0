"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evoprompt.config.evolution import SelectionConfig, StopConfig
from evoprompt.dynamics.account import GenerationAccount, PriceAccount
from evoprompt.dynamics.cases import Cases
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births
from evoprompt.evolution.headroom import has_ceased
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.record import ParentSelection
from evoprompt.policy import Policy
from evoprompt.records import RESTART, Brood, Evaluation, LabelScores
from evoprompt.selection.base import Expectation
from evoprompt.selection.elites import Archive, archive_of
from evoprompt.store.ledger import Ledger

#: Price's parts must add up to this, relative to the trait's greatest value or 1.
RESIDUAL_LIMIT = 1e-12


@dataclass(slots=True)
class Journal:
    """The run's memory. All of it can be read back from the run folder."""

    folder: EvolveFolder
    ledger: Ledger
    #: a policy, and its scores on the first examples -> what it is worth there
    interpret: Callable[[Policy, LabelScores], tuple[Evaluation, Cases]]
    policies: dict[str, Policy] = field(default_factory=dict)  #: by policy id
    #: by policy id, in order of measurement, on the first examples: nothing is scored twice
    scores: dict[str, LabelScores] = field(default_factory=dict)
    #: by policy id, of all that was measured of it
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    unwritten: list[LabelScores] = field(default_factory=list)  #: since the last commit
    #: the fittest member after each generation, by policy id
    bests: list[str] = field(default_factory=list)
    begun: int = 0  #: the generation at which the population was begun, or begun anew
    history: History = field(default_factory=History)  #: the dynamics so far
    least: float | None = None  #: the fitness of the worst founder on the first examples
    residual_max: float = 0.0  #: the greatest absolute residual of Price's parts so far
    _worth: dict[tuple[str, int], tuple[Evaluation, Cases]] = field(default_factory=dict)

    def enter(self, policy: Policy, scores: LabelScores) -> None:
        """Remember the scores of a policy on the examples that follow those it was measured on."""
        policy_id = policy.policy_id
        known = self.scores.get(policy_id)
        self.policies[policy_id] = policy
        self.scores[policy_id] = scores if known is None else known.joined(scores)
        self.unwritten.append(scores)
        self.evaluations[policy_id] = self.worth(policy_id, self.num_measured(policy))[0]

    def num_measured(self, policy: Policy) -> int:
        """Return on how many examples a policy was measured."""
        known = self.scores.get(policy.policy_id)
        return 0 if known is None else len(known.example_ids)

    def worth(self, policy_id: str, num: int) -> tuple[Evaluation, Cases]:
        """Return what a policy is worth on the first `num` examples, and by example."""
        key = policy_id, num
        if key not in self._worth:
            policy, scores = self.policies[policy_id], self.scores[policy_id].first(num)
            self._worth[key] = self.interpret(policy, scores)
        return self._worth[key]

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
        how, again = None, self._parents_again(births)
        births = self.history.with_parents(births, again)
        if chances is None:
            account = self.history.add(births, self.cases_on)
            how = ParentSelection(None, "not known", None, 0, again) if again else None
        else:
            p, filling, num = chances.probability.tolist(), chances.filling, chances.num
            how = ParentSelection(p, chances.how, filling, num, again or None)
            account = self.history.add(births, self.cases_on, p, filling=filling, num_slots=num)
        self._check_price(births, account.price)
        fitness = np.where(births.selected, births.trait("fitness"), -np.inf)
        if births.is_operator(RESTART).any():
            self.begun = len(self.bests)
        if self.least is None:
            self.least = float(births.first.trait("fitness").min())
        self.bests.append(births.policy_ids[int(fitness.argmax())])
        return account, how

    def archive(self, births: Births, survival: SelectionConfig) -> Archive | None:
        """Return what the cells hold after a generation that is explained; None where they do not
        decide who survives.
        """
        if survival.method != "map_elites" or self.least is None:
            return None
        columns = births.traits[births.selected].T
        return archive_of(
            dict(zip(births.trait_names, columns, strict=True)), survival.cells, self.least
        )

    def has_ceased(self, stop: StopConfig) -> bool:
        """Return whether the best member gains nothing more (`evolution.headroom.has_ceased`)."""
        if not stop.patience:
            return False
        last = self.bests[-1 - stop.patience :]
        num = min((self.num_measured(self.policies[p]) for p in last), default=0)
        cases = [self.cases_on(p, num)["fitness"] for p in last]
        return has_ceased(cases, stop.patience, stop.smallest_gain)

    def has_stagnated(self, patience: int) -> bool:
        """Return whether the best member has gained nothing over so many generations of the
        population as it was begun, on the examples that both bests met; never with 0.
        """
        last = self.bests[self.begun :][-1 - patience :]
        if not patience or len(last) <= patience:
            return False
        before, now = self.policies[last[0]], self.policies[last[-1]]
        return self.best_of([before, now]) is before

    def _parents_again(self, births: Births) -> dict[str, Mapping[str, float]]:
        """Return the traits of parents, by birth id, on the examples that all births were measured
        on, where the lineage does not tell them: none of their children is themselves.
        """
        num, lost = births.first.examples, self.history.unknown_parents(births)
        return (
            {}
            if num is None
            else {name: self.worth(policy, num)[0].traits for name, policy in lost.items()}
        )

    def cases_on(self, policy_id: str, num: int | None) -> Cases:
        """Return the traits of a policy that are means over examples, on the first `num`, shape
        (example,) each; None stands for all.
        """
        known = len(self.scores[policy_id].example_ids)
        return self.worth(policy_id, known if num is None else num)[1]

    def ranked(self) -> list[Policy]:
        """Return every policy that was measured on the most examples, the fittest first; ties in
        order of id.
        """
        most = max(map(self.num_measured, self.policies.values()), default=0)
        found = {
            p: self.evaluations[p].fitness
            for p, policy in self.policies.items()
            if self.num_measured(policy) == most
        }
        return [self.policies[p] for p in sorted(found, key=lambda p: (-found[p], p))]

    def compared(self) -> dict[Policy, float]:
        """Return the fitness of every policy that was scored, on the examples that all of them were
        measured on.
        """
        num = min(map(self.num_measured, self.policies.values()))
        return {policy: self.worth(p, num)[0].fitness for p, policy in self.policies.items()}

    def best_of(self, policies: Sequence[Policy]) -> Policy:
        """Return the fittest of these on the examples that all of them were measured on; the first
        of those that tie.
        """
        num = min(map(self.num_measured, policies))
        return max(policies, key=lambda p: self.worth(p.policy_id, num)[0].fitness)

    def _check_price(self, births: Births, price: Mapping[str, PriceAccount]) -> None:
        for name, terms in price.items():
            scale = max(1.0, float(np.abs(births.trait(name)).max()))
            if abs(terms.residual) > RESIDUAL_LIMIT * scale:
                raise ArithmeticError(
                    f"Price's parts of '{name}' leave {terms.residual:.3g} in generation "
                    f"{births.generation}; please report this"
                )
            self.residual_max = max(self.residual_max, abs(terms.residual))
