"""The strict schema of `evoprompt shots`, and its reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.reader import check_section, read_values
from evoprompt.config.sections import JobConfig, ModelConfig, WorkersConfig, with_absolute_paths
from evoprompt.config.shipped import config_file, refuse_other_kind
from evoprompt.config.task import TaskConfig
from evoprompt.config.values import Count, Few, FilePath
from evoprompt.jobs.evolve.config import with_absolute_model
from evoprompt.jobs.given import with_given

ContextKind = Literal["random", "balanced", "best_of", "evolved"]


class ShotsConfig(JobConfig):
    """A measurement of models on tasks by the number of demonstrations.

    Every prompt is the task's first starting policy with demonstrations of its pool. A draw is one
    sequence of demonstrations, and each number of them is its beginning. What is calibrated, and
    what is chosen, goes by the task's validation examples; all is reported on its test examples.
    """

    name: str = "shots"  #: of the folder and of what is tracked; default: that of the file
    #: names, folders or hub ids of models, instead of `model.name`; `model` has their settings
    models: tuple[str, ...] = ()
    tasks: tuple[TaskConfig, ...] = ()  #: several, instead of `task`
    #: of demonstrations
    numbers: Annotated[tuple[Count, ...], Field(min_length=1)] = (0, 1, 2, 4, 8, 16, 32)
    draws: Few = 3  #: sequences of each context
    #: how sequences are found: `random`; `balanced`, each label in turn; `best_of`, at each number
    #: the likeliest of several random ways to go on; `evolved`, those of a run's champion, with its
    #: own prompt, as far as they go
    contexts: Annotated[tuple[ContextKind, ...], Field(min_length=1)] = ("random", "balanced")
    best_of: Few = 8  #: ways to go on, compared on the validation examples
    #: folders of complete runs on these tasks, whose champions are the `evolved` contexts; where a
    #: task has several, the one with the same model is taken, else the first
    evolved_runs: tuple[FilePath, ...] = ()
    workers: WorkersConfig = WorkersConfig(
        backend="local"
    )  #: one sequence is scored at a time, so a fleet has no work for more than one worker

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.task is None) == (not self.tasks):
            raise ValueError("give either task, or tasks (a list of them)")
        for key in ("models", "numbers", "contexts"):
            values: Sequence[object] = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} has a value twice: {list(values)}; leave one out")
        if ("evolved" in self.contexts) != bool(self.evolved_runs):
            raise ValueError(
                "the context evolved takes evolved_runs (folders of complete runs), and these go "
                "with that context"
            )
        return self

    @property
    def all_tasks(self) -> tuple[TaskConfig, ...]:
        """The tasks, one or several."""
        return (self.task,) if self.task is not None else self.tasks

    @property
    def by_model(self) -> tuple[ShotsConfig, ...]:
        """The configuration of each model."""
        names = self.models or (self.model.name,)
        return tuple(self.of_model(name) for name in names)

    def of_model(self, name: str) -> ShotsConfig:
        """Return the configuration with this model alone."""
        return self.model_copy(
            update={"model": self.model.model_copy(update={"name": name}), "models": ()}
        )


def load_shots(path: Path, overrides: Iterable[str] = ()) -> ShotsConfig:
    """Return the checked configuration of a YAML file, or of one of the package by its name, with
    `dotted.key=value` overrides applied; paths are read from the file's folder.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value is not valid.
    """
    path = config_file(path, "shots")
    values = read_values(path, overrides)
    refuse_other_kind(values, path, "shots")
    config = check_section(ShotsConfig, values, str(path))
    folder = path.resolve().parent

    def placed(task: TaskConfig) -> TaskConfig:
        return with_given(with_absolute_paths(task, folder), folder)

    def named(model: str) -> str:
        return with_absolute_model(ModelConfig(name=model), folder).name

    return config.model_copy(
        update={
            "task": None if config.task is None else placed(config.task),
            "tasks": tuple(placed(task) for task in config.tasks),
            "model": with_absolute_model(config.model, folder),
            "models": tuple(named(name) for name in config.models),
            "numbers": tuple(sorted(config.numbers)),
            "evolved_runs": tuple((folder / run).resolve() for run in config.evolved_runs),
        }
    )
