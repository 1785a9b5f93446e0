"""A task: examples in four splits that share no content, and what policies for it start from.

Knows nothing of models or fitness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, Materials


@dataclass(frozen=True, slots=True)
class Task:
    """Examples and starting points. The splits serve one purpose each and share no example."""

    name: str
    demonstrations: tuple[Demonstration, ...]  #: what operators may put into a prompt
    fitness: tuple[Example, ...]  #: what the search is selected on
    validation: tuple[Example, ...]  #: what picks the champion among the search's best
    test: tuple[Example, ...]  #: what the search never sees
    starting_policies: tuple[Policy, ...]
    phrases: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()
    label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pool: tuple[Example, ...] = ()  #: the examples that the demonstrations are
    steps: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The choices that all examples share, or None where they differ or the task is free
        form.
        """
        shared = {e.choices for split in (self.fitness, self.validation, self.test) for e in split}
        return next(iter(shared)) if len(shared) == 1 else None

    @property
    def has_choices(self) -> bool:
        """Whether every example offers choices."""
        return all(
            e.choices is not None
            for split in (self.fitness, self.validation, self.test)
            for e in split
        )

    def materials(self, max_demonstrations: int) -> Materials:
        """Return what operators draw from."""
        return Materials(
            phrases=self.phrases,
            demonstrations=self.demonstrations,
            templates=self.templates,
            label_words=self.label_words,
            max_demonstrations=max_demonstrations,
            steps=self.steps,
        )
