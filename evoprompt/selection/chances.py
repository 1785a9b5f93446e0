"""Expected reproductive success: how likely the configured scheme is to select each candidate.

Where the scheme has a closed form that is used, else the package's own selection is repeated. What
was realised minus this is drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.sections import SelectionConfig
from evoprompt.dynamics.population import Filling
from evoprompt.selection import closed_form as expected
from evoprompt.selection.schemes import Candidates, safe_weights, select_parents, select_survivors

#: Simulated draws of one parent by epsilon-lexicase: 0.1 s for 14 candidates with 48 cases on a
#: slow core; the SE is at most 0.025.
PARENT_DRAWS = 400
#: Simulated survivals where they have no closed form: 0.1 s for 6 of 14 candidates with 48 cases;
#: the SE is at most 0.071 and 0.036.
SURVIVAL_DRAWS = {"epsilon_lexicase": 50, "sus": 200}


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
    filling: (
        Filling | None
        #: how the slots are filled; None: one after the other, so that a place taken is lost to the
        #: others
    )
    num: int  #: slots, or survivors


def parent_probabilities(
    candidates: Candidates, num: int, scheme: SelectionConfig, rng: np.random.Generator
) -> Expectation:
    """Return the probability that each candidate fills one of `num` parent slots, picked at random;
    it sums to 1.

    Args:
        candidates: what `select_parents` is given.
        num: slots filled in one call; it matters to the schemes that fill them together (truncation
            and NSGA-II).
        scheme: of the parent selection.
        rng: for simulations only; one of its own, so that the run's draws stay as they are.

    Raises:
        ValueError: no slot, no candidate, or a fitness that is NaN or infinite.
    """
    if num < 1:
        raise ValueError(f"parent_probabilities(num={num}): expected at least one slot")
    match scheme.method:
        case "tournament":
            return Expectation(
                expected.tournament(candidates.fitness, scheme.tournament_size),
                "closed form",
                None,
                "independent",
                num,
            )
        case "truncation":
            return Expectation(
                expected.truncation(candidates.fitness, num), "closed form", None, "set", num
            )
        case "sus":
            return Expectation(
                expected.proportional(_weights(candidates, scheme)),
                "closed form",
                None,
                "spaced",
                num,
            )
        case "nsga2":
            counts = _counts(select_parents(candidates, num, scheme, rng), candidates)
            return Expectation(counts / num, "simulation", np.zeros(len(counts)), "set", num)
        case "epsilon_lexicase":
            counts = _counts(select_parents(candidates, PARENT_DRAWS, scheme, rng), candidates)
            return _simulated(counts, PARENT_DRAWS, "independent", num)


def survival_probabilities(
    candidates: Candidates, num: int, scheme: SelectionConfig, rng: np.random.Generator
) -> Expectation:
    """Return the probability that each candidate is among `num` survivors; it sums to `num`.

    Survivors are never independent: a place that one takes is lost to the others. Tournaments and
    rank weights, drawn one after the other, are solved exactly by recursion.

    Args:
        candidates: what `select_survivors` is given; leaving equal policies out is the caller's
            business.
        num: survivors.
        scheme: of the survival selection.
        rng: for simulations only; one of its own, so that the run's draws stay as they are.

    Raises:
        ValueError: no candidate, fewer candidates than `num`, or a fitness that is NaN or infinite.
    """
    fitness = candidates.fitness
    match scheme.method:
        case "truncation":
            return Expectation(
                expected.truncation_survival(fitness, num), "closed form", None, "set", num
            )
        case "tournament":
            by_rank = expected.tournament_by_rank(scheme.tournament_size)
            return Expectation(
                expected.survival_in_turn(fitness, num, by_rank), "closed form", None, None, num
            )
        case "sus" if scheme.weights == "rank":
            return Expectation(
                expected.survival_in_turn(fitness, num, expected.rank_weight_by_rank),
                "closed form",
                None,
                None,
                num,
            )
        case "nsga2":
            counts = _counts(select_survivors(candidates, num, scheme, rng), candidates)
            return Expectation(counts, "simulation", np.zeros(len(counts)), "set", num)
        case _:
            draws = SURVIVAL_DRAWS[scheme.method]
            survivors = [
                i for _ in range(draws) for i in select_survivors(candidates, num, scheme, rng)
            ]
            return _simulated(_counts(survivors, candidates), draws, None, num)


def _simulated(
    counts: NDArray[np.float64], draws: int, filling: Filling | None, num: int
) -> Expectation:
    p = counts / draws
    return Expectation(p, "simulation", np.sqrt(p * (1 - p) / draws), filling, num)


def _counts(chosen: list[int], candidates: Candidates) -> NDArray[np.float64]:
    return np.bincount(np.array(chosen, dtype=np.int64), minlength=len(candidates.fitness)).astype(
        np.float64
    )


def _weights(candidates: Candidates, scheme: SelectionConfig) -> NDArray[np.float64]:
    if len(candidates.fitness) == 0 or not np.isfinite(candidates.fitness).all():
        raise ValueError(
            "expected finite fitness of at least one candidate; leave failed evaluations out first"
        )
    return safe_weights(candidates.fitness, scheme)
