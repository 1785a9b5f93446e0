"""A player: a population that is asked and told, and what is known of its members by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.evolution import engine
from evoprompt.evolution.engine import Strategy, named
from evoprompt.evolution.novelty import known_as
from evoprompt.jobs.curriculum.regions import Batch
from evoprompt.jobs.evolve.folder import state_dict, state_of
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, Brood, Evaluation, LineageEntry, State

#: The islands of the lineage on which the players live.
PROTAGONIST, ANTAGONIST = 0, 1
#: As many as the mean of all members counts for, where it is asked who did best in a region.
PRIOR_EXAMPLES = 8


@dataclass
class Player:
    """One population.

    Args:
        island: on which it lives: what it draws follows from that.
        strategy: how it evolves.
        state: the population to go on from; None: it has none yet.
        sums: of utilities by region that each member has had, by policy id, shape (region,).
        counts: of the examples that these are sums of.
        seen: what the policies of earlier rounds are known as.
    """

    island: int
    strategy: Strategy
    state: State | None = None
    sums: dict[str, Floats] = field(default_factory=dict)
    counts: dict[str, Floats] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def ask(self, fits: Callable[[Policy], bool]) -> Brood:
        """Return the brood of the next round: the members again, and their children; or the
        founders.
        """
        if self.state is None:
            brood = engine.found(self.strategy.founders)
            return replace(brood, island=self.island, births=named(brood.births, 0, self.island))
        matings = engine.ask(self.state, self.strategy)
        return engine.vary(self.state, matings, self.strategy, set(self.seen), fits)

    def tell(
        self,
        brood: Brood,
        utilities: Mapping[str, Floats],
        batch: Batch,
        weights: Floats,
        lengths: Mapping[str, int],
        seed: int,
    ) -> tuple[LineageEntry, ...]:
        """Take what the policies of a brood are worth on a batch, and let the fittest survive;
        return the lines of the lineage.

        Args:
            brood: that was asked for.
            utilities: of each example of the batch, by policy id, from 0 to 1.
            batch: the examples.
            weights: by which regions count in the fitness, which sum to 1.
            lengths: of prompts, tokens, by policy id.
            seed: of the job.
        """
        keys = [birth.policy.policy_id for birth in brood.births]
        worth = {}
        for key in dict.fromkeys(keys):
            parts = batch.by_region(utilities[key])
            self._add(key, parts)
            means = np.array([part.mean() if len(part) else 0.0 for part in parts])
            worth[key] = _evaluation(means, batch, weights, lengths[key])
        evaluations = [worth[key] for key in keys]
        self.seen |= {known_as(b.policy, self.strategy.config.novelty) for b in brood.births}
        self.state, entries = engine.tell(self.state, brood, evaluations, self.strategy, seed)
        self.state = replace(self.state, island=self.island)
        kept = {m.birth.policy.policy_id for m in self.state.members}
        self.sums = {key: self.sums[key] for key in kept}
        self.counts = {key: self.counts[key] for key in kept}
        return entries

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Of its members; none before the founders were told."""
        members = self.state.members if self.state is not None else ()
        return tuple(m.birth.policy for m in members)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values of a population."""
        assert self.state is not None
        rows = {k: [self.sums[k].tolist(), self.counts[k].tolist()] for k in sorted(self.sums)}
        return {**state_dict(self.state), "by_region": rows}

    def restored(self, values: Mapping[str, Any], lineage: Sequence[Policy]) -> Self:
        """Return the player of `to_dict`'s values, with all policies that it ever had."""
        rows = values["by_region"]
        self.state = state_of(values)
        self.sums = {k: np.array(row[0]) for k, row in rows.items()}
        self.counts = {k: np.array(row[1]) for k, row in rows.items()}
        self.seen = {known_as(p, self.strategy.config.novelty) for p in lineage}
        return self

    def _add(self, key: str, parts: Sequence[Floats]) -> None:
        """Add what a policy is worth on further examples, region by region."""
        zeros = np.zeros(len(parts))
        self.sums[key] = self.sums.get(key, zeros) + [part.sum() for part in parts]
        self.counts[key] = self.counts.get(key, zeros) + [len(part) for part in parts]


def _evaluation(means: Floats, batch: Batch, weights: Floats, length: int) -> Evaluation:
    """Return what a policy is worth: its mean by region, each region by its weight."""
    fitness = round(float(weights @ means), FITNESS_DIGITS)
    cases = tuple(round(float(m), FITNESS_DIGITS) for m in means[batch.drawn])
    traits = {"fitness": fitness, "prompt_tokens": float(length)}
    return Evaluation(fitness, cases, traits, len(batch.all))


def best_by_region(players: Sequence[Player], num: int) -> list[Policy]:
    """Return for each region the member of any player that did best there so far; where none was
    measured there, the fittest of the first player. What they do on examples to come is not chosen
    by.

    Means of few examples are drawn to the mean m of all members, as (sum + k m) / (count + k) with
    k = `PRIOR_EXAMPLES`, or who was born last would often be named by luck.
    """
    assert players[0].state is not None
    fittest = max(players[0].state.members, key=lambda m: m.evaluation.fitness).birth.policy
    found: list[Policy] = []
    for place in range(num):
        known: dict[Policy, tuple[float, float]] = {}
        for own in players:
            for policy in own.policies:
                key = policy.policy_id
                had = (float(own.counts[key][place]), float(own.sums[key][place]))
                known[policy] = max(known.get(policy, had), had)
        measured = {p: (count, total) for p, (count, total) in known.items() if count > 0}
        if not measured:
            found.append(fittest)
            continue
        mean = np.mean([total / count for count, total in measured.values()])
        worth = [
            (total + PRIOR_EXAMPLES * mean) / (count + PRIOR_EXAMPLES)
            for count, total in measured.values()
        ]
        found.append(list(measured)[int(np.argmax(worth))])
    return found
