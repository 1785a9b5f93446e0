"""When the runs of a sweep are compared and stopped early: its section of a configuration."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.values import NUMBER, Section


class StoppingConfig(Section):
    """Which runs of a sweep are stopped before their end: those whose best fitness is not among the
    best 1 in `keep` of the runs that came as far before them (`halving`, needs optuna). Settings
    are compared by their first seed; those that are stopped are not tried with the others. What was
    committed is kept, so all of them can be gone on with.
    """

    method: Literal["off", "halving"] = "off"  #: off, or asynchronous successive halving
    #: share of a run after which it is first compared, then `keep` times as far, and so on: of its
    #: generations, or of its budget with what is kept for the test, whichever is further
    first: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.2
    #: one run of so many goes on
    keep: Annotated[int, NUMBER, Field(ge=2, le=100)] = 3
    #: share of a run after which it is not stopped any more
    last: Annotated[float, NUMBER, Field(gt=0, lt=1)] = 0.7

    @model_validator(mode="after")
    def _has_a_rung(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first ({self.first:g}) must not be more than last ({self.last:g})")
        return self

    def rungs(self) -> list[float]:
        """Return the shares of a run at which it is compared."""
        found = [self.first]
        while (following := found[-1] * self.keep) <= self.last:
            found.append(following)
        return found

    def check(self, axes: Collection[str], varied: str | None, method: str) -> None:
        """Raise ValueError where runs are to be stopped that cannot be compared by their fitness.

        Args:
            axes: the keys that vary.
            varied: one of them that changes what fitness means, if there is one.
            method: of the sweep.
        """
        if self.method == "off":
            return
        if set(axes) == {"seed"}:
            raise ValueError(
                "axes vary the seed alone, and runs of other seeds have other examples, so there "
                "is nothing to compare; set stopping.method to off"
            )
        if varied:
            raise ValueError(
                f"axes vary '{varied}', so the fitness of runs cannot be compared, by which "
                f"stopping.method={self.method} stops them; set it to off"
            )
        if method == "bayes":
            raise ValueError(
                "stopping goes with grid and random: bayes learns from runs that came to their "
                "end; set stopping.method to off"
            )
