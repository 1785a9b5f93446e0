"""The strict schema of `evoprompt curriculum`, and its reader."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.evolution import EvolutionConfig, RacingConfig, SelectionConfig
from evoprompt.config.reader import check_section, read_values
from evoprompt.config.sections import JobConfig, WorkersConfig, with_absolute_paths
from evoprompt.config.shipped import config_file, refuse_other_kind
from evoprompt.config.task import TaskConfig
from evoprompt.config.values import Count, Extent, Few, Positive, Section, Share, Tokens
from evoprompt.jobs.evolve.config import with_absolute_model
from evoprompt.jobs.given import with_given

Sampling = Literal["regret", "minimax", "uniform", "random"]


class RegionConfig(Section):
    """A region: examples that are drawn together, such as a difficulty of a generator or a cluster
    of data.
    """

    task: TaskConfig  #: whose examples they are; all have choices
    #: the targets: as the task has them (`own`); `shown` in the input, so that every prompt can
    #: have them; or `drawn` from the choices, so that none can
    answers: Literal["own", "shown", "drawn"] = "own"


class CurriculumConfig(JobConfig):
    """Prompts for several regions, with examples from where there is something to learn.

    The protagonist is a population. With `sampling: regret`, the antagonist is another, that keeps
    what is good in single regions; examples are drawn from where the best prompt of both is better
    than the protagonist's in the mean. The champion is the best prompt of both over all regions.
    """

    name: str = "curriculum"  #: of the folder and of what is tracked; default: that of the file
    #: by name, two or more
    regions: Annotated[dict[str, RegionConfig], Field(min_length=2)]
    #: what moves the weights of regions: `regret`, by how much the best prompt of both
    #: populations is better there than the protagonist's in the mean;
    #: `minimax`, by how bad the protagonist is there, without an antagonist. `uniform`: nothing,
    #: each round has all alike; `random`: nothing, each round has other regions
    sampling: Sampling = "regret"
    #: `hedge`: each round has examples of all regions, which count by weight; `exp3`: of `draws`
    #: regions, drawn by weight
    update: Literal["hedge", "exp3"] = "hedge"
    draws: Few = 2  #: of regions in a round, with exp3 and random
    #: by how much a unit of reward moves a log-weight; None: what the bound for `rounds` has
    rate: Extent | None = None
    rounds: Positive = 24  #: after the founders', unless the tokens end before
    #: that search and choice of all populations may take where nothing is shared
    tokens: Tokens | None = None
    examples: Few = 40  #: of a round, all regions together
    population: Few = 3  #: of each player, the births selected in each round
    children: Few = 6  #: of each player, the new births of each round
    max_demonstrations: Count = 8  #: of a prompt
    #: how often each operator is drawn, relative to the others; only operators that edit what the
    #: tasks have
    operators: Annotated[dict[str, Share], Field(default={})]
    workers: WorkersConfig = WorkersConfig(
        backend="local"
    )  #: a round has few prompts, so a fleet has little work

    @model_validator(mode="after")
    def _regions_alone(self) -> Self:
        if self.task is not None:
            raise ValueError("give regions, each with its task, instead of task")
        if self.examples < self.drawn:
            raise ValueError(
                f"a round has examples of {self.drawn} regions, and examples is {self.examples}; "
                f"give at least one for each"
            )
        return self

    @property
    def is_moved(self) -> bool:
        """Whether rewards move the weights."""
        return self.sampling in ("regret", "minimax")

    @property
    def has_antagonist(self) -> bool:
        """Whether there is a second population."""
        return self.sampling == "regret"

    @property
    def draws_regions(self) -> bool:
        """Whether a round has some regions, drawn, instead of all."""
        return self.sampling == "random" or (self.is_moved and self.update == "exp3")

    @property
    def drawn(self) -> int:
        """Of how many regions a round has examples at most."""
        return self.draws if self.draws_regions else len(self.regions)

    def evolution(self, *, specialists: bool) -> EvolutionConfig:
        """Return how a player evolves.

        Args:
            specialists: keep who is good in single regions, instead of in the mean.
        """
        kept = "epsilon_lexicase" if specialists else "truncation"
        return EvolutionConfig(
            population=self.population,
            children=self.children,
            max_demonstrations=self.max_demonstrations,
            operators=dict(self.operators),
            parent_selection=SelectionConfig(
                method="epsilon_lexicase" if specialists else "tournament"
            ),
            survival_selection=SelectionConfig(method=kept),
            # founders are selected as all are
            racing=RacingConfig(method="halving"),
        )


def load_curriculum(path: Path, overrides: Iterable[str] = ()) -> CurriculumConfig:
    """Return the checked configuration of a YAML file, or of one of the package by its name, with
    `dotted.key=value` overrides applied; paths are read from the file's folder.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value is not valid.
    """
    path = config_file(path, "curriculum")
    values = read_values(path, overrides)
    refuse_other_kind(values, path, "curriculum")
    config = check_section(CurriculumConfig, values, str(path))
    folder = path.resolve().parent

    def placed(region: RegionConfig) -> RegionConfig:
        task = with_given(with_absolute_paths(region.task, folder), folder)
        return region.model_copy(update={"task": task})

    return config.model_copy(
        update={
            "regions": {name: placed(region) for name, region in config.regions.items()},
            "model": with_absolute_model(config.model, folder),
        }
    )
