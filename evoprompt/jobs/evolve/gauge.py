"""What a brood is worth: measured on the first few fitness examples, then the better ones on more,
and never more than the budget has room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.evolution.islands import rival_of
from evoprompt.evolution.racing import Rule, going_on, rule_of
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.measurement.measure import Measurer
from evoprompt.policy import Policy
from evoprompt.records import (
    FITNESS_DIGITS,
    RESTART,
    SURVIVE,
    Brood,
    Evaluation,
    Example,
    LabelScores,
    Member,
    Rung,
    State,
    TokenCount,
)
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import label_shares


class Watcher(Protocol):
    """Who is told of what is measured."""

    def phase(self, name: str, num_policies: int) -> None:
        """Scoring of this many policies begins."""

    def scored(self, count: TokenCount) -> None:
        """A policy has been scored."""


def measure(
    measurer: Measurer,
    policies: Sequence[Policy],
    examples: Sequence[Example],
    ledger: Ledger,
    phase: str,
    watcher: Watcher,
) -> dict[str, LabelScores]:
    """Return each policy's scores by policy id; the work is counted in the ledger under a phase."""
    measured = measurer.measure(policies, examples, watcher.scored, ledger.timed)
    for _, count in measured.values():
        ledger.count(phase, count)
    return {policy_id: scores for policy_id, (scores, _) in measured.items()}


def rungs_of(parts: Parts, num: int) -> tuple[int, ...]:
    """Return on how many examples a generation that ends with `num` measures its births."""
    return rule_of(parts.config.evolution.racing, parts.fitness).rungs(num)


class Gauge:
    """Measures a run's policies on the fitness examples, the first ones first."""

    def __init__(self, parts: Parts, journal: Journal, watcher: Watcher) -> None:
        self._parts = parts
        self._journal = journal
        self._watcher = watcher
        self._rule: Rule = rule_of(
            parts.config.evolution.racing, parts.fitness if parts.is_plain else None
        )
        labels = [e.target for e in parts.task.fitness]
        self._groups = labels if label_shares(parts.task.fitness) else None

    def again(self, state: State, num: int) -> State:
        """Return the state with its members measured on `num` examples, if that is more."""
        policies = [m.birth.policy for m in state.members]
        self.raise_to(policies, num, f"generation {state.generation} again")
        found = (self._journal.worth(p.policy_id, num)[0] for p in policies)
        members = (Member(m.birth, e) for m, e in zip(state.members, found, strict=True))
        return replace(state, members=tuple(members))

    def race(self, brood: Brood, numbers: Sequence[int], state: State | None) -> list[Evaluation]:
        """Return what each birth is worth on the last number of examples that it was measured on.

        Those that survive from the generation before are measured on all numbers already, and those
        of a restart are at once; the others go on from one number to the next while the rule keeps
        them.
        """
        policies = dict.fromkeys(b.policy for b in brood.births)
        again = [b.policy for b in brood.births if b.operator == RESTART]
        self.raise_to(again, numbers[-1], f"generation {brood.generation}, restart")
        known = {b.policy for b in brood.births if b.operator in (SURVIVE, RESTART)} | {
            m.birth.policy for m in (state.members if state else ())
        }
        alive = [p for p in policies if p not in known]
        num_born, reached = len(alive), dict.fromkeys(policies, numbers[-1])
        for num, further in zip(numbers, (*numbers[1:], None), strict=True):
            self.raise_to(alive, num, _phase(brood.generation, num, numbers))
            if further is None:
                break
            kept = self._kept(alive, num, numbers[-1], state, num_born, brood.generation)
            reached |= {p: num for p in alive if p not in kept}
            alive = [p for p in alive if p in kept]
        return [self._evaluation(b.policy, numbers, reached[b.policy]) for b in brood.births]

    def _kept(
        self,
        alive: Sequence[Policy],
        num: int,
        last: int,
        state: State | None,
        num_born: int,
        generation: int,
    ) -> set[Policy]:
        if not alive:
            return set()
        rival = rival_of(state, self._parts.strategy) if state is not None else None
        cases = np.stack([self._cases(p.policy_id, num) for p in alive])
        keeps = self._rule.keeps(
            cases,
            None if rival is None else self._cases(rival.birth.policy.policy_id, num),
            last,
            num_births=num_born,
            generation=max(1, generation),
            groups=None if self._groups is None else self._groups[:last],
        )
        means = cases.mean(axis=1)
        best = sorted(
            np.flatnonzero(keeps).tolist(), key=lambda i: -round(means[i], FITNESS_DIGITS)
        )
        # of those that tie, no more than there is room for
        return {alive[i] for i in best[: going_on(self._rule.config, len(alive))]}

    def _cases(self, policy_id: str, num: int) -> Floats:
        found, by_name = self._journal.worth(policy_id, num)
        cases = by_name["fitness"]
        if self._parts.strategy.bonus:
            cases = cases + self._parts.strategy.bonus * np.array(found.case_bonus)
        if self._rule.config.method != "certified":
            return cases
        # it promises something of what is measured, and the prior is another on more examples
        return cases + self._parts.handicap(self._journal.policies[policy_id], num)

    def _evaluation(self, policy: Policy, numbers: Sequence[int], last: int) -> Evaluation:
        """Return what a policy is worth on the last number, and what it was on those before."""
        found = self._journal.worth(policy.policy_id, last)[0]
        if len(numbers) == 1:
            return found
        reached = [n for n in numbers if n <= last]
        traits = (self._journal.worth(policy.policy_id, n)[0].traits for n in reached)
        return replace(found, rungs=tuple(Rung(n, t) for n, t in zip(reached, traits, strict=True)))

    def raise_to(self, policies: Sequence[Policy], num: int, phase: str) -> None:
        """Measure policies on the examples that they lack of the first `num`."""
        journal = self._journal
        lacking: dict[int, list[Policy]] = {}
        for policy in policies:
            begin = journal.num_measured(policy)
            if begin < num:
                lacking.setdefault(begin, []).append(policy)
        if not lacking:
            return
        self._watcher.phase(phase, sum(map(len, lacking.values())))
        for begin, some in sorted(lacking.items()):
            examples = self._parts.task.fitness[begin:num]
            found = measure(
                self._parts.measurer, some, examples, journal.ledger, "search", self._watcher
            )
            if not journal.policies:
                self._parts.calibrator.settle(list(found.values()))
                self._parts.calibrator.record(journal.folder)
            self._look(some, num)
            for policy in some:
                journal.enter(policy, found[policy.policy_id])

    def _look(self, policies: Sequence[Policy], num: int) -> None:
        """Measure what policies do to auxiliary tasks, and what they are worth under changes where
        they have met enough examples, where the run looks, once of each.
        """
        effects, changes = self._parts.side_effects, self._parts.under_changes
        if changes is not None and changes.is_due(num):
            changes.measure(policies, self._journal.ledger)
        if effects is None:
            return
        effects.measure(policies, self._journal.ledger)
        if not effects.is_settled:
            founders = [p.policy_id for p in policies]
            start = self._parts.task.given_policies[0]
            effects.settle(start, founders, self._journal.folder)


def _phase(generation: int, num: int, numbers: Sequence[int]) -> str:
    more = f", {num} examples" if len(numbers) > 1 else ""
    return f"generation {generation}{more}"
