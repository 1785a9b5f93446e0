"""Configuration -> parts: the only place that knows every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from evoprompt.backends.base import Executor, Identity
from evoprompt.backends.open import open_model
from evoprompt.backends.shared import SharedModels
from evoprompt.dynamics.cases import Cases
from evoprompt.errors import UserError
from evoprompt.evolution.engine import Strategy
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.catalog import fitness_of, without_choices
from evoprompt.fitness.grading import title_of
from evoprompt.fitness.preference import Preference
from evoprompt.fitness.traits import (
    NAMED_STEPS,
    TraitFunction,
    case_traits,
    evaluate,
    extra_traits,
    lacks_labels,
)
from evoprompt.fitness.written import WrittenMetric
from evoprompt.jobs.evolve.answering import answering_of, check_metric, metric_of
from evoprompt.jobs.evolve.budget import Costs
from evoprompt.jobs.evolve.calibrator import (
    Calibrator,
    calibrator_of,
    reads_words,
    why_no_head,
    why_not,
)
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.preferring import check_feedback, features_in, preference_of
from evoprompt.jobs.evolve.side_effects import SideEffects
from evoprompt.jobs.evolve.under_changes import UnderChanges, check_changes
from evoprompt.jobs.evolve.weights import LAST, Beside
from evoprompt.jobs.evolve.writers import OPERATORS_KEY, Writers, drawn_of, with_writers
from evoprompt.measurement.features import feature_words
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import chats_of, memo_opener
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Chat, Policy
from evoprompt.records import FITNESS_DIGITS, Evaluation, LabelScores
from evoprompt.selection.select import scheme_of
from evoprompt.tasks.auxiliary import auxiliaries_of, shortfalls
from evoprompt.tasks.base import Task
from evoprompt.tasks.blank import refuse_blank
from evoprompt.tasks.judge import check_judgements, judge_task
from evoprompt.tasks.load import load_task
from evoprompt.tasks.order import in_order
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.open import open_tracker, opener_of
from evoprompt.variation.base import Need, needs_of


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    config: Config
    task: Task
    identity: Identity  #: what answers
    strategy: Strategy
    measurer: Measurer
    costs: Costs
    executor: Executor
    tracker: Courier
    fitness: Fitness
    #: the user's own, by name
    extra_traits: Mapping[str, TraitFunction] = field(default_factory=dict)
    author: Writers | None = None  #: who writes for operators; None where nobody does
    calibrator: Calibrator = field(default_factory=Calibrator)
    side_effects: SideEffects | None = None  #: None where nobody looks
    preference: Preference | None = None  #: by remarks of before; None: there are none
    under_changes: UnderChanges | None = None  #: None where nobody looks
    learned_changes: UnderChanges | None = None  #: that heads are fitted on too; None where none is

    @property
    def metric(self) -> str | None:
        """The metric that validation and test go by; None where it is the likelihood."""
        found = metric_of(self.config, self.fitness)
        return None if found is None else title_of(found[0])

    def handicap(self, policy: Policy, num_examples: int) -> float:
        """Return what was taken off a policy's fitness on so many examples before it was
        measured.
        """
        lacking = lacks_labels(policy, self.task.choices or ())
        return float(self.fitness.handicap(lacking, num_examples)) - (self.preferred(policy) or 0.0)

    def preferred(self, policy: Policy) -> float | None:
        """Return what is added to a policy's fitness for remarks of before; None without any."""
        if self.preference is None:
            return None
        return self.preference.of(features_in(policy, self.measurer, self.task))

    def interpret(self, policy: Policy, scores: LabelScores) -> tuple[Evaluation, Cases]:
        """Return what a policy is worth by its scores on the fitness examples, and its traits that
        are means over examples by example; each example calibrated by the others.
        """
        raw, scores = scores, self.calibrator.left_out(scores)
        tokens, labels = self.measurer.prompt_tokens(policy), self.task.choices or ()
        preferred = self.preferred(policy)
        evaluation = evaluate(
            policy, scores, self.fitness, tokens, labels, self.extra_traits, preferred
        )
        if self.side_effects is not None:
            evaluation = self.side_effects.counted(policy.policy_id, evaluation)
        if self.under_changes is not None:
            looked = self.under_changes
            evaluation = looked.counted(policy.policy_id, raw, scores, evaluation)
        cases = {
            name: values[0] for name, values in case_traits(scores, self.fitness.comparison).items()
        }
        if self.config.evolution.shaping.weight:
            bonus = tuple(cases[NAMED_STEPS].round(FITNESS_DIGITS).tolist())
            evaluation = replace(evaluation, case_bonus=bonus)
        return evaluation, {"fitness": np.array(evaluation.case_fitness)} | cases

    def taken(self, policy: Policy) -> float:
        """Return what a policy's side effects, and changes, take off its fitness."""
        looked = (self.side_effects, self.under_changes)
        return sum(each.taken(policy.policy_id) for each in looked if each is not None)

    @property
    def is_plain(self) -> bool:
        """Whether nothing that is measured beside the examples counts in the fitness."""
        effects, changes = self.config.side_effects, self.config.robustness
        beside = (effects and effects.coefficient) or (changes and changes.weight)
        return not beside and not self.config.evolution.shaping.weight

    def close(self) -> None:
        """Give the workers back."""
        if self.author is not None:
            self.author.close()
        self.measurer.close()


def check_task(config: Config) -> tuple[Task, Fitness]:
    """Return the task and the fitness; everything that can be wrong with them is found
    here, before anything starts.

    Raises:
        UserError: as `load_task` and `drawn_operators`, a scheme, a tracker, a fitness or a trait
            cannot be found, or the fitness does not go with the task.
    """
    task = load_task(config.task, seed=config.seed)
    drawn_of(config)
    scheme_of(config.evolution.parent_selection, "evolution.parent_selection.method")
    scheme_of(config.evolution.survival_selection, "evolution.survival_selection.method")
    opener_of(config)
    extra_traits(config.traits.extra)
    fitness = fitness_of(config.fitness, has_choices=task.has_choices)
    if fitness.needs_choices and not task.has_choices:
        what = "is of paths" if task.has_paths else "has examples without"
        kinds = [k for k in without_choices() if not (task.has_paths and k == WrittenMetric.name)]
        raise UserError(
            f"fitness.kind '{fitness.name}' compares the choices of an answer, and task "
            f"'{task.name}' {what}; use one of {', '.join(kinds)}"
        )
    if fitness.needs_verdicts:
        if config.task.judge:
            raise UserError(
                "with task.judge the policies are evaluators, and the fitness is their verdicts; "
                "leave fitness.self_evaluation out"
            )
        refuse_blank(config.task, "fitness.self_evaluation judges")
        check_judgements(task)
    if config.robustness is not None:
        check_changes(config.robustness, task, fitness, config.task)
    check_metric(config, task, fitness)
    check_feedback(config)
    if config.side_effects is not None:
        missing = shortfalls(auxiliaries_of(config.side_effects, task), config.side_effects)
        task = replace(task, notes=(*task.notes, *missing))
    task.check_chat(config.model.chat)
    reason = why_not(task, fitness)
    if config.robustness is not None and config.robustness.calibration_examples:
        why = why_no_head(config.fitness.calibration, task, fitness)
        if why is not None:
            raise UserError(
                "robustness.calibration_examples fits a head of words under changes, and there is "
                f"none: {why}; set fitness.calibration=head, or leave it out"
            )
    if config.fitness.calibration != "off" and reason is not None:
        note = f"answers are not calibrated: {reason}"
        task = replace(task, notes=(*task.notes, note))
    return task, fitness


def strategy_of(config: Config, task: Task, chats: Sequence[Chat] = ()) -> Strategy:
    """Return the strategy of a configuration: the operators with a positive weight, and what they
    draw from.
    """
    drawn = drawn_of(config)
    if not drawn:
        raise UserError(
            f"{OPERATORS_KEY} gives every operator the weight 0, so no child can be made"
        )
    operators = {operator.name: operator for operator, _ in drawn}
    weights = {operator.name: weight for operator, weight in drawn}
    materials = task.materials(config.evolution.max_demonstrations)
    if Need.EVALUATOR in needs_of(operators.values()) and not config.task.judge:
        judging = judge_task(task).materials(config.evolution.max_demonstrations)
        materials = replace(materials, evaluator=judging)
    founders = task.starting_policies
    if len(chats) > 1:
        materials = replace(materials, chats=tuple(chats))
    return Strategy(config.evolution, operators, weights, materials, tuple(founders))


def build(
    config: Config, runs: Path, shared: SharedModels | None = None, parent: str | None = None
) -> Parts:
    """Return the parts of a run. The model is being loaded when this returns; the first use waits
    for it.

    Args:
        config: checked.
        runs: the folder that holds the MLflow store, where no other is set.
        shared: where workers and tokenizer come from; the run's own, which end with it, where there
            is none.
        parent: the MLflow run that this one is shown under.

    Raises:
        UserError: anything the user gave does not go together.
    """
    task, fitness = check_task(config)
    if config.evolution.examples.first is not None or config.evolution.racing.method != "off":
        task = replace(task, fitness=in_order(task.fitness, config.seed))
    model = shared.open_model(config) if shared else open_model(config)
    task = task.rendered(chats := chats_of(config.model.chat, model.tokenizer)[0])
    strategy = strategy_of(config, task, chats)
    # after the executor: its imports would slow the start of Ray down
    tracker = open_tracker(config, runs, parent)
    writer, opener = Writer(model.tokenizer, model.executor), memo_opener(config, model.identity)
    words = feature_words(model.tokenizer) if reads_words(config.fitness.calibration) else ()
    answering = answering_of(config, fitness)
    calibrator = calibrator_of(config.fitness.calibration, task, fitness, words)
    measuring = partial(Measurer, model.tokenizer, model.executor, open_memo=opener, writer=writer)
    measurer = measuring(
        Wanted(
            prior=fitness.needs_prior or calibrator.needs_prior,
            prompt=config.traits.prompt_cross_entropy,
            verdicts=fitness.needs_verdicts,
            answers=answering if fitness.needs_answers else None,
            likelihood=not fitness.needs_answers or config.traits.likelihood,
        )
    )
    measurer.features = calibrator.words
    measurer.final_answers = None if fitness.needs_answers else answering
    strategy, writers = with_writers(strategy, config, task, fitness, writer, measuring)
    effects = side_effects_of(config, task, measurer)
    changes = under_changes_of(config, task, measurer, fitness, calibrator)
    return Parts(
        config,
        task,
        model.identity,
        strategy,
        measurer,
        Costs(config, task, measurer, beside=beside_examples(effects, *changes)),
        model.executor,
        tracker,
        fitness,
        extra_traits(config.traits.extra),
        writers,
        calibrator,
        effects,
        preference_of(config, task, measurer),
        *changes,
    )


def under_changes_of(
    config: Config, task: Task, measurer: Measurer, fitness: Fitness, calibrator: Calibrator
) -> tuple[UnderChanges | None, UnderChanges | None]:
    """Return what measures policies under changes, and what measures champion and baseline so for
    their heads; None where nobody looks, and where heads are fitted on prompts as they are.
    """
    section = config.robustness
    if section is None:
        return None, None
    given = section, task, measurer, fitness, calibrator.applied, config.seed
    examples = task.validation[: section.calibration_examples]
    return (
        UnderChanges(*given) if section.examples else None,
        UnderChanges(*given, examples) if examples else None,
    )


def beside_examples(
    effects: SideEffects | None,
    changes: UnderChanges | None,
    learned: UnderChanges | None = None,
) -> tuple[Beside, ...]:
    """Return what is measured of a policy beside its examples, and when."""
    found = [] if effects is None else [Beside(effects.weigh)]
    if changes is not None:
        found.append(Beside(changes.weigh, changes.config.after, changes.is_measured))
    if learned is not None:
        found.append(Beside(learned.weigh, LAST))
    return tuple(found)


def side_effects_of(config: Config, task: Task, measurer: Measurer) -> SideEffects | None:
    """Return what measures side effects; None where nobody looks.

    Raises:
        UserError: as `auxiliaries_of`.
    """
    if config.side_effects is None:
        return None
    return SideEffects(config.side_effects, auxiliaries_of(config.side_effects, task), measurer)
