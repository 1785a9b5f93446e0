"""Operators drawn by rates that each policy has of its own and hands on: self-adaptation. Pure.

    a parent's rates --mutate--> its child's; the operator of a mating is drawn by its first
    parent's

Nobody says which operator pays: who makes good children has more of them, and their rates go with
them.

Source: Schwefel 1995; Baeck 1992 for rates of variation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import numpy as np

from evoprompt.records import Birth, Mating

#: Of a birth: operators and their rates, which sum to 1; nothing where they are as given.
Rates = tuple[tuple[str, float], ...]


def rates_of(birth: Birth, weights: Mapping[str, float], floor: float) -> dict[str, float]:
    """Return the probability of each operator to make a child of a birth; they sum to 1.

    With p the given weights as shares, r the birth's own rates and f the floor, f p + (1 - f) r.
    """
    total = sum(weights.values())
    own = dict(birth.rates)
    given = {name: weight / total for name, weight in weights.items()}
    return {name: floor * p + (1 - floor) * own.get(name, p) for name, p in given.items()}


def inherited(parent: Birth, weights: Mapping[str, float], rng: np.random.Generator) -> Rates:
    """Return the rates of a child of a first parent: the parent's, each times e to the
    tau N(0, 1), over their sum; tau is 1 / sqrt(2 sqrt n) of n operators.
    """
    own = rates_of(parent, weights, 0.0)
    tau = 1 / sqrt(2 * sqrt(len(own)))
    moved = np.array(list(own.values())) * np.exp(tau * rng.standard_normal(len(own)))
    shares = (moved / moved.sum()).tolist()
    return tuple(zip(own, shares, strict=True))


def mean_rates(
    births: Sequence[Birth], weights: Mapping[str, float], floor: float
) -> dict[str, float]:
    """Return the mean of the rates of births."""
    each = [rates_of(birth, weights, floor) for birth in births]
    return {name: sum(rates[name] for rates in each) / len(each) for name in weights}


def matings(
    births: Sequence[Birth],
    num: int,
    num_parents: Mapping[str, int],
    weights: Mapping[str, float],
    floor: float,
    select: Callable[[int], Sequence[int]],
    rng: np.random.Generator,
) -> tuple[Mating, ...]:
    """Return so many matings: first parents by selection, the operator of each by its parent's
    rates, and further parents by selection.

    Args:
        births: of the members.
        num: of matings.
        num_parents: that each operator takes.
        weights: of the operators that are drawn, positive, in any unit.
        floor: of `rates_of`.
        select: returns the places of so many parents among the members.
        rng: of the operators.
    """
    drawn: list[tuple[int, str]] = []
    for place in select(num):
        rates = rates_of(births[place], weights, floor)
        drawn.append((place, list(rates)[rng.choice(len(rates), p=list(rates.values()))]))
    needed = sum(num_parents[name] - 1 for _, name in drawn)
    others = iter(select(needed) if needed else ())
    return tuple(
        Mating((place, *(next(others) for _ in range(num_parents[name] - 1))), name)
        for place, name in drawn
    )
