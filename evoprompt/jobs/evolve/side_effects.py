"""What a run's policies do to auxiliary tasks: measured once of each policy, written down, and
taken off its fitness where that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.dynamics.population import Births
from evoprompt.errors import UserError
from evoprompt.fitness.side_effects import Change, change, mean_change, scale_of
from evoprompt.jobs.evolve.record import SideEffectsLine
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import ANSWERS_ALONE, Weight
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, Evaluation
from evoprompt.store.folder import PROVENANCE, RunFolder
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.auxiliary import Auxiliary, before

#: The key of `provenance.json`, the phase of the ledger and the trait.
KEY = "side_effects"
#: Log-likelihoods of right answers by auxiliary, nats, shape (prompt, example) each.
Measured = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Reference:
    """What changes are told from."""

    baseline: str  #: a policy id
    scales: Mapping[str, float]  #: by auxiliary, nats

    def changes(self, measured: Mapping[str, Measured], policy_id: str) -> dict[str, Change]:
        """Return how each auxiliary's utility changed under a policy, by name."""
        first = measured[self.baseline]
        return {
            name: change(values, first[name], self.scales[name])
            for name, values in measured[policy_id].items()
        }

    def mean(self, measured: Mapping[str, Measured], policy_id: str) -> Change:
        """Return the mean change over all auxiliaries under a policy."""
        return mean_change(list(self.changes(measured, policy_id).values()))


def reference_of(
    config: SideEffectsConfig, measured: Mapping[str, Measured], founders: Sequence[str]
) -> Reference:
    """Return the reference of a run by what was measured of its founders, the baseline first.

    Raises:
        UserError: the founders do not differ on an auxiliary, and no scale is given.
    """
    scales = {}
    for name in measured[founders[0]]:
        found = config.scale or round(
            scale_of([measured[p][name] for p in founders]), FITNESS_DIGITS
        )
        if not found > 0:
            raise UserError(
                f"side_effects: a change on '{name}' has no scale, for the {len(founders)} "
                "starting prompts do not differ there; give side_effects.scale in nats, or "
                "starting prompts that differ"
            )
        scales[name] = found
    return Reference(founders[0], scales)


class SideEffects:
    """Measures what policies do to auxiliary tasks, and takes it off their fitness.

    Args:
        config: the section.
        auxiliaries: whose examples are scored.
        measurer: of the run.
    """

    def __init__(
        self, config: SideEffectsConfig, auxiliaries: Sequence[Auxiliary], measurer: Measurer
    ) -> None:
        self.config = config
        self._auxiliaries = auxiliaries
        self._measurer = copy(measurer)  # which shares all else
        self._measurer.wanted, self._measurer.features = ANSWERS_ALONE, ()
        self._measured: dict[str, Measured] = {}
        self._unwritten: list[str] = []
        self._reference: Reference | None = None
        self._weights: dict[str, Weight] = {}
        self._changes: dict[str, Change] = {}

    def weigh(self, policy: Policy) -> Weight:
        """Return how much measuring a policy's side effects forwards.

        Raises:
            UserError: with an auxiliary it is too long for the model.
        """
        if policy.policy_id not in self._weights:
            found = [self._weigh(policy, each) for each in self._auxiliaries]
            rows, logical = (sum(getattr(w, n) for w in found) for n in ("rows", "logical"))
            longest = max(w.longest for w in found)
            self._weights[policy.policy_id] = Weight(rows, longest, logical)
        return self._weights[policy.policy_id]

    def _weigh(self, policy: Policy, auxiliary: Auxiliary) -> Weight:
        prompts = [before(policy, prompt) for prompt in auxiliary.prompts]
        try:
            found = [self._measurer.weigh(p, auxiliary.examples) for p in prompts]
        except UserError as error:
            raise UserError(f"before the auxiliary task '{auxiliary.name}': {error}") from None
        return Weight(
            sum(w.rows for w in found),
            max(w.longest for w in found),
            sum(w.logical for w in found),
        )

    def measure(self, policies: Sequence[Policy], ledger: Ledger) -> None:
        """Measure the policies that were not measured yet."""
        new = [p for p in policies if p.policy_id not in self._measured]
        found: dict[str, dict[str, Floats]] = {p.policy_id: {} for p in new}
        for auxiliary in self._auxiliaries:
            rows = [self._scored(new, prompt, auxiliary, ledger) for prompt in auxiliary.prompts]
            for policy in new:
                values = np.stack([row[policy.policy_id] for row in rows])
                found[policy.policy_id][auxiliary.name] = values.round(FITNESS_DIGITS)
        self._measured.update(found)
        self._unwritten.extend(found)

    def _scored(
        self, policies: Sequence[Policy], prompt: Policy, auxiliary: Auxiliary, ledger: Ledger
    ) -> dict[str, Floats]:
        """Return the log-likelihood of each right answer, nats, by policy id."""
        asked = {p.policy_id: before(p, prompt) for p in policies}
        found = self._measurer.measure(
            list(dict.fromkeys(asked.values())), auxiliary.examples, lambda _: None, ledger.timed
        )
        for _, count in found.values():
            ledger.count(KEY, count)
        return {
            policy_id: found[p.policy_id][0].of_gold(found[p.policy_id][0].log_likelihood)[0]
            for policy_id, p in asked.items()
        }

    def settle(self, baseline: Policy, founders: Sequence[str], folder: RunFolder) -> None:
        """Find what changes are told from by the founders, and write it down.

        Raises:
            UserError: as `reference_of`.
        """
        first = baseline.policy_id
        others = [p for p in dict.fromkeys(founders) if p != first]
        self._reference = reference_of(self.config, self._measured, [first, *others])
        folder.write(PROVENANCE, {**(folder.read(PROVENANCE) or {}), KEY: asdict(self._reference)})

    @property
    def is_settled(self) -> bool:
        """Whether the founders were measured."""
        return self._reference is not None

    def change_of(self, policy_id: str) -> Change:
        """Return the mean change over all auxiliaries under a policy.

        Raises:
            ValueError: the founders were not measured yet.
        """
        if self._reference is None:
            raise ValueError("side effects are told from those of the founders; measure them first")
        if policy_id not in self._changes:
            self._changes[policy_id] = self._reference.mean(self._measured, policy_id)
        return self._changes[policy_id]

    def penalty(self, policy_id: str) -> float:
        """Return what counts of it, in scales; never below 0, so that nobody gains by noise."""
        value = self.change_of(policy_id).of(self.config.variant)
        return max(0.0, round(value, FITNESS_DIGITS))

    def taken(self, policy_id: str) -> float:
        """Return what is taken off a policy's fitness."""
        return self.config.coefficient * self.penalty(policy_id)

    def counted(self, policy_id: str, evaluation: Evaluation) -> Evaluation:
        """Return what a policy is worth with its side effects: as a trait, and off its fitness.
        Where the coefficient rises, the penalty is the bonus of which selection gives back a part.
        """
        taken = self.taken(policy_id)
        fitness = round(evaluation.fitness - taken, FITNESS_DIGITS)
        cases = tuple(round(c - taken, FITNESS_DIGITS) for c in evaluation.case_fitness)
        traits = {**evaluation.traits, "fitness": fitness, KEY: self.penalty(policy_id)}
        found = replace(evaluation, fitness=fitness, case_fitness=cases, traits=traits)
        if self.config.until is None:
            return found
        return replace(found, case_bonus=(self.penalty(policy_id),) * len(cases))

    def line(self, births: Births, bonus: float) -> SideEffectsLine:
        """Return what is written down of a generation, in which selection added a unit of the bonus
        so often.
        """
        relief = 0.0 if self.config.until is None else bonus
        selected = [p for p, kept in zip(births.policy_ids, births.selected, strict=True) if kept]
        fitness = births.trait("fitness")[births.selected]
        mean = mean_change([self.change_of(p) for p in selected])
        penalties = [self.penalty(p) for p in selected]
        told = {name: round(value, FITNESS_DIGITS) for name, value in asdict(mean).items()}
        average = round(float(np.mean(penalties)), FITNESS_DIGITS)
        return SideEffectsLine(
            round(self.config.coefficient - relief, FITNESS_DIGITS),
            penalties[int(fitness.argmax())],
            average,
            **told,
        )

    def take_lines(self) -> list[dict[str, Any]]:
        """Return what was measured since the last time, as `side_effects.jsonl` has it."""
        found = [line_of(p, self._measured[p]) for p in self._unwritten]
        self._unwritten.clear()
        return found

    def recall(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Remember what an earlier part of the run measured."""
        self._measured.update(measured_of(rows))


def line_of(policy_id: str, measured: Measured) -> dict[str, Any]:
    """Return what was measured of a policy as `side_effects.jsonl` has it."""
    values = {name: rows.tolist() for name, rows in measured.items()}
    return {"policy_id": policy_id, "log_likelihood": values}


def measured_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Measured]:
    """Return what was measured, by policy id, of the lines of `side_effects.jsonl`."""
    return {
        row["policy_id"]: {name: np.array(v) for name, v in row["log_likelihood"].items()}
        for row in rows
    }
