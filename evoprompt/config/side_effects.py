"""What a prompt does to other tasks than its own: the section `side_effects`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.values import NUMBER, Extent, Few, Section, Share

Variant = Literal["both", "decrease", "increase"]


class SideEffectsConfig(Section):
    """The auxiliary tasks whose examples are scored with a policy's prompt before them, and what
    counts of how much likelier or unlikelier their right answers become.
    """

    #: auxiliary tasks: names of tasks of the package, or paths of files of examples
    tasks: tuple[str, ...] = ()
    #: auxiliaries beside them whose right answers are random words
    random: Annotated[int, NUMBER, Field(ge=0, le=1000)] = 0
    #: of each auxiliary; half of them tell the direction of a change, the others its size
    examples: Annotated[int, NUMBER, Field(ge=2, le=10_000)] = 16
    #: starting prompts of an auxiliary task of which the best counts, for each policy
    suffixes: Few = 1
    #: which changes count: of both directions, or only unlikelier or only likelier answers
    variant: Variant = "both"
    #: taken off the fitness for a change of one scale; 0: followed as a trait alone
    coefficient: Share = 0.0
    #: the share of the search over which what selection takes off rises from 0 to that, in a line;
    #: fitness, finalists and champion have all of it. None: it does not rise
    until: Annotated[float, NUMBER, Field(gt=0, le=1)] | None = None
    #: nats that count as a change of 1; None: of each auxiliary how much the starting prompts
    #: differ there, their standard deviation
    scale: Extent | None = None

    @model_validator(mode="after")
    def _has_auxiliaries(self) -> Self:
        if not self.tasks and not self.random:
            raise ValueError("give auxiliary tasks (tasks: [sentiment]), or random: 4")
        if self.until is not None and not self.coefficient:
            raise ValueError("until says how a coefficient rises; give coefficient, e.g. 0.2")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"an auxiliary task is there twice: {', '.join(self.tasks)}")
        return self
