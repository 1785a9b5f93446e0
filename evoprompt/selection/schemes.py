"""Selection schemes: fitness -> chosen indices. The only file that imports deap, and the fence
around its traps.

DEAP draws from two global generators, compares NaN as better than everything, and its
fitness-proportional schemes go wrong without an error on negative fitness such as log-likelihoods.
Here every call is seeded from the caller's generator and leaves both global ones as they were;
fitness that is not finite is refused; weights for stochastic universal sampling are made positive;
and `deap.creator`, whose classes break when they are sent to another process, is not used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from deap import base, tools
from numpy.typing import NDArray

from evoprompt.config.sections import SelectionConfig


@dataclass(frozen=True, slots=True)
class Candidates:
    """What selection may look at, by policy in one order."""

    fitness: NDArray[np.float64]  #: shape (policy,)
    case_fitness: NDArray[np.float64]  #: shape (policy, example); for epsilon-lexicase
    prompt_tokens: NDArray[np.float64]  #: shape (policy,); for NSGA-II

    def take(self, indices: Sequence[int]) -> Candidates:
        """Return the candidates at these indices."""
        rows = np.array(indices, dtype=np.int64)
        return Candidates(self.fitness[rows], self.case_fitness[rows], self.prompt_tokens[rows])


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


def select_parents(
    candidates: Candidates, num: int, scheme: SelectionConfig, rng: np.random.Generator
) -> list[int]:
    """Return `num` indices, drawn with replacement where the scheme does so.

    Raises:
        ValueError: there is no candidate, or a fitness is NaN or infinite.
    """
    _check(candidates)
    with _seeded(rng):
        return [t.index for t in _draw(candidates, num, scheme)]


def select_survivors(
    candidates: Candidates, num: int, scheme: SelectionConfig, rng: np.random.Generator
) -> list[int]:
    """Return `num` different indices, in ascending order: a birth survives once or not at all.

    Truncation and NSGA-II choose a set by nature; the other schemes draw one, set it aside, and
    draw from the rest.

    Raises:
        ValueError: as `select_parents`, or fewer candidates than `num`.
    """
    _check(candidates)
    size = len(candidates.fitness)
    if num > size:
        raise ValueError(f"select_survivors(num={num}): there are only {size} candidates")
    with _seeded(rng):
        if scheme.method in ("truncation", "nsga2"):
            return sorted(t.index for t in _draw(candidates, num, scheme))
        left = list(range(size))
        chosen = []
        for _ in range(num):
            [ticket] = _draw(candidates.take(left), 1, scheme)
            chosen.append(left.pop(ticket.index))
        return sorted(chosen)


def safe_weights(fitness: NDArray[np.float64], scheme: SelectionConfig) -> NDArray[np.float64]:
    """Return positive weights for sampling in proportion: linear mid-ranks from 1 to N, or exp((f -
    max f) / temperature).
    """
    if scheme.weights == "boltzmann":
        weights: NDArray[np.float64] = np.exp((fitness - fitness.max()) / scheme.temperature)
        return np.maximum(weights, 1e-12)
    order = np.sort(fitness)
    below, up_to = np.searchsorted(order, fitness, "left"), np.searchsorted(order, fitness, "right")
    ranks: NDArray[np.float64] = (below + up_to + 1) / 2
    return ranks


def _draw(candidates: Candidates, num: int, scheme: SelectionConfig) -> list[_Ticket]:
    match scheme.method:
        case "tournament":
            return list(
                tools.selTournament(
                    _tickets(candidates.fitness[:, None]), num, tournsize=scheme.tournament_size
                )
            )
        case "truncation":
            # DEAP keeps the given order among equals; shuffled first, ties fall by chance and not
            # by birth order.
            tickets = _tickets(candidates.fitness[:, None])
            random.shuffle(tickets)
            return _in_rounds(tickets, num, tools.selBest)
        case "sus":
            return list(
                tools.selStochasticUniversalSampling(
                    _tickets(safe_weights(candidates.fitness, scheme)[:, None]), num
                )
            )
        case "epsilon_lexicase":
            return list(tools.selAutomaticEpsilonLexicase(_tickets(candidates.case_fitness), num))
        case "nsga2":
            return _in_rounds(
                _tickets(np.stack([candidates.fitness, -candidates.prompt_tokens], axis=1)),
                num,
                tools.selNSGA2,
            )


def _in_rounds(
    tickets: list[_Ticket], num: int, choose: Callable[[list[_Ticket], int], list[_Ticket]]
) -> list[_Ticket]:
    """A scheme that chooses a set gives at most all; where more parents are wanted, everybody comes
    as often as fits, then the chosen.
    """
    rounds, rest = divmod(num, len(tickets))
    return tickets * rounds + (list(choose(tickets, rest)) if rest else [])


def _tickets(values: NDArray[np.float64]) -> list[_Ticket]:
    return [_Ticket(i, _Maximize(row)) for i, row in enumerate(values)]


def _check(candidates: Candidates) -> None:
    if len(candidates.fitness) == 0:
        raise ValueError("selection has no candidates")
    for name in ("fitness", "case_fitness", "prompt_tokens"):
        values = getattr(candidates, name)
        if not np.isfinite(values).all():
            raise ValueError(
                f"selection was given a {name} that is NaN or infinite; leave failed evaluations "
                f"out first"
            )


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """Seed the two global generators that DEAP draws from, and put both back as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**63)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
