"""Configuration -> parts: the only place that knows every part. A new operator is one line in `OPERATORS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from evoprompt.config import Config
from evoprompt.errors import UserError, nearest
from evoprompt.evolution.engine import Strategy
from evoprompt.fitness.traits import TraitFunction
from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.runtime.executor import Executor, LocalExecutor, ModelInfo
from evoprompt.runtime.measure import Measurer
from evoprompt.runtime.shared import Shared
from evoprompt.scoring.load import load_scorer, open_memo
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.tasks.base import Task
from evoprompt.tasks.render import render_input
from evoprompt.tasks.sources import load_task
from evoprompt.tracking.base import NullTracker, Tracker
from evoprompt.variation.base import Operator
from evoprompt.variation.demonstrations import DemonstrationAdd, DemonstrationDrop, DemonstrationReorder, DemonstrationSwap
from evoprompt.variation.edits import InstructionDelete, InstructionInsert, InstructionReplace, InstructionSwap, LabelWordChange, TemplateChange
from evoprompt.variation.recombine import UniformCrossover

#: Every operator with its default weight. Demonstrations are the strongest genes of small models, so they are drawn most.
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
)

#: Tokens by which a prompt may grow where its parts are joined; used only to refuse children that come near the window.
JOIN_SLACK = 16


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

    def fits(self, policy: Policy) -> bool:
        """Return whether a policy's longest prompt surely fits the model's window."""
        longest = max(self.task.fitness + self.task.validation + self.task.test, key=lambda e: len(e.input))
        parts = [render_input(policy, longest.input), *(" " + policy.word(c) for c in longest.candidates)]
        example, *answers = (len(ids) for ids in self.measurer.tokenizer.encode(parts))
        return self.measurer.prompt_tokens(policy) + example + max(answers) + JOIN_SLACK <= self.executor.info().window

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
    materials = Materials(
        phrases=task.phrases,
        demonstrations=task.demonstrations,
        templates=task.templates,
        label_words=task.label_words,
        max_demonstrations=config.evolution.max_demonstrations,
    )
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

    def memo(info: ModelInfo) -> Memo:
        how = {"dtype": info.dtype, "device": info.device, "arithmetic": info.arithmetic, "path": info.path}
        return open_memo(folder, **how, chunk_tokens=info.chunk_tokens, threads=config.workers.threads)

    measurer = Measurer(
        tokenizer,
        executor,
        with_prior=kind == "pmi",
        with_prompt=config.traits.prompt_cross_entropy,
        open_memo=memo if config.model.memo else None,
    )
    return Parts(config, task, folder, strategy, measurer, executor, tracker, kind, extra_traits(config.traits.extra))


def open_tracker(config: Config, runs: Path, parent: str | None = None) -> Tracker:
    """Return what tells MLflow of a run, if the configuration wants it told; its imports go on beside what follows."""
    if not config.tracking.enabled:
        return NullTracker()
    from evoprompt.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(runs, config.tracking.experiment, parent)


def open_executor(config: Config) -> Executor:
    """Return the workers of a configuration. Ray's load the model while the caller goes on."""
    if config.workers.backend == "ray":
        from evoprompt.runtime.fleet import RayFleet

        return RayFleet(config.model, config.workers)
    return LocalExecutor(load_scorer(config.model, config.workers.threads))
