"""The best policy of each kind that a search has met, and a population that begins again from them
where it is stuck. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

from evoprompt.arrays import Floats
from evoprompt.policy import Policy
from evoprompt.records import Evaluation

#: The number of demonstrations, and the word of each choice that has another than itself.
Cell = tuple[int, tuple[tuple[str, str], ...]]
Scored = tuple[Policy, Evaluation]


def cell_of(policy: Policy) -> Cell:
    """Return the kind of a policy."""
    return len(policy.demonstrations), policy.label_words


def archive(scored: Iterable[Scored]) -> dict[Cell, Scored]:
    """Return the best policy of each cell: of those measured on the most examples the fittest, and
    the first of those that tie.

    A policy that was measured on fewer was dropped in a race, or met before there were more; its
    fitness is too uncertain to go before the others.
    """
    found: dict[Cell, Scored] = {}
    for policy, evaluation in scored:
        cell = cell_of(policy)
        if cell not in found or _worth(evaluation) > _worth(found[cell][1]):
            found[cell] = policy, evaluation
    return found


def restart(cells: Mapping[Cell, Scored], mu: int) -> list[Policy]:
    """Return the policies that a population begins again from: the best of the `mu` best cells, the
    best first, one of each; of all cells where there are fewer.
    """
    ranked = sorted(cells.values(), key=lambda each: _worth(each[1]), reverse=True)
    return [policy for policy, _ in ranked[:mu]]


def is_stuck(bests: Sequence[Floats], patience: int = 3) -> bool:
    """Return whether no new best has come for `patience` generations: the best now is not better
    than the one then by more than the standard error of their paired difference, sd(d) / sqrt(m)
    with ddof 1 on the m first examples that both met.

    Not before as many generations have passed, nor where the standard error is undefined, for one
    common example.

    Args:
        bests: fitness by example of the best policy after each generation, on its first examples.
        patience: generations, at least 1.
    """
    if len(bests) <= patience:
        return False
    before, now = bests[-1 - patience], bests[-1]
    num = min(len(before), len(now))
    if num < 2:
        return False
    difference = now[:num] - before[:num]
    return float(difference.mean()) <= float(difference.std(ddof=1)) / sqrt(num)


def _worth(evaluation: Evaluation) -> tuple[int, float]:
    return evaluation.examples, evaluation.fitness
