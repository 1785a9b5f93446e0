"""The package's selection schemes: each draws, and says how likely it is to select each candidate.
The only file that imports deap, and the fence around its traps.

DEAP draws from two global generators, compares NaN as better than everything, and its
fitness-proportional schemes go wrong without an error on negative fitness such as log-likelihoods.
Here every call is seeded from the caller's generator and leaves both global ones as they were
(`fence`); fitness that is not finite is refused (`base`); weights for stochastic universal sampling
are made positive; and `deap.creator`, whose classes break when they are sent to another process, is
not used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import comb
from typing import Any, ClassVar

import numpy as np
from deap import base, tools
from numpy.typing import NDArray

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection import closed_form
from evoprompt.selection.base import (
    SURVIVAL_DRAWS,
    Candidates,
    Expectation,
    SimulatedScheme,
    affordable,
    check_survivors,
    counts,
    draw_parents,
    draw_survivors,
    simulated,
    simulated_survival,
)
from evoprompt.selection.elites import MapElites
from evoprompt.selection.lexicase import lexicase, surviving
from evoprompt.selection.objectives import objectives_of
from evoprompt.selection.pareto import ParetoExamples
from evoprompt.selection.replacement import Incumbents, Newcomers, OneToOne

#: Simulated survivals by stochastic universal sampling where they have no closed form, and by
#: epsilon-lexicase; the SE is at most 0.016 and 0.071.
SUS_SURVIVAL_DRAWS, LEXICASE_SURVIVAL_DRAWS = 1000, 50
#: Of survivals by epsilon-lexicase: candidates times survivors times survivals, at most: half a
#: second on a slow core.
MOST_LEXICASE_WORK = 12_000_000
#: The same by stochastic universal sampling: candidates times survivals.
MOST_SUS_WORK = 2_000_000


class _Maximize(base.Fitness):  # type: ignore[misc]
    """DEAP's fitness with one weight of 1 for each value, so that higher is better."""

    def __init__(self, values: Sequence[float]) -> None:
        self.weights = (1.0,) * len(values)
        super().__init__(tuple(float(v) for v in values))


@dataclass(slots=True)
class _Ticket:
    """Stands for a candidate inside DEAP."""

    index: int
    fitness: _Maximize
    crowding: float = field(default=0.0)


class Tournament:
    """The best of `tournament_size` candidates drawn at random, with replacement, wins a slot."""

    chooses_set: ClassVar[bool] = False

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the winners of `num` tournaments."""
        tickets = _tickets(candidates.fitness[:, None])
        return _indices(tools.selTournament(tickets, num, tournsize=settings.tournament_size))

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the closed form; slots are independent."""
        p = closed_form.tournament(candidates.fitness, settings.tournament_size)
        return Expectation(p, "closed form", None, "independent", num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the exact chances of tournaments one after the other, by recursion."""
        by_rank = closed_form.tournament_by_rank(settings.tournament_size)
        p = closed_form.survival_in_turn(candidates.fitness, num, by_rank)
        return Expectation(p, "closed form", None, None, num)


class Truncation:
    """The best candidates, ties by chance."""

    chooses_set: ClassVar[bool] = True

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the best, everybody as often as fits first."""
        # DEAP keeps the given order among equals; shuffled first, ties fall by chance and not by
        # birth order.
        tickets = _tickets(candidates.fitness[:, None])
        random.shuffle(tickets)
        return _in_rounds(tickets, num, tools.selBest)

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the closed form; slots are filled as a set."""
        p = closed_form.truncation(candidates.fitness, num)
        return Expectation(p, "closed form", None, "set", num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the closed form."""
        p = closed_form.truncation_survival(candidates.fitness, num)
        return Expectation(p, "closed form", None, "set", num)


class StochasticUniversalSampling:
    """Slots at equal distances over weights that are ranks, or exp(fitness / temperature)."""

    chooses_set: ClassVar[bool] = False

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return who stands at each of `num` pointers: as DEAP's `selStochasticUniversalSampling`
        does, the fittest first.
        """
        weights = safe_weights(candidates.fitness, settings)
        distance = sum(weights.tolist()) / num
        start = random.uniform(0, distance)
        order = np.argsort(-weights, kind="stable")
        pointers = [start + place * distance for place in range(num)]
        at = np.searchsorted(np.cumsum(weights[order]), pointers)
        return [int(i) for i in order[np.minimum(at, len(order) - 1)]]

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the closed form, the share of the weights; slots are spaced."""
        if len(candidates.fitness) == 0 or not np.isfinite(candidates.fitness).all():
            raise ValueError(
                "expected finite fitness of at least one candidate; leave failed evaluations out "
                "first"
            )
        p = closed_form.proportional(safe_weights(candidates.fitness, settings))
        return Expectation(p, "closed form", None, "spaced", num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the exact chances for ranks, by recursion, and simulated ones for temperatures:
        who is drawn in proportion to exp(f / T) and set aside, again and again, is who has the
        greatest f / T + G with standard Gumbel noise G, all of them at once.

        Source: Yellott 1977.
        """
        if settings.weights == "rank":
            by_rank = closed_form.rank_weight_by_rank
            p = closed_form.survival_in_turn(candidates.fitness, num, by_rank)
            return Expectation(p, "closed form", None, None, num)
        size = check_survivors(candidates, num)
        draws = affordable(SUS_SURVIVAL_DRAWS, size, MOST_SUS_WORK)
        keys = candidates.fitness / settings.temperature + rng.gumbel(size=(draws, size))
        best = np.argsort(-keys, axis=1)[:, :num]
        return simulated(counts(best.ravel().tolist(), candidates), draws, None, num)


class EpsilonLexicase(SimulatedScheme):
    """Examples in random order; each keeps who is near the best on it, until one is left."""

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the winners of `num` random orders."""
        return lexicase(candidates.case_fitness, num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the shares of 50 survivals; of fewer, never below 4, where all are many."""
        work = check_survivors(candidates, num) * num
        draws = affordable(LEXICASE_SURVIVAL_DRAWS, work, MOST_LEXICASE_WORK)
        return simulated(surviving(candidates.case_fitness, num, draws, rng), draws, None, num)


class NSGA2:
    """The fronts of the objectives, the last one by its crowding."""

    chooses_set: ClassVar[bool] = True

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the best fronts, everybody as often as fits first."""
        return _in_rounds(_tickets(objectives_of(candidates, settings)), num, tools.selNSGA2)

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return what one call gives, which is exact: nothing is left to chance."""
        found = counts(draw_parents(self, candidates, num, settings, rng), candidates)
        return Expectation(found / num, "simulation", np.zeros(len(found)), "set", num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return what one call gives."""
        found = counts(draw_survivors(self, candidates, num, settings, rng), candidates)
        return Expectation(found, "simulation", np.zeros(len(found)), "set", num)


class NSGA3:
    """The fronts of the objectives, the last one by reference points that are spread evenly over
    the trade-offs, at least as many as are chosen: whose surroundings are emptiest come first.

    Source: Deb and Jain 2014.
    """

    chooses_set: ClassVar[bool] = True

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return the best fronts, everybody as often as fits first."""
        values = objectives_of(candidates, settings)
        # DEAP takes the distance of the intercepts from the best point for where they are, which
        # holds where that point is 0
        width = np.ptp(values, axis=0)
        values = (values - values.max(axis=0)) / np.where(width > 0, width, 1.0)
        return _in_rounds(_tickets(values), num, _by_reference)

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the shares of 50 calls; how the slots go together is not known."""
        drawn = [
            index
            for _ in range(SURVIVAL_DRAWS)
            for index in draw_parents(self, candidates, num, settings, rng)
        ]
        p = counts(drawn, candidates) / len(drawn)
        return Expectation(p, "simulation", np.sqrt(p * (1 - p) / SURVIVAL_DRAWS), None, num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the shares of 50 survivals."""
        return simulated_survival(self, candidates, num, settings, rng, SURVIVAL_DRAWS)


#: Every scheme of the package. A new one is a class and a line here.
SCHEMES: Mapping[str, Any] = {
    "tournament": Tournament,
    "truncation": Truncation,
    "sus": StochasticUniversalSampling,
    "epsilon_lexicase": EpsilonLexicase,
    "nsga2": NSGA2,
    "nsga3": NSGA3,
    "incumbents": Incumbents,
    "newcomers": Newcomers,
    "one_to_one": OneToOne,
    "pareto_examples": ParetoExamples,
    "map_elites": MapElites,
}


def safe_weights(fitness: NDArray[np.float64], settings: SelectionConfig) -> NDArray[np.float64]:
    """Return positive weights for sampling in proportion: linear mid-ranks from 1 to N, or exp((f -
    max f) / temperature).
    """
    if settings.weights == "boltzmann":
        weights: NDArray[np.float64] = np.exp((fitness - fitness.max()) / settings.temperature)
        return np.maximum(weights, 1e-12)
    order = np.sort(fitness)
    below, up_to = np.searchsorted(order, fitness, "left"), np.searchsorted(order, fitness, "right")
    ranks: NDArray[np.float64] = (below + up_to + 1) / 2
    return ranks


def _in_rounds(
    tickets: list[_Ticket], num: int, choose: Callable[[list[_Ticket], int], list[_Ticket]]
) -> list[int]:
    """A scheme that chooses a set gives at most all; where more parents are wanted, everybody comes
    as often as fits, then the chosen.
    """
    rounds, rest = divmod(num, len(tickets))
    return _indices(tickets * rounds + (list(choose(tickets, rest)) if rest else []))


def _by_reference(tickets: list[_Ticket], num: int) -> list[_Ticket]:
    """Return who NSGA-III chooses, by the fewest evenly spread points that suffice."""
    size = len(tickets[0].fitness.wvalues)
    steps = next(p for p in count(1) if comb(p + size - 1, size - 1) >= num or size == 1)
    points = tools.uniform_reference_points(size, steps)
    chosen: list[_Ticket] = tools.selNSGA3(tickets, num, points, nd="standard")
    return chosen


def _tickets(values: NDArray[np.float64]) -> list[_Ticket]:
    return [_Ticket(i, _Maximize(row)) for i, row in enumerate(values)]


def _indices(tickets: Sequence[_Ticket]) -> list[int]:
    return [ticket.index for ticket in tickets]
