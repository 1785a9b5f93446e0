"""Epsilon-lexicase selection in arrays, and how likely it is that each candidate survives.

The cases come in a random order; each keeps of the candidates that are left those within the median
absolute deviation of their best on it, until one is left, or one of several by chance. It draws
from the global generators as DEAP's `selAutomaticEpsilonLexicase` does, and selects the same.

Source: La Cava, Spector and Danai 2016 (the dynamic threshold).
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers


def lexicase(values: Floats, num: int) -> list[int]:
    """Return the winners of `num` random orders of the cases.

    Args:
        values: higher is better, shape (candidate, case).
        num: winners.
    """
    columns, cases = values.T, list(range(values.shape[1]))
    winners = []
    for _ in range(num):
        order, left = cases[:], np.arange(len(values))
        random.shuffle(order)
        for case in order:
            if len(left) == 1:
                break
            own = columns[case, left]
            spread = _median(np.abs(own - _median(own)))
            left = left[own >= own.max() - spread]
        winners.append(int(left[random.choice(range(len(left)))]))
    return winners


def surviving(values: Floats, num: int, draws: int, rng: np.random.Generator) -> Floats:
    """Return in how many of so many survivals each candidate was, shape (candidate,). A survival
    is `num` winners, one after the other, each set aside; all survivals go on side by side.

    Args:
        values: as of `lexicase`, of at least `num` candidates.
        num: survivors.
        draws: survivals.
        rng: draws the orders.
    """
    size, survivals = len(values), np.arange(draws)
    left = np.tile(np.arange(size), (draws, 1))  # who is left, the first of each row, in any order
    found = np.zeros(size)
    for n in range(size, size - num, -1):
        winners = _winners(values, left[:, :n], rng)
        chosen = left[survivals, winners]
        found += np.bincount(chosen, minlength=size)
        left[survivals, winners] = left[:, n - 1]
    return found


def _winners(values: Floats, left: Integers, rng: np.random.Generator) -> Integers:
    """Return the place of a winner among those that are left in each row, shape (row,)."""
    orders = rng.permuted(np.tile(np.arange(values.shape[1]), (len(left), 1)), axis=1)
    own = values[left, orders[:, :1]]
    center = np.abs(own - np.median(own, axis=1, keepdims=True))
    alive = own >= own.max(axis=1, keepdims=True) - np.median(center, axis=1, keepdims=True)
    places, is_there = _pressed(np.broadcast_to(np.arange(left.shape[1]), left.shape), alive)
    for case in range(1, orders.shape[1]):
        going = np.flatnonzero(is_there.sum(axis=1) > 1)
        if not going.size:
            break
        rows = np.take_along_axis(left[going], places[going], axis=1)
        there = is_there[going]
        own = values[rows, orders[going, case : case + 1]]
        best = np.where(there, own, -np.inf).max(axis=1, keepdims=True)
        spread = _medians(np.abs(own - _medians(own, there)), there)
        is_there[going] = there & (own >= best - spread)
        places, is_there = _pressed(places, is_there)
    lot = rng.integers(is_there.sum(axis=1))
    return np.take_along_axis(places, lot[:, None], axis=1)[:, 0]


def _medians(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return the median of those of each row that are there, shape (row, 1)."""
    order = np.sort(np.where(there, values, np.inf), axis=1)
    num = there.sum(axis=1, keepdims=True)
    low, high = (np.take_along_axis(order, place, axis=1) for place in ((num - 1) // 2, num // 2))
    return np.where(low == high, low, (low + high) / 2)


def _pressed(places: Integers, alive: NDArray[np.bool_]) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the places that are alive first in each row, and which those are, as narrow as the
    longest row.
    """
    width = int(alive.sum(axis=1).max())
    order = np.argsort(~alive, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(alive, order, axis=1)


def _median(values: Floats) -> float:
    """Return the median, as `numpy.median` does, in a third of its time for few values."""
    middle, odd = divmod(len(values), 2)
    if odd:
        return float(np.partition(values, middle)[middle])
    low, high = np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(np.mean((low, high)))
