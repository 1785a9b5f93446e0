"""What a task source is. A new one is a file of this folder and a line in `tasks.load.SOURCES`.

A source reads. Splitting by content, balancing and cutting to sizes are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from evoprompt.config.task import TaskConfig
from evoprompt.policy import Policy, Template
from evoprompt.records import Example


def as_it_is(example: Example) -> Example:
    """Return the example."""
    return example


@dataclass(frozen=True, slots=True)
class Raw:
    """What a source has read."""

    name: str  #: of the task
    examples: tuple[Example, ...]  #: split by content
    test: tuple[Example, ...] = ()  #: where the source has a test split: then this is all of it
    #: where it has a test and a validation split: then this is all of the second
    validation: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()  #: what is to be known of the examples, a sentence each
    #: gives an example of a split the target and choices that the task has: a task that is made of
    #: another one keeps its splits
    answered: Callable[[Example], Example] = as_it_is
    starting_policies: tuple[Policy, ...] = ()
    phrases: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()
    steps: tuple[str, ...] = ()
    label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: where it has all four splits: then this is all of the first, and `examples` of the second
    demonstrations: tuple[Example, ...] | None = None


class Source(Protocol):
    """Where examples come from."""

    def read(self, config: TaskConfig) -> Raw:
        """Return what a configuration asks for; a plug-in's own arguments are `config.options`.

        Raises:
            UserError: there is nothing of that name, or something is malformed.
        """
