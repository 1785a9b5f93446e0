"""The strict schema of `evoprompt robustness`, and how it follows from a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from evoprompt.config.reader import check_section, parse_override, put_value
from evoprompt.config.sections import JobConfig
from evoprompt.config.values import Count, Few, FilePath, Section
from evoprompt.errors import nearest
from evoprompt.jobs.base import Champion
from evoprompt.store.names import folder_name
from evoprompt.variation.perturbations import OF_LABELS, PERTURBATIONS

#: What an attack puts together: all changes of prompts that leave the labels' words.
ATTACKING = tuple(
    name for name, of in PERTURBATIONS.items() if not of.of_input and name not in OF_LABELS
)


def _check(given: tuple[str, ...], known: tuple[str, ...], key: str) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{key} has '{name}'; {nearest(name, known)}")
    if len(set(given)) < len(given):
        raise ValueError(f"{key} has a name twice: {list(given)}; leave one out")


class AttackConfig(Section):
    """A search for the change of a prompt that does most harm. Each edit is the most harmful of
    several that are drawn, by the validation examples; an edit that does no harm is left out.
    """

    edits: Count = 3  #: at most; 0 has no search
    candidates: Few = 8  #: that are drawn for each edit, from the sources in turn
    #: of the prompt before the input that differ at most, added ones too; where none is given as
    #: many as it has, but 40 at least
    tokens: Few | None = None
    examples: Few = 36  #: validation examples that harm is measured on, at most
    sources: tuple[str, ...] = ATTACKING  #: that edits are drawn from
    #: look for harm beyond the prompt's favour for labels, which offsets would mend: each choice's
    #: mean over the validation examples is taken off first
    freed: bool = False

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check(self.sources, ATTACKING, "attack.sources")
        return self


class RobustnessConfig(JobConfig):
    """A measurement of a run's champion and baseline under changes that leave the meaning as it
    is. Model, task, seed, workers and tracking are those of the run.
    """

    name: str = "robustness"  #: of the folder and of what is tracked
    run: FilePath  #: the folder of a complete run
    examples: Few = 100  #: test examples, at most
    draws: Few = 5  #: changes of each source; of which the worst counts, too
    sources: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(PERTURBATIONS)  #: of changes
    #: words that mean the same, by choice; the task's label words where none are given
    label_synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    #: what a choice means, in several words, by choice
    label_descriptions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    paraphrases: tuple[str, ...] = ()  #: whole instructions that mean the same
    synonyms: tuple[tuple[str, ...], ...] = ()  #: of instructions, instead of the package's groups
    attack: AttackConfig = AttackConfig()

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check(self.sources, tuple(PERTURBATIONS), "sources")
        return self


def config_of(run: Path, champion: Champion, overrides: Iterable[str] = ()) -> RobustnessConfig:
    """Return the configuration for a run, with `dotted.key=value` overrides applied.

    Raises:
        UserError: a key is unknown, or a value is not valid.
    """
    own = champion.config.model_dump(mode="json")
    values: dict[str, Any] = {
        key: own[key] for key in ("seed", "model", "task", "workers", "tracking")
    }
    values |= {"name": f"robustness-{folder_name(run.resolve().name)}", "run": str(run.resolve())}
    for override in overrides:
        key, value = parse_override(override)
        put_value(values, key, value, f"--set {override}")
    return check_section(RobustnessConfig, values, "evoprompt robustness")
