"""The configuration of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from evoprompt.config.evolution import EvolutionConfig
from evoprompt.config.reader import check_section, read_values
from evoprompt.config.robustness import UnderChangesConfig
from evoprompt.config.sections import (
    BudgetConfig,
    FeedbackConfig,
    FinalConfig,
    FitnessConfig,
    JobConfig,
    ModelConfig,
    TraitsConfig,
    WriterConfig,
    with_absolute_paths,
)
from evoprompt.config.shipped import config_file, refuse_other_kind
from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.config.task import AUTO, TaskConfig
from evoprompt.jobs.given import with_given, with_own_metrics
from evoprompt.scoring.models import place_model

#: Of the task, what a search begins with where its configuration does not say: sets of
#: demonstrations beside the prompts that were given, without an instruction and of the shorter
#: examples, so that more of them are compared for the tokens.
START: Mapping[str, Any] = {
    "starting_demonstrations": [AUTO],
    "starting_sets_bare": True,
    "demonstration_inputs": "shorter",
}


class Config(JobConfig):
    """A whole run."""

    task: TaskConfig
    fitness: FitnessConfig = FitnessConfig()
    #: what was said of prompts, as a prior in the fitness; None: nothing
    feedback: FeedbackConfig | None = None
    traits: TraitsConfig = TraitsConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    writer: WriterConfig = WriterConfig()
    budget: BudgetConfig = BudgetConfig()
    final: FinalConfig = FinalConfig()
    #: what prompts do to other tasks; None: nobody looks
    side_effects: SideEffectsConfig | None = None
    #: what prompts are worth under changes that leave their meaning; None: nobody looks
    robustness: UnderChangesConfig | None = None

    @model_validator(mode="after")
    def _objectives_are_measured(self) -> Self:
        chosen = (self.evolution.parent_selection, self.evolution.survival_selection)
        wanted = {name for selection in chosen for name in selection.objectives}
        if "fluency" in wanted and not self.traits.prompt_cross_entropy:
            raise ValueError("the objective fluency needs traits.prompt_cross_entropy=true")
        if "under_changes" in wanted and not (self.robustness and self.robustness.examples):
            raise ValueError(
                "the objective under_changes needs the section robustness; robustness: {} takes "
                "its defaults"
            )
        return self

    @model_validator(mode="after")
    def _one_weight_moves(self) -> Self:
        rises = self.side_effects is not None and self.side_effects.until is not None
        if rises and self.evolution.shaping.weight:
            raise ValueError(
                "side_effects.until and evolution.shaping both change what selection adds in the "
                "course of a search; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _steps_are_said(self) -> Self:
        said = self.task.instructions
        if self.evolution.shaping.weight and said not in ("joint", "marginal"):
            raise ValueError(
                "evolution.shaping counts how likely the model says what the expert does next, and "
                f"task.instructions={said} leaves that out; give task.instructions joint or "
                "marginal, or evolution.shaping.weight 0"
            )
        if self.evolution.shaping.weight and self.task.instruction_draws and self.task.written:
            raise ValueError(
                "evolution.shaping needs the expert's own instruction of each move, which "
                "task.instruction_draws may leave out where task.written is true; leave one of "
                "the two out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _start(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        task = values.get("task")
        if isinstance(task, Mapping):
            return {**values, "task": {**START, **task}}
        if isinstance(task, TaskConfig):
            unset = {k: v for k, v in START.items() if k not in task.model_fields_set}
            return {**values, "task": task.model_copy(update=unset)}
        return values


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the checked configuration of a YAML file, or of one of the package by its name, with
    `dotted.key=value` overrides applied (values are YAML).

    Raises:
        UserError: the file is missing or not YAML (with its line), a key is unknown, or a value is
            not valid.
    """
    path = config_file(path, "run")
    values = read_values(path, overrides)
    refuse_other_kind(values, path, "run")
    config = check_config(values, str(path))
    folder = path.resolve().parent
    task = with_given(with_absolute_paths(config.task, folder), folder)
    fitness, final = with_own_metrics(task, config.fitness, config.final)
    return config.model_copy(
        update={
            "task": task,
            "fitness": fitness,
            "final": final,
            "model": with_absolute_model(config.model, folder),
            "writer": with_absolute_writer(config.writer, folder),
            "side_effects": with_absolute_effects(config.side_effects, folder),
            "feedback": with_absolute_feedback(config.feedback, folder),
        }
    )


def with_absolute_feedback(feedback: FeedbackConfig | None, folder: Path) -> FeedbackConfig | None:
    """Return a feedback section whose file means the same from anywhere."""
    if feedback is None:
        return None
    return feedback.model_copy(update={"path": (folder / feedback.path).resolve()})


def with_absolute_model(model: ModelConfig, folder: Path) -> ModelConfig:
    """Return a model whose folders (name, adapter) mean the same from anywhere."""
    placed = {"name": place_model(model.name, folder)}
    if model.adapter is not None:
        placed["adapter"] = place_model(model.adapter, folder)
    return model.model_copy(update=placed)


def with_absolute_writer(writer: WriterConfig, folder: Path) -> WriterConfig:
    """Return a writer whose model means the same from anywhere."""
    if writer.model is None or writer.chat:
        return writer
    return writer.model_copy(update={"model": place_model(writer.model, folder)})


def with_absolute_effects(
    config: SideEffectsConfig | None, folder: Path
) -> SideEffectsConfig | None:
    """Return the section with auxiliary tasks whose files mean the same from anywhere."""
    if config is None:
        return None
    from evoprompt.tasks.auxiliary import is_path

    tasks = (str((folder / t).resolve()) if is_path(t) else t for t in config.tasks)
    return config.model_copy(update={"tasks": tuple(tasks)})


def check_config(values: Mapping[str, Any], source: str) -> Config:
    """Return the configuration of plain values; `source` names them in errors."""
    return check_section(Config, values, source)
