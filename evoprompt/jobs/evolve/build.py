"""Configuration -> parts: the only place that knows every part. A new operator is one line in `OPERATORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from evoprompt.backends.base import Executor, LocalExecutor, ModelInfo
from evoprompt.backends.shared import Shared
from evoprompt.config.sections import Config
from evoprompt.errors import UserError, nearest
from evoprompt.evolution.engine import Strategy
from evoprompt.fitness.traits import TraitFunction
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.state import Judged
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.author import ModelAuthor, author_of
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.scoring.load import load_scorer, open_memo
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.folder import SUMMARY, RunFolder
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import Task, default_policies
from evoprompt.tasks.judge import DEFAULT_EVALUATOR, check_judgements, judge_task
from evoprompt.tasks.load import load_task, policy_of, read_questions
from evoprompt.tasks.render import render_answer, render_input
from evoprompt.tracking.base import NullTracker, Tracker
from evoprompt.variation.base import Operator
from evoprompt.variation.demonstrations import DemonstrationAdd, DemonstrationDrop, DemonstrationReorder, DemonstrationSwap
from evoprompt.variation.edits import InstructionDelete, InstructionInsert, InstructionReplace, InstructionSwap, LabelWordChange, TemplateChange
from evoprompt.variation.evaluator import EvaluatorChange
from evoprompt.variation.recombine import UniformCrossover
from evoprompt.variation.steps import StepAdd, StepDrop
from evoprompt.variation.stuffing import ContextStuffing

#: Every operator with its default weight. Demonstrations are the strongest genes of small models, so they are drawn most. Those of weight 0
#: make the model write or measure more than scoring needs, and are asked for by name.
OPERATORS: tuple[tuple[Operator, float], ...] = (
    (DemonstrationAdd(), 3.0),
    (DemonstrationSwap(), 3.0),
    (DemonstrationDrop(), 1.0),
    (DemonstrationReorder(), 1.5),
    (InstructionInsert(), 0.5),
    (InstructionReplace(), 0.5),
    (InstructionDelete(), 0.5),
    (InstructionSwap(), 0.25),
    (LabelWordChange(), 1.5),
    (TemplateChange(), 1.0),
    (UniformCrossover(), 2.0),
    (StepAdd(), 0.0),
    (StepDrop(), 0.0),
    (EvaluatorChange(), 0.0),
    (ContextStuffing(), 0.0),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    config: Config
    task: Task
    model_folder: Path
    strategy: Strategy
    measurer: Measurer
    executor: Executor
    tracker: Tracker
    fitness_kind: str
    extra_traits: Mapping[str, TraitFunction] = field(default_factory=dict)  #: the user's own, by name
    author: ModelAuthor | None = None  #: writes demonstrations for an operator

    def fits(self, policy: Policy) -> bool:
        """Return whether a policy's longest prompt surely fits the model's window."""
        return self.measurer.fits(policy, self.task.fitness + self.task.validation + self.task.test)

    def close(self) -> None:
        """Give the workers back."""
        if self.author is not None:
            self.author.close()
        self.measurer.close()


@dataclass(frozen=True, slots=True)
class BoostParts:
    """What a loop is made of."""

    config: BoostConfig
    task: Task | None  #: what measures; None where nothing is known
    questions: tuple[Example, ...]  #: what the loop asks, in a fixed order; a target that is not known is empty
    policy: Policy  #: what answers, before any round
    evaluator: Policy  #: what judges
    measurer: Measurer
    writer: Writer
    executor: Executor
    tracker: Tracker

    def pair_tokens(self, judged: Judged) -> int:
        """Return how many tokens a pair takes in the context."""
        shown = render_input(self.policy, judged.input) + render_answer(self.policy, judged.answer) + self.policy.template.separator
        return len(self.measurer.tokenizer.encode([shown])[0])

    def question(self, judged: Judged) -> Example:
        """Return the question that was answered, with its label; that is for measuring alone."""
        return next(e for e in self.questions if e.example_id == judged.question_id)

    def close(self) -> None:
        """Give the workers back."""
        self.measurer.close()


def check_task(config: Config) -> tuple[Task, str]:
    """Return the task and the kind of fitness; everything that can be wrong with them is found here, before anything starts.

    Raises:
        UserError: as `load_task`, an operator is unknown, a trait cannot be imported, or the fitness does not go with the task.
    """
    task = load_task(config.task)
    names = [operator.name for operator, _ in OPERATORS]
    for name in config.evolution.operators:
        if name not in names:
            raise UserError(f"evolution.operators has no operator '{name}'; {nearest(name, names)}")
    extra_traits(config.traits.extra)
    kind = config.fitness.kind
    if kind == "auto":
        kind = "label_normalized" if task.has_choices else "per_token"
    if kind in ("label_normalized", "pmi") and not task.has_choices:
        raise UserError(
            f"fitness.kind '{kind}' compares choices, and task '{task.name}' has examples without; use per_token, per_byte, sum or accuracy"
        )
    if config.fitness.self_evaluation:
        if config.task.judge:
            raise UserError("with task.judge the policies are evaluators, and the fitness is their verdicts; leave fitness.self_evaluation out")
        check_judgements(task)
    return task, kind


def extra_traits(functions: Mapping[str, str]) -> dict[str, TraitFunction]:
    """Return the user's own traits by name, from "package.module:function" each.

    Raises:
        UserError: a module or function cannot be found.
    """
    found = {}
    for name, place in functions.items():
        module, _, attribute = place.partition(":")
        try:
            found[name] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise UserError(
                f"traits.extra.{name}: {place!r} cannot be imported ({error}); give package.module:function, and for a file in this folder "
                "run with PYTHONPATH=."
            ) from None
    return found


def strategy_of(config: Config, task: Task) -> Strategy:
    """Return the strategy of a configuration: the operators with a positive weight, and what they draw from."""
    weights = {o.name: config.evolution.operators.get(o.name, weight) for o, weight in OPERATORS}
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    if not weights:
        raise UserError("evolution.operators gives every operator the weight 0, so no child can be made")
    most = config.evolution.max_demonstrations
    evaluator = judge_task(task).materials(most) if EvaluatorChange.name in weights and not config.task.judge else None
    materials = replace(task.materials(most), evaluator=evaluator)
    return Strategy(config.evolution, {o.name: o for o, _ in OPERATORS if o.name in weights}, weights, materials)


def build(config: Config, runs: Path, shared: Shared | None = None, parent: str | None = None) -> Parts:
    """Return the parts of a run. The model is being loaded when this returns; the first use waits for it.

    Args:
        config: checked.
        runs: the folder that holds the MLflow store, where no other is set.
        shared: where workers and tokenizer come from; the run's own, which end with it, where there is none.
        parent: the MLflow run that this one is shown under.

    Raises:
        UserError: anything the user gave does not go together.
    """
    task, kind = check_task(config)
    strategy = strategy_of(config, task)
    folder = resolve_model(config.model.name, config.model.revision)
    executor = shared.executor(config) if shared else open_executor(config)
    tracker = open_tracker(config, runs, parent)  # after the executor: its imports would slow the start of Ray down
    tokenizer = shared.tokenizer(folder) if shared else Tokenizer(folder)
    writer, opener = Writer(tokenizer, executor), _memo_opener(config, folder, config.workers.threads)
    measurer = Measurer(
        tokenizer,
        executor,
        with_prior=kind == "pmi",
        with_prompt=config.traits.prompt_cross_entropy,
        with_verdicts=config.fitness.self_evaluation > 0,
        open_memo=opener,
        writer=writer,
    )
    author = None
    if ContextStuffing.name in strategy.weights:
        author = author_of(task, Measurer(tokenizer, executor, with_prior=False, open_memo=opener, writer=writer), writer)
        strategy = replace(strategy, materials=replace(strategy.materials, author=author))
    return Parts(config, task, folder, strategy, measurer, executor, tracker, kind, extra_traits(config.traits.extra), author)


def build_boost(config: BoostConfig, runs: Path) -> BoostParts:
    """Return the parts of a self-evaluation loop. The model is being loaded when this returns; the first use waits for it.

    Raises:
        UserError: anything the user gave does not go together.
    """
    task, questions, policy, evaluator = check_boost(config)
    folder = resolve_model(config.model.name, config.model.revision)
    executor = open_executor(config)
    tracker = open_tracker(config, runs)
    tokenizer = Tokenizer(folder)
    writer = Writer(tokenizer, executor)
    opener = _memo_opener(config, folder, config.workers.threads)
    measurer = Measurer(tokenizer, executor, with_prior=config.loop.answers == "pmi", open_memo=opener, writer=writer)
    return BoostParts(config, task, questions, policy, evaluator, measurer, writer, executor, tracker)


def check_boost(config: BoostConfig) -> tuple[Task | None, tuple[Example, ...], Policy, Policy]:
    """Return the task, the questions, what answers and what judges; everything that can be wrong with them is found here.

    Raises:
        UserError: as `load_task` and `read_questions`; a run has no champion; there are fewer questions than a round asks, or
            no choices to judge an answer against.
    """
    task = load_task(config.task) if config.task is not None else None
    questions = read_questions(config.questions) if config.questions is not None else (*task.pool, *task.fitness) if task is not None else ()
    if len(questions) < config.loop.batch:
        raise UserError(f"a round asks loop.batch={config.loop.batch} of {len(questions)} questions; give more questions or a smaller batch")
    examples = (*questions, *(task.test if task is not None else ()))
    if config.loop.judge == "rivals" and any(len(e.candidates) < 2 for e in examples):
        raise UserError("loop.judge=rivals compares an answer with the other choices, and there are examples without; take loop.judge=clause")
    if config.loop.measure_imitation and not any(e.target for e in questions):
        raise UserError("loop.measure_imitation shows questions with their right answers, and none of the questions has a target")
    if config.policy_run is not None:
        policy = champion_of(config.policy_run)
    elif config.policy is not None:
        policy = policy_of(config.policy)
    else:
        policy = task.starting_policies[0] if task is not None else default_policies(questions[0].choices)[0]
    if config.evaluator_run is not None:
        evaluator = champion_of(config.evaluator_run)
    else:
        evaluator = policy_of(config.evaluator) if config.evaluator is not None else policy.evaluator or DEFAULT_EVALUATOR
    return task, questions, policy, evaluator


def build_asker(config: Config | BoostConfig, answer_tokens: int) -> Asker:
    """Return what asks a configuration's model in this process, on all of its cores; without Ray and MLflow.

    Args:
        config: of a run or a loop.
        answer_tokens: written at most for an answer.
    """
    folder = resolve_model(config.model.name, config.model.revision)
    executor = LocalExecutor(load_scorer(config.model, None))
    tokenizer = Tokenizer(folder)
    writer = Writer(tokenizer, executor)
    with_prior = isinstance(config, BoostConfig) and config.loop.answers == "pmi"
    measurer = Measurer(tokenizer, executor, with_prior=with_prior, open_memo=_memo_opener(config, folder, None), writer=writer)
    return Asker(measurer, writer, Ledger(), answer_tokens=answer_tokens)


def champion_of(run: Path) -> Policy:
    """Return the champion of a complete run, or of a loop with the context that it ended with.

    Raises:
        UserError: there is no complete run.
    """
    summary = RunFolder.open(run).read(SUMMARY)
    if summary is None:
        raise UserError(f"the run in {run} is not complete, so it has no champion yet; go on with it: evoprompt resume {run}")
    return Policy.from_dict(summary["champion"]["policy"])


def _memo_opener(config: Config | BoostConfig, folder: Path, threads: int | None) -> Callable[[ModelInfo], Memo] | None:
    """Return what opens the memo once the model is loaded, or None where it is off."""

    def memo(info: ModelInfo) -> Memo:
        how = {"dtype": info.dtype, "device": info.device, "arithmetic": info.arithmetic, "path": info.path}
        return open_memo(folder, **how, chunk_tokens=info.chunk_tokens, threads=threads)

    return memo if config.model.memo else None


def open_tracker(config: Config | BoostConfig, runs: Path, parent: str | None = None) -> Tracker:
    """Return what tells MLflow of a run, if the configuration wants it told; its imports go on beside what follows."""
    if not config.tracking.enabled:
        return NullTracker()
    from evoprompt.tracking.mlflow import MlflowTracker

    return MlflowTracker(runs, config.tracking.experiment, parent)


def open_executor(config: Config | BoostConfig) -> Executor:
    """Return the workers of a configuration. Ray's load the model while the caller goes on."""
    if config.workers.backend == "ray":
        from evoprompt.backends.ray import RayFleet

        return RayFleet(config.model, config.workers)
    return LocalExecutor(load_scorer(config.model, config.workers.threads))
