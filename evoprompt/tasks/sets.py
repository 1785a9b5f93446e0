"""Sets of demonstrations that show every label as often as the others.

A label is a choice that all examples share. Where choices differ by example, or in free form, there
is none: then all demonstrations count as of one label, and a set is drawn from all alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evoprompt.policy import Demonstration


def labels_of(
    demonstrations: Sequence[Demonstration], offers: Sequence[Sequence[str]]
) -> dict[Demonstration, str]:
    """Return the label of each demonstration: its target, where there is one set of choices and
    every target is among them, else the empty text.

    Args:
        demonstrations: of the pool.
        offers: the different sets of choices that examples have.
    """
    shared = len(offers) == 1 and all(d.target in offers[0] for d in demonstrations)
    return {d: d.target if shared else "" for d in demonstrations}


def draw_set(
    pool: Sequence[Demonstration],
    size: int,
    labels: Mapping[Demonstration, str],
    rng: np.random.Generator,
) -> tuple[Demonstration, ...]:
    """Return so many demonstrations of the pool in an order that interleaves the labels: one of
    each in random order, then the next of each. Fewer are returned where the pool has fewer.

    Where the pool has more labels than `size`, no label comes twice, and the demonstrations are
    those that differ most from one another (`most_different`).
    """
    shuffled = [pool[int(i)] for i in rng.permutation(len(pool))]
    if size < len({labels[d] for d in shuffled}):
        return most_different(shuffled, size, labels)
    return interleaved(shuffled, labels, rng)[:size]


def interleaved(
    demonstrations: Sequence[Demonstration],
    labels: Mapping[Demonstration, str],
    rng: np.random.Generator,
) -> tuple[Demonstration, ...]:
    """Return all in turns: the first of each label in random order, then the second of each, while
    there are any.
    """
    turns: Counter[str] = Counter()
    ranked = []
    for demonstration, place in zip(
        demonstrations, rng.permutation(len(demonstrations)), strict=True
    ):
        label = labels[demonstration]
        ranked.append((turns[label], int(place), demonstration))
        turns[label] += 1
    return tuple(d for _, _, d in sorted(ranked, key=lambda r: r[:2]))


def most_different(
    demonstrations: Sequence[Demonstration], size: int, labels: Mapping[Demonstration, str]
) -> tuple[Demonstration, ...]:
    """Return at most `size` demonstrations, none of a label that another one has: the first, then
    always the one whose nearest among those taken is furthest.

    The distance of two is the share of their inputs' words, taken together and in any case, that
    only one of them has; the first goes before others that are as far.
    """
    words = {d: frozenset(re.findall(r"\w+", d.input.lower())) for d in demonstrations}
    distance = dict.fromkeys(demonstrations, 1.0)  #: to the nearest of those taken
    taken: list[Demonstration] = []
    while distance and len(taken) < size:
        new = max(distance, key=lambda d: distance[d])
        taken.append(new)
        distance = {
            d: min(far, _distance(words[d], words[new]))
            for d, far in distance.items()
            if labels[d] != labels[new]
        }
    return tuple(taken)


def _distance(one: frozenset[str], other: frozenset[str]) -> float:
    together = len(one | other)
    return 1.0 - len(one & other) / together if together else 0.0
