"""Matings of differential evolution: every member is the old one of a child in turn, with two
others whose difference is taken, and the best. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.errors import UserError
from evoprompt.records import Mating
from evoprompt.selection.base import Expectation

#: Who they are: the old one, one, another, and the best.
MOST_PARENTS = 4


def differential_matings(
    fitness: Floats, operators: Sequence[tuple[str, int]], rng: np.random.Generator
) -> tuple[Mating, ...]:
    """Return a mating for each operator, given by name and number of parents. Child k has the old
    one k mod N; the two others are different members than it and each other where there are
    three, each pair equally likely; then comes the best, of those that tie the first. An operator
    takes as many of the four as it needs.

    Raises:
        UserError: an operator takes more than four parents.
    """
    size, best = len(fitness), int(np.argmax(fitness))
    matings = []
    for place, (name, count) in enumerate(operators):
        if count > MOST_PARENTS:
            raise UserError(
                f"the operator '{name}' takes {count} parents, and evolution.mating=differential "
                f"gives {MOST_PARENTS}; use evolution.mating=drawn"
            )
        old = place % size
        others = [i for i in range(size) if i != old] or [old]
        one, other = rng.choice(others, size=2, replace=len(others) < 2).tolist()
        matings.append(Mating((old, one, other, best)[:count], name))
    return tuple(matings)


def differential_chances(fitness: Floats, counts: Sequence[int]) -> Expectation:
    """Return the chance of each member to fill one of the slots of such matings, picked at random,
    before they were drawn; `counts` are the parents of each. How slots go together is not known.
    """
    size, best = len(fitness), int(np.argmax(fitness))
    filled: NDArray[np.float64] = np.zeros(size)
    for place, count in enumerate(counts):
        old = place % size
        others = [i for i in range(size) if i != old] or [old]
        filled[old] += 1
        filled[others] += min(max(count - 1, 0), 2) / len(others)
        filled[best] += count == MOST_PARENTS
    return Expectation(filled / filled.sum(), "closed form", None, None, sum(counts))
