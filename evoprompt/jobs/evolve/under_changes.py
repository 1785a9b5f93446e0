"""What a run's policies are worth under changes that leave their meaning: measured once of each
policy that has met enough examples, written down, and counted in its fitness where that is asked
for.

What a policy is worth is a function of the policy and of how many examples count: on fewer than
`robustness.after` changes take nothing from anybody, so births are always compared by one measure,
and Price's terms stay exact. What changes take shows where the number grows, as a shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.choices import correct
from evoprompt.config.robustness import UnderChangesConfig
from evoprompt.errors import UserError, nearest
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.under_changes import Apply, Drop, drop_of
from evoprompt.jobs.evolve.measurement_lines import measurement_line, measurement_of
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import ANSWERS_ALONE, Weight
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, Evaluation, Example, LabelScores
from evoprompt.seeding import Stream, generator
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import Task
from evoprompt.tasks.blank import refuse_blank
from evoprompt.variation.perturbations import PERTURBATIONS, Sources, with_change

#: The phase of the ledger, and the traits: fitness under the worst change, and the share of
#: examples that are right under every one.
PHASE, TRAIT, RIGHT = "robustness", "under_changes", "accuracy_under_changes"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one policy is asked under changes."""

    prompts: Mapping[int, Policy]  #: by draw, those that change the prompt
    inputs: tuple[Example, ...]  #: of the prompt as it is, each draw's after the other's
    draws: tuple[int, ...]  #: whose inputs they are


class UnderChanges:
    """Measures what policies are worth under changes.

    Args:
        config: the section.
        task: with the fitness examples.
        measurer: of the run.
        fitness: what counts of an answer.
        apply: calibrates as the run does.
        seed: of the run; draw 3 is the same change for all its policies, as far as their texts
            allow it.
        examples: that are asked; by default the first fitness examples.
    """

    def __init__(
        self,
        config: UnderChangesConfig,
        task: Task,
        measurer: Measurer,
        fitness: Fitness,
        apply: Apply,
        seed: int,
        examples: Sequence[Example] | None = None,
    ) -> None:
        self.config = config
        self._examples = task.fitness[: config.examples] if examples is None else tuple(examples)
        self._fitness, self._apply, self._seed = fitness, apply, seed
        self._sources = sources_of(config, task)
        self._measurer = copy(measurer)  # which shares all else
        self._measurer.wanted = replace(ANSWERS_ALONE, prior=measurer.wanted.prior)
        self._measured: dict[str, dict[int, LabelScores]] = {}  #: by policy id and draw
        self._unwritten: list[str] = []
        self._asked: dict[str, Asked] = {}
        self._weights: dict[str, Weight] = {}
        self._drops: dict[str, tuple[int, Drop]] = {}  #: by the most examples so far

    def asked(self, policy: Policy) -> Asked:
        """Return what a policy is asked under changes."""
        if policy.policy_id not in self._asked:
            self._asked[policy.policy_id] = asked_of(
                policy, self._examples, self.config, self._sources, self._seed
            )
        return self._asked[policy.policy_id]

    def weigh(self, policy: Policy) -> Weight:
        """Return how much measuring a policy under changes forwards.

        Raises:
            UserError: a changed prompt is too long for the model, or cannot be tokenized.
        """
        if policy.policy_id not in self._weights:
            asked = self.asked(policy)
            given = [(p, self._examples) for p in asked.prompts.values()]
            given += [(policy, asked.inputs)] if asked.inputs else []
            found = [self._measurer.weigh(*each) for each in given]
            rows, logical = (sum(getattr(w, name) for w in found) for name in ("rows", "logical"))
            longest = max((w.longest for w in found), default=1)
            self._weights[policy.policy_id] = Weight(rows, longest, logical)
        return self._weights[policy.policy_id]

    def is_measured(self, policy: Policy) -> bool:
        """Return whether a policy was measured under changes."""
        return policy.policy_id in self._measured

    def is_due(self, num_examples: int) -> bool:
        """Return whether changes count of a policy on so many examples."""
        return num_examples >= self.config.after

    def measure(self, policies: Sequence[Policy], ledger: Ledger, phase: str = PHASE) -> None:
        """Measure the policies that were not measured yet."""
        new = [p for p in dict.fromkeys(policies) if p.policy_id not in self._measured]
        if not new:
            return
        changed = [p for own in new for p in self.asked(own).prompts.values()]
        scores = self._scored(list(dict.fromkeys(changed)), self._examples, ledger, phase)
        inputs = next((i for own in new if (i := self.asked(own).inputs)), ())
        scores_of_inputs = self._scored(new, inputs, ledger, phase) if inputs else {}
        num = len(self._examples)
        for policy in new:
            asked = self.asked(policy)
            found = {d: scores[p.policy_id] for d, p in asked.prompts.items()}
            for place, draw in enumerate(asked.draws):
                part = np.arange(place * num, (place + 1) * num)
                found[draw] = scores_of_inputs[policy.policy_id].at(part)
            self._measured[policy.policy_id] = dict(sorted(found.items()))
            self._unwritten.append(policy.policy_id)

    def _scored(
        self, policies: Sequence[Policy], examples: Sequence[Example], ledger: Ledger, phase: str
    ) -> dict[str, LabelScores]:
        found = self._measurer.measure(policies, examples, lambda _: None, ledger.timed)
        for _, count in found.values():
            ledger.count(phase, count)
        return {policy_id: scores for policy_id, (scores, _) in found.items()}

    def drop(self, policy_id: str, scores: LabelScores) -> Drop:
        """Return what changes take from a policy, calibrated by what was measured of it as it is;
        a draw that changes nothing of it leaves it as it is.
        """
        own = self._measured[policy_id]
        as_it_is = [scores] if len(own) < self.config.draws else []
        found = drop_of(scores, [*own.values(), *as_it_is], self._apply, self._judge)
        num = len(scores.example_ids)
        if num >= self._drops.get(policy_id, (0, None))[0]:
            self._drops[policy_id] = num, found
        return found

    def _judge(self, scores: LabelScores) -> tuple[Floats, Floats]:
        cases = np.asarray(self._fitness.kind.cases(scores), dtype=np.float64)[0]
        return cases, correct(scores, self._fitness.comparison)[0].astype(np.float64)

    def taken(self, policy_id: str) -> float:
        """Return what is taken off a policy's fitness, by all that the search measured of it."""
        return round(self.config.weight * self._drops[policy_id][1].fitness, FITNESS_DIGITS)

    def counted(
        self,
        policy_id: str,
        scores: LabelScores,
        calibrated: LabelScores,
        evaluation: Evaluation,
    ) -> Evaluation:
        """Return what a policy is worth, with what it is worth under changes: as a trait, and in
        its fitness; on too few examples for changes, what it is worth as it is.

        Args:
            policy_id: of the policy.
            scores: of it as it is, uncalibrated.
            calibrated: the same, calibrated.
            evaluation: without changes.
        """
        if not self.is_due(len(scores.example_ids)):
            right = float(correct(calibrated, self._fitness.comparison)[0].mean())
            now = {TRAIT: evaluation.fitness, RIGHT: round(right, FITNESS_DIGITS)}
            return replace(evaluation, traits={**evaluation.traits, **now})
        drop = self.drop(policy_id, scores)
        taken = round(self.config.weight * drop.fitness, FITNESS_DIGITS)
        fitness = round(evaluation.fitness - taken, FITNESS_DIGITS)
        cases = tuple(round(c - taken, FITNESS_DIGITS) for c in evaluation.case_fitness)
        worst = round(evaluation.fitness - drop.fitness, FITNESS_DIGITS)
        right = round(drop.accuracy, FITNESS_DIGITS)
        traits = {**evaluation.traits, "fitness": fitness, TRAIT: worst, RIGHT: right}
        return replace(evaluation, fitness=fitness, case_fitness=cases, traits=traits)

    def finish(
        self, policies: Sequence[Policy], scores: Mapping[str, LabelScores], ledger: Ledger
    ) -> list[dict[str, Any]]:
        """Measure the finalists that were not measured yet; return of each what changes take, as
        `finalists_under_changes.jsonl` has it.

        Args:
            policies: the finalists.
            scores: of each as it is, uncalibrated, by policy id.
            ledger: counts the work.
        """
        self.measure(policies, ledger)
        found = []
        for policy_id in (p.policy_id for p in policies):
            drop = self.drop(policy_id, scores[policy_id])
            values = {"drop": drop.fitness, RIGHT: drop.accuracy}
            rounded = {k: round(v, FITNESS_DIGITS) for k, v in values.items()}
            found.append({"policy_id": policy_id, "draws": self.config.draws, **rounded})
        return found

    def learned(self, policy: Policy, ledger: Ledger, phase: str) -> tuple[LabelScores, ...]:
        """Measure a policy, unless it was; return its scores under each draw that changes something
        of it, with the examples' own ids.
        """
        self.measure([policy], ledger, phase)
        ids = tuple(e.example_id for e in self._examples)
        found = self._measured[policy.policy_id].values()
        return tuple(replace(scores, example_ids=ids) for scores in found)

    def take_lines(self) -> list[dict[str, Any]]:
        """Return what was measured since the last time, as `under_changes.jsonl` has it."""
        found = []
        for policy_id in self._unwritten:
            draws = {str(d): measurement_line(s) for d, s in self._measured[policy_id].items()}
            found.append({"policy_id": policy_id, "draws": draws})
        self._unwritten.clear()
        return found

    def recall(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Remember what an earlier part of the run measured."""
        for row in rows:
            draws = {int(draw): measurement_of(line) for draw, line in row["draws"].items()}
            self._measured[row["policy_id"]] = draws


def asked_of(
    policy: Policy,
    examples: Sequence[Example],
    config: UnderChangesConfig,
    sources: Sources,
    seed: int,
) -> Asked:
    """Return what a policy is asked under the draws, of which each source has its turn. A draw that
    changes nothing asks nothing.
    """
    prompts: dict[int, Policy] = {}
    inputs: list[Example] = []
    draws: list[int] = []
    for draw in range(config.draws):

        def rng(place: int, *number: int, draw: int = draw) -> np.random.Generator:
            return generator(seed, Stream.CHANGES, place, draw, *number)

        name = config.sources[draw % len(config.sources)]
        made = with_change(name, policy, examples, sources, rng)
        if made is None:
            continue
        changed, asked = made
        if changed != policy:
            prompts[draw] = changed
        elif asked != tuple(examples):
            draws.append(draw)
            inputs += [replace(e, example_id=f"{e.example_id}|{draw}") for e in asked]
    return Asked(prompts, tuple(inputs), tuple(draws))


def sources_of(config: UnderChangesConfig, task: Task) -> Sources:
    """Return what the changes of a run draw from."""
    return Sources(
        task.materials(0),
        config.paraphrases,
        config.label_synonyms or task.label_words,
        config.label_descriptions,
    )


def check_changes(config: UnderChangesConfig, task: Task, fitness: Fitness, blank: Any) -> None:
    """Refuse changes that cannot be measured in a run.

    Raises:
        UserError: a source is unknown, words are given for what is no choice, answers are written,
            or the task has a blank.
    """
    refuse_blank(blank, "robustness looks at")
    for name in config.sources:
        if name not in PERTURBATIONS:
            raise UserError(f"robustness.sources has '{name}'; {nearest(name, PERTURBATIONS)}")
    if fitness.needs_answers:
        raise UserError(
            f"robustness compares likelihoods under changes, and with fitness.kind "
            f"'{fitness.name}' answers are written; take a likelihood, or leave robustness out"
        )
    known = {c for offer in task.offers for c in offer}
    for key in ("label_synonyms", "label_descriptions"):
        for choice in getattr(config, key):
            if choice not in known:
                raise UserError(
                    f"robustness.{key} names '{choice}', which is no choice of task "
                    f"'{task.name}'; its choices are {', '.join(sorted(known))}"
                )
