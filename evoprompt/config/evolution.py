"""The section of a configuration that says who is born, who is measured on how much, and who
survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.islands import IslandsConfig
from evoprompt.config.values import (
    NUMBER,
    Count,
    Extent,
    Few,
    Level,
    Positive,
    Probability,
    Section,
    Share,
)

#: What selection by several objectives may look at (`selection.objectives`).
Objective = Literal[
    "fitness", "tokens", "fluency", "robustness", "accuracy", "youth", "under_changes"
]


class SelectionConfig(Section):
    """A selection scheme (`selection.schemes`). Neither nsga3 nor map_elites was shown to pay at
    20,000 tokens, where a search has three generations at most.
    """

    #: tournament, truncation, sus, epsilon_lexicase, nsga2, nsga3, pareto_examples, for survival
    #: also incumbents, newcomers, one_to_one, map_elites, or a scheme of a plug-in
    method: str = "tournament"
    tournament_size: Few = 2  #: of `tournament`: how many are drawn, the fittest of whom wins
    #: how `sus` turns fitness into weights: linear ranks, or exp(fitness / temperature)
    weights: Literal["rank", "boltzmann"] = "rank"
    temperature: Extent = 0.1  #: of `boltzmann`, in units of the fitness
    #: of `nsga2` and `nsga3`: fitness, accuracy, few prompt tokens, fluency of the prompt (needs
    #: traits.prompt_cross_entropy), robustness, the lower quartile of fitness by example,
    #: youth: the generation in which the earliest founder was born (with evolution.immigrants), and
    #: under_changes: what a policy is worth under the worst change (with the section robustness)
    objectives: Annotated[list[Objective], Field(min_length=1)] = ["fitness", "tokens"]
    #: of `map_elites`, which keeps the fittest policy of each cell: the traits of the grid, each
    #: with the bounds between its cells; the population is the most that are kept
    cells: Annotated[dict[str, list[float]], Field(min_length=1)] = {
        "num_demonstrations": [1, 3, 5],
        "prompt_tokens": [50, 100, 200],
    }

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("name each objective once")
        for name, bounds in self.cells.items():
            if not bounds or any(a >= b for a, b in pairwise(bounds)):
                raise ValueError(f"cells.{name}: expected bounds in ascending order, got {bounds}")
        return self


class RacingConfig(Section):
    """Whether births are measured on a few examples first, and who of them goes on to more.

    `off`: all are measured on all; `halving`: the better half goes on; `fast`: of it, who is not
    behind the last parent that would survive by more than z standard errors; `certified`: who is
    not shown to be behind it, at level alpha for the whole run.
    """

    #: who of a brood goes on to more examples
    method: Literal["off", "halving", "fast", "certified"] = "halving"
    first: Positive = 8  #: examples of the first measurement; each further one has twice as many
    z: Share = 1.64  #: of `fast`: standard errors behind from which on a birth is given up
    alpha: Level = 0.05  #: of `certified`: the chance of a wrong exit in the whole run


class ExamplesConfig(Section):
    """On how many of the fitness examples policies are measured."""

    first: Few | None = 16  #: the number at the beginning; None is all of them
    grow: list[Level] = [0.4, 0.7]  #: shares of the budget, or generations, at which it doubles


class StopConfig(Section):
    """When a search ends because it wins nothing more."""

    #: generations over which the best gains no more than `smallest_gain`, the upper end of its
    #: paired 95 % interval too; those of restarts count; 0 never stops
    patience: Count = 0
    smallest_gain: Share = 0.01  #: in units of the fitness
    headroom: bool = False  #: end after the founders where their sets show little to win


class AdaptationConfig(Section):
    """Whether operators are drawn by what they gained in the run so far, per token, over all births
    (`evolution.adaptation`). Off, since no gain is shown: in 21 runs of up to 14 generations births
    weighted by these rates gained as much as by the given ones.
    """

    #: `matching`: as often as they gained; `pursuit`: more and more the one that gained most;
    #: `inherited`: by rates that each policy has of its own, that vary and are handed on; `off`: as
    #: `operators` says
    method: Literal["off", "matching", "pursuit", "inherited"] = "off"
    #: the share of the births that are by operators drawn as `operators` says, whatever they gained
    floor: Probability = 0.2


class ShapingConfig(Section):
    """A bonus for narrated steps, in selection alone: how likely the model says, at each move of a
    path, what the expert is about to do (the trait `named_steps`, nats). Fitness, finalists and
    champion go without it. Off, since no gain is shown.
    """

    #: units of the fitness that a nat of it counts at the beginning; 0: nothing
    weight: Share = 0.0
    #: the share of the search over which the weight falls to 0, in a line; None: it does not fall
    until: Annotated[float, NUMBER, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _has_a_weight_to_fall(self) -> Self:
        if self.until is not None and not self.weight:
            raise ValueError(
                f"until={self.until:g} says over which share of the search the weight falls, and "
                f"weight is 0; give a weight, or leave until out"
            )
        return self


class SurrogateConfig(Section):
    """Whether more children are proposed than are born, and a regression of fitness on what
    policies consist of chooses among them (`evolution.surrogate`). It ranks broods before they are
    measured (mean correlation .41 in 26 runs); that champions are better for it is not shown, and
    so it is off.
    """

    pool: Few = 1  #: children that are proposed for each that is born; 1: all are born
    #: the share of the variance of births that it has to predict, each from all others; below it
    #: all that are proposed are born
    least_r2: Probability = 0.1


class RestartConfig(Section):
    """When a population begins anew: its best stays, and policies that were scored before, of the
    better half and as different as can be, take the other places (`evolution.restart`). Off, since
    no gain is shown. The best stood still for two generations in 20 of 26 runs, for three in 11.
    """

    #: generations over which the best gains nothing, on the same examples; 0 never begins anew
    patience: Count = 0


#: Children and generations of a steady state: as many births as by default.
STEADY = {"children": 1, "generations": 96}


class EvolutionConfig(Section):
    """The evolution strategy. `plus`: survivors come from parents and children; `comma`: from the
    children alone; `steady_state`: as `plus`, one birth at a time.
    """

    #: whose births survive: of parents and children (`plus`), or of the children alone (`comma`);
    #: `steady_state`: a generation is one birth, for the place of the worst, which it always takes
    #: where survival is by `newcomers` (96 generations by default); not shown to pay
    scheme: Literal["plus", "comma", "steady_state"] = "plus"
    population: Few = 3  #: mu, the births selected in each generation
    children: Few = 8  #: lambda, the new births of each generation
    generations: Positive = 12  #: after the founders, unless a budget ends the search before
    max_demonstrations: Count = 16  #: of a prompt
    examples: ExamplesConfig = ExamplesConfig()
    parent_selection: SelectionConfig = SelectionConfig()  #: who has children
    #: who of a generation is kept
    survival_selection: SelectionConfig = SelectionConfig(method="truncation")
    #: how often each operator is drawn, relative to the others
    operators: dict[str, Share] = {}
    #: how often the operators are drawn that are not named: as by default, or never
    other_operators: Literal["default", "none"] = "default"
    adaptation: AdaptationConfig = AdaptationConfig()
    surrogate: SurrogateConfig = SurrogateConfig()
    shaping: ShapingConfig = ShapingConfig()
    #: `differential`: each member is in turn the first parent, and the others are two members and
    #: the best, without parent selection
    mating: Literal["drawn", "differential"] = "drawn"
    #: the probability that a child is edited once more after each edit, four times at most
    further_edits: Probability = 0.0
    #: births of each generation that have no parents, on each island: founders after three edits.
    #: With survival by nsga2 over fitness and youth they are compared with others as young, which
    #: is what layers of ages do; not shown to pay
    immigrants: Annotated[int, NUMBER, Field(ge=0, le=10_000)] = 0
    #: what is not measured again: a policy that was (id), or one that differs from it only in the
    #: order of demonstrations, case and white space (set)
    novelty: Literal["id", "set"] = "set"
    racing: RacingConfig = RacingConfig()
    stop: StopConfig = StopConfig()
    restart: RestartConfig = RestartConfig()
    islands: IslandsConfig = IslandsConfig()

    @property
    def births(self) -> int:
        """New births of a generation, on all islands."""
        return (self.children + self.immigrants) * self.islands.count

    @model_validator(mode="before")
    @classmethod
    def _steady(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("scheme") == "steady_state":
            return {**STEADY, **values}
        return values

    @model_validator(mode="after")
    def _race_by_what_selects(self) -> Self:
        chosen, race = self.survival_selection.method, self.racing.method
        if chosen in ("nsga2", "nsga3", "map_elites") and race in ("fast", "certified"):
            raise ValueError(
                f"racing.method={race} gives up births that are behind in fitness, which would "
                f"survive by {chosen} for something else; use racing.method=halving or off"
            )
        return self

    @model_validator(mode="after")
    def _one_rule_for_operators(self) -> Self:
        if self.mating == "differential" and self.adaptation.method == "inherited":
            raise ValueError(
                "mating=differential draws no first parents, whose rates "
                "adaptation.method=inherited goes by; use matching, pursuit or off"
            )
        return self

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.scheme == "steady_state" and self.children != 1:
            raise ValueError(
                f"scheme=steady_state has one birth at a time, and children is {self.children}; "
                "leave children out, or use scheme=plus"
            )
        return self

    @model_validator(mode="after")
    def _one_population(self) -> Self:
        others = {"scheme=comma": self.scheme == "comma"}
        others["restart.patience"] = self.restart.patience > 0
        others["surrogate.pool"] = self.surrogate.pool > 1
        met = [f"evolution.{name}" for name, given in others.items() if given]
        if self.islands.count > 1 and met:
            raise ValueError(
                f"{' and '.join(met)} do not go with evolution.islands.count={self.islands.count}; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _others_to_begin_anew(self) -> Self:
        if self.restart.patience and self.population < 2:
            raise ValueError(
                "evolution.restart fills the places beside the best; with a population of 1 there "
                "are none: give evolution.population 2 or more, or restart.patience 0"
            )
        if 0 < self.stop.patience <= self.restart.patience:
            raise ValueError(
                f"a search that stops after {self.stop.patience} generations without a gain "
                f"(stop.patience) never begins anew after {self.restart.patience} of them "
                "(restart.patience): give restart.patience less, or stop.patience more"
            )
        return self

    @model_validator(mode="after")
    def _enough_children(self) -> Self:
        if self.scheme == "comma" and self.children < self.population:
            raise ValueError(
                f"the comma scheme selects {self.population} (population) of {self.children} "
                f"(children): it needs as many children"
            )
        return self
