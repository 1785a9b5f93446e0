"""What a selection scheme is. A new one is a class and a line in `schemes.SCHEMES`.

Knows fitness and draws. Does not know DEAP, policies or generations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.evolution import SelectionConfig
from evoprompt.dynamics.population import Filling
from evoprompt.selection.fence import seeded

#: Simulated draws of one parent: 0.1 s for 14 candidates with 48 cases by epsilon-lexicase on a
#: slow core; the SE is at most 0.025.
PARENT_DRAWS = 400
#: Simulated survivals: 0.1 s for 6 of 14 candidates with 48 cases by epsilon-lexicase; the SE is at
#: most 0.071.
SURVIVAL_DRAWS = 50
#: Comparisons that simulating survivals may take; of large populations fewer are simulated, never
#: fewer than the second number. The standard error says what that costs.
MOST_WORK, LEAST_DRAWS = 1_500_000, 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """What selection may look at, by policy in one order."""

    fitness: NDArray[np.float64]  #: shape (policy,)
    case_fitness: NDArray[np.float64]  #: shape (policy, example); for epsilon-lexicase
    prompt_tokens: NDArray[np.float64]  #: shape (policy,); for NSGA-II and NSGA-III
    #: index of whom each would take the place of, shape (policy,): itself for one who was there
    #: before, the first parent for a newcomer, or -1 where that is not here; None where nobody is
    #: new. For the schemes of replacement
    replaces: NDArray[np.int64] | None = None
    #: by name, shape (policy,) each; those that all candidates have
    traits: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Who was not there before, shape (policy,)."""
        indices = np.arange(len(self.fitness))
        return np.not_equal(indices if self.replaces is None else self.replaces, indices)

    def take(self, indices: Sequence[int]) -> Candidates:
        """Return the candidates at these indices, as if nobody was new."""
        rows = np.array(indices, dtype=np.int64)
        return Candidates(
            self.fitness[rows],
            self.case_fitness[rows],
            self.prompt_tokens[rows],
            traits={name: values[rows] for name, values in self.traits.items()},
        )

    def check(self) -> None:
        """Raise ValueError where there is no candidate, or a value is NaN or infinite."""
        if len(self.fitness) == 0:
            raise ValueError("selection has no candidates")
        for name in ("fitness", "case_fitness", "prompt_tokens"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(
                    f"selection was given a {name} that is NaN or infinite; leave failed "
                    "evaluations out first"
                )


@dataclass(frozen=True, slots=True)
class Expectation:
    """The probability of each candidate to be selected, and how it was found.

    `standard_error` is sqrt(p (1 - p) / draws) for simulations: a candidate that was never drawn
    has 0 there, though its p may be up to about 3 / draws. NSGA-II counts as a simulation with an
    SE of 0: it follows from the order of the candidates without chance, so one call is exact.
    """

    probability: NDArray[np.float64]  #: shape (candidate,)
    how: Literal["closed form", "simulation"]
    standard_error: NDArray[np.float64] | None  #: shape (candidate,); None for closed forms
    #: how the slots are filled; None: one after the other, so that a place taken is lost to the
    #: others
    filling: Filling | None
    num: int  #: slots, or survivors


class Scheme(Protocol):
    """Selects, and says how likely it is to select each candidate. Holds no state."""

    @property
    def chooses_set(self) -> bool:
        """Whether one draw of several gives different candidates by nature; else survivors are
        drawn one by one, and each is set aside.
        """

    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return `num` indices. Chance comes from the global generators of `random` and numpy,
        which are seeded for the call.
        """

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the probability that each candidate fills one of `num` slots, picked at random; it
        sums to 1. `rng` is for simulations only.
        """

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the probability that each candidate is among `num` survivors; it sums to `num`."""


class SimulatedScheme(ABC):
    """A scheme that nobody has a closed form for: a subclass draws, and its chances are found by
    drawing again and again. Its draws of parents have to be independent of each other.
    """

    chooses_set: ClassVar[bool] = False

    @abstractmethod
    def draw(self, candidates: Candidates, num: int, settings: SelectionConfig) -> list[int]:
        """Return `num` indices, as `Scheme.draw`."""

    def parent_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the shares of 400 draws."""
        drawn = draw_parents(self, candidates, PARENT_DRAWS, settings, rng)
        return simulated(counts(drawn, candidates), PARENT_DRAWS, "independent", num)

    def survival_chances(
        self, candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
    ) -> Expectation:
        """Return the shares of 50 survivals."""
        return simulated_survival(self, candidates, num, settings, rng, SURVIVAL_DRAWS)


def draw_parents(
    scheme: Scheme,
    candidates: Candidates,
    num: int,
    settings: SelectionConfig,
    rng: np.random.Generator,
) -> list[int]:
    """Return `num` indices, drawn with replacement where the scheme does so.

    Raises:
        ValueError: there is no candidate, or a fitness is NaN or infinite.
    """
    candidates.check()
    with seeded(rng):
        return scheme.draw(candidates, num, settings)


def draw_survivors(
    scheme: Scheme,
    candidates: Candidates,
    num: int,
    settings: SelectionConfig,
    rng: np.random.Generator,
) -> list[int]:
    """Return `num` different indices, in ascending order: a birth survives once or not at all.

    Raises:
        ValueError: as `draw_parents`, or fewer candidates than `num`.
    """
    size = check_survivors(candidates, num)
    with seeded(rng):
        if scheme.chooses_set:
            return sorted(scheme.draw(candidates, num, settings))
        left = list(range(size))
        chosen = []
        for _ in range(num):
            [index] = scheme.draw(candidates.take(left), 1, settings)
            chosen.append(left.pop(index))
        return sorted(chosen)


def check_survivors(candidates: Candidates, num: int) -> int:
    """Return how many candidates there are.

    Raises:
        ValueError: none, fewer than survivors, or a value is NaN or infinite.
    """
    candidates.check()
    size = len(candidates.fitness)
    if num > size:
        raise ValueError(f"select_survivors(num={num}): there are only {size} candidates")
    return size


def simulated_survival(
    scheme: Scheme,
    candidates: Candidates,
    num: int,
    settings: SelectionConfig,
    rng: np.random.Generator,
    draws: int,
) -> Expectation:
    """Return the shares of survivals in which each candidate was, of so many or, where that would
    take too long, of as many as `affordable`.
    """
    draws = affordable(draws, len(candidates.fitness) * num * candidates.case_fitness.shape[1])
    each = (draw_survivors(scheme, candidates, num, settings, rng) for _ in range(draws))
    survivors = [index for survived in each for index in survived]
    return simulated(counts(survivors, candidates), draws, None, num)


def affordable(draws: int, work: int, most: int = MOST_WORK) -> int:
    """Return how many of these draws are made, each of which takes so many comparisons, of which
    there may be `most`.
    """
    return min(draws, max(LEAST_DRAWS, most // max(1, work)))


def simulated(
    found: NDArray[np.float64], draws: int, filling: Filling | None, num: int
) -> Expectation:
    """Return the expectation of counts, shape (candidate,), over so many draws."""
    p = found / draws
    return Expectation(p, "simulation", np.sqrt(p * (1 - p) / draws), filling, num)


def counts(chosen: Sequence[int], candidates: Candidates) -> NDArray[np.float64]:
    """Return how often each candidate was chosen, shape (candidate,)."""
    indices = np.array(chosen, dtype=np.int64)
    return np.bincount(indices, minlength=len(candidates.fitness)).astype(np.float64)
