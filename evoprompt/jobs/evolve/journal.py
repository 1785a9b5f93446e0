"""What a run remembers beside its state: all that was measured, and what it cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from evoprompt.config.evolution import SelectionConfig, StopConfig
from evoprompt.dynamics.account import GenerationAccount, PriceAccount
from evoprompt.dynamics.cases import Cases
from evoprompt.dynamics.follower import Follower
from evoprompt.dynamics.population import Births
from evoprompt.evolution.adaptation import LOOKED_BACK, RATES
from evoprompt.evolution.headroom import has_ceased
from evoprompt.evolution.novelty import known_as
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.folder import APPENDED, EvolveFolder
from evoprompt.jobs.evolve.measured import EVERY, LEAST_KEPT, Measured, View
from evoprompt.jobs.evolve.record import ParentSelection
from evoprompt.policy import Policy
from evoprompt.recent import Recent
from evoprompt.records import RESTART, Brood, Evaluation, LabelScores
from evoprompt.selection.base import Expectation
from evoprompt.selection.elites import Archive, archive_of
from evoprompt.store.ledger import Ledger

#: Price's parts must add up to this, relative to the trait's greatest value or 1.
RESIDUAL_LIMIT = 1e-12


class Journal:
    """The run's memory. All of it can be read back from the run folder; what was used last is kept,
    so a run may be longer than memory.

    Args:
        folder: of the run.
        ledger: what it has cost so far.
        interpret: a policy, and its scores on the first examples -> what it is worth there.
        known_as: a policy -> what it is looked up as among those that were measured.
        keep: policies that are kept in memory.
        patience: generations that the run looks back to judge whether its best still gains.
        gains: generations of which it remembers what births gained.
    """

    def __init__(
        self,
        folder: EvolveFolder,
        ledger: Ledger,
        interpret: Callable[[Policy, LabelScores], tuple[Evaluation, Cases]],
        *,
        known_as: Callable[[Policy], str] = attrgetter("policy_id"),
        keep: int = LEAST_KEPT,
        patience: int = 0,
        gains: int = 0,
    ) -> None:
        self.folder = folder
        self.ledger = ledger
        self.interpret = interpret
        self.known_as = known_as
        self.measured = Measured(folder.path, keep)
        self.policies = View(self.measured, self.measured.policy)  #: by policy id
        #: by policy id, in order of measurement, on the first examples: nothing is scored twice
        self.scores = View(self.measured, self.measured.scores)
        #: by policy id, of all that was measured of it
        self.evaluations = View(self.measured, self._evaluation)
        #: the fittest member after each of the last generations, by policy id
        self.bests: deque[str] = deque(maxlen=patience + 1)
        self.since = 0  #: generations since the population was begun, or begun anew
        self.history = Follower(gains)  #: the dynamics as they go
        self.least: float | None = None  #: the fitness of the worst founder on the first examples
        self.residual_max = 0.0  #: the greatest absolute residual of Price's parts so far
        self.longest_prompt = 0  #: tokens of the longest prompt before an input that was measured
        self.generation = -1  #: the last that is explained
        self._worth: Recent[tuple[str, int], tuple[Evaluation, Cases]] = Recent(
            4 * max(keep, LEAST_KEPT)
        )

    def enter(self, policy: Policy, scores: LabelScores) -> None:
        """Remember the scores of a policy on the examples that follow those it was measured on."""
        self.measured.enter(policy, scores, self.known_as(policy))
        evaluation = self._evaluation(policy.policy_id)
        self.measured.rate(policy.policy_id, evaluation.fitness)
        tokens = int(evaluation.traits.get("prompt_tokens", 0))
        self.longest_prompt = max(self.longest_prompt, tokens)

    @property
    def unwritten(self) -> Sequence[LabelScores]:
        """What was entered since the last commit."""
        return self.measured.unwritten

    def committed(self, places: Sequence[tuple[int, int]]) -> None:
        """Hear that all so far is committed, and where the lines of the measurements are; every so
        often, keep what a resume goes on from.
        """
        self.measured.written(places)
        if self.generation % EVERY == 0:
            self.keep()

    def _evaluation(self, policy_id: str) -> Evaluation:
        return self.worth(policy_id, self.measured.num_examples(policy_id))[0]

    def num_measured(self, policy: Policy) -> int:
        """Return on how many examples a policy was measured."""
        return self.measured.num_examples(policy.policy_id)

    def worth(self, policy_id: str, num: int) -> tuple[Evaluation, Cases]:
        """Return what a policy is worth on the first `num` examples, and by example."""

        def found() -> tuple[Evaluation, Cases]:
            policy, scores = self.policies[policy_id], self.scores[policy_id].first(num)
            return self.interpret(policy, scores)

        return self._worth.get((policy_id, num), found)

    def unscored(self, brood: Brood) -> list[Policy]:
        """Return the brood's policies that were never scored, each once."""
        policies = dict.fromkeys(birth.policy for birth in brood.births)
        return [policy for policy in policies if policy.policy_id not in self.policies]

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
            self.since = 0
        if self.least is None:
            self.least = float(births.first.trait("fitness").min())
        self.bests.append(births.policy_ids[int(fitness.argmax())])
        self.since += 1
        self.generation = births.generation
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
        last = list(self.bests)[-1 - stop.patience :]
        num = min((self.num_measured(self.policies[p]) for p in last), default=0)
        cases = [self.cases_on(p, num)["fitness"] for p in last]
        return has_ceased(cases, stop.patience, stop.smallest_gain)

    def has_stagnated(self, patience: int) -> bool:
        """Return whether the best member has gained nothing over so many generations of the
        population as it was begun, on the examples that both bests met; never with 0.
        """
        if not patience or self.since <= patience:
            return False
        last = list(self.bests)[-1 - patience :]
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
        known = self.measured.num_examples(policy_id) if num is None else num
        return self.worth(policy_id, known)[1]

    def ranked(self, limit: int | None = None) -> list[Policy]:
        """Return the policies that were measured on the most examples, the fittest first; ties in
        order of id; no more than `limit`.
        """
        return [self.policies[policy_id] for policy_id in self.measured.fittest(limit)]

    def compared(self) -> dict[Policy, float]:
        """Return the fitness of every policy that was scored, on the examples that all of them were
        measured on: for those who cannot do with less.
        """
        num = self.measured.least_examples
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

    def _snapshot(self) -> dict[str, Any]:
        sizes = {name: (self.folder.path / name).stat().st_size for name in APPENDED}
        return {
            "generation": self.generation,
            "sizes": sizes,
            "digests": self.folder.digests(sizes),
            "bests": list(self.bests),
            "since": self.since,
            "least": self.least,
            "residual_max": self.residual_max,
            "longest_prompt": self.longest_prompt,
            "history": self.history.to_dict(),
        }

    def recall(self, generation: int) -> Mapping[str, int]:
        """Go on from the last snapshot, where it is of the lines of this folder; return how much of
        each file it has, bytes. Else begin anew, at 0. `generation` is the last of the folder.
        """
        found = self.measured.recall()
        if found is not None and self.folder.digests(found["sizes"]) == found["digests"]:
            self.bests.extend(found["bests"])
            self.since, self.least = found["since"], found["least"]
            self.residual_max = found["residual_max"]
            self.longest_prompt = found["longest_prompt"]
            self.generation = found["generation"]
            self.history.resume(found["history"])
            sizes: dict[str, int] = found["sizes"]
            return sizes
        self.measured.begin_anew(on_disk=generation >= EVERY)
        return dict.fromkeys(APPENDED, 0)

    def keep(self) -> None:
        """Keep all so far for a resume; nothing of a run that is soon read again."""
        if self.generation >= EVERY:
            self.measured.save(self._snapshot())


def journal_of(parts: Parts, folder: EvolveFolder, ledger: Ledger) -> Journal:
    """Return the empty journal of a run; what it keeps follows from the configuration."""
    evolution = parts.config.evolution
    looks_back = evolution.surrogate.pool > 1 or evolution.adaptation.method in RATES
    return Journal(
        folder,
        ledger,
        parts.interpret,
        known_as=partial(known_as, novelty=evolution.novelty),
        keep=4 * (evolution.population + evolution.children) * evolution.islands.count,
        patience=max(evolution.stop.patience, evolution.restart.patience),
        gains=LOOKED_BACK if looks_back else 0,
    )
