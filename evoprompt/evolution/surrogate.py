"""What children are worth before they are measured: a regression of fitness on what policies
consist of, by which the best of many proposed children are born. Pure.

    scored policies --fit--> Surrogate --chosen--> who of the proposed is born
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import log, log1p

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.evolvability import Gain
from evoprompt.policy import SLOTS, Policy
from evoprompt.records import CLONE, FITNESS_DIGITS, Birth

#: Fewer births tell nothing. Of 26 real runs the next brood was ranked with a mean correlation of
#: .33 (standard error .06, 26 broods) after 6 to 15 births, and .41 (.04, 107 broods) from 16 on.
LEAST_BIRTHS = 8
#: Penalties on squared effects, of which the one is taken that predicts left-out births best.
PENALTIES = (3.0, 10.0, 30.0, 100.0)
#: Names of what every policy has, beside its parents' fitness.
PARENTS = "parents"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a surrogate did in one generation."""

    #: 1 - SSE / SSE_0 over the births so far, each predicted from all else; None: too few are known
    r_squared: float | None
    is_used: bool
    proposed: int  #: children, of which the births are a part; as many where it is not used


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A ridge regression of fitness."""

    columns: Mapping[Hashable, int]
    center: Floats  #: shape (column,)
    scale: Floats
    effects: Floats
    mean: float  #: of fitness
    parents_mean: float  #: of parents' fitness
    labels: tuple[str, ...]
    r_squared: float

    def predict(self, policies: Sequence[Policy], parental: Sequence[float]) -> Floats:
        """Return the fitness of policies, given that of their best parents; shape (policy,)."""
        rows = [_described(p, self.labels) for p in policies]
        for row, value in zip(rows, parental, strict=True):
            row[PARENTS] = value - self.parents_mean
        table = (_table(rows, self.columns) - self.center) / self.scale
        return np.asarray(np.round(self.mean + table @ self.effects, FITNESS_DIGITS))


def fit(
    fitness: Mapping[Policy, float], births: Sequence[Gain], labels: Sequence[str] = ()
) -> Surrogate | None:
    """Return a surrogate of a run: ridge regression of fitness on what policies consist of; None
    where fewer than `LEAST_BIRTHS` policies were born of parents, or they do not differ.

    A policy is described by the shares of labels among its demonstrations and their entropy, the
    labels of the first and the last, how many there are, their lengths and the instruction's; by
    which demonstrations it shows, which words its instruction has, which content each other slot
    has, where several policies have it and not all; and by its best parent's fitness, founders
    having the mean of those. Numbers are scaled to a standard deviation of 1.

    `r_squared` is that of births alone, each predicted from all other policies (exact, by the
    diagonal of the smoother), against the mean of the other births: founders differ by more than
    children do, and to tell them apart helps nobody. It may be negative.

    Args:
        fitness: of every policy that was scored, on the same examples.
        births: that have parents, in order; of a policy that comes again the first one counts.
        labels: the choices that all examples share; none where they do not.
    """
    policies = sorted(fitness, key=lambda p: p.policy_id)
    by_id = {p.policy_id: fitness[p] for p in policies}
    parents: dict[str, float] = {}
    for birth in births:
        if birth.operator != CLONE and birth.policy_id in by_id:
            best = max(by_id[name] for name in birth.parent_ids)
            parents.setdefault(birth.policy_id, best)
    born = np.array([p.policy_id in parents for p in policies])
    values = np.array([by_id[p.policy_id] for p in policies])
    if born.sum() < LEAST_BIRTHS or np.ptp(values[born]) == 0:
        return None
    parents_mean = float(np.mean(list(parents.values())))
    rows = [_described(p, tuple(labels)) for p in policies]
    for policy, row in zip(policies, rows, strict=True):
        row[PARENTS] = parents.get(policy.policy_id, parents_mean) - parents_mean
    columns = _columns(rows)
    table = _table(rows, columns)
    numbers = np.array([isinstance(name, str) for name in columns])
    spread = table.std(axis=0)
    scale = np.where(numbers & (spread > 0), spread, 1.0)
    center = table.mean(axis=0)
    scaled, mean = (table - center) / scale, float(values.mean())
    fits = [_ridge(scaled, values - mean, penalty, born) for penalty in PENALTIES]
    effects, r_squared = max(fits, key=lambda found: found[1])
    return Surrogate(columns, center, scale, effects, mean, parents_mean, tuple(labels), r_squared)


def chosen(
    found: Surrogate, children: Sequence[Birth], parental: Sequence[float], count: int
) -> list[int]:
    """Return who is born of the proposed children, ascending: those of the greatest predicted
    fitness, which is the greatest gain over the member that all of them have to beat. Of equals the
    first; clones last.

    Args:
        found: the surrogate.
        children: proposed.
        parental: the fitness of each one's best parent, as it was fitted.
        count: of births.
    """
    predicted = found.predict([c.policy for c in children], parental)
    is_clone = [c.operator == CLONE for c in children]
    order = sorted(range(len(children)), key=lambda i: (is_clone[i], -predicted[i], i))
    return sorted(order[:count])


def _described(policy: Policy, labels: tuple[str, ...]) -> dict[Hashable, float]:
    """Return what a policy consists of: numbers by name, and 1 for each thing that it has."""
    shown = policy.demonstrations
    words = policy.instruction.casefold().split()
    lengths = [len(d.input) + len(d.target) for d in shown]
    row: dict[Hashable, float] = {
        "demonstrations": float(len(shown)),
        "demonstrations squared": float(len(shown) ** 2),
        "length of demonstrations": log1p(sum(lengths)),
        "length of instruction": log1p(len(words)),
    }
    shares = [sum(d.target == label for d in shown) / max(1, len(shown)) for label in labels]
    row |= {f"share of {label}": share for label, share in zip(labels, shares, strict=True)}
    row["entropy of labels"] = -sum(share * log(share) for share in shares if share > 0)
    if shown and labels:
        row[("first", shown[0].target)] = row[("last", shown[-1].target)] = 1.0
    row |= {("demonstration", d): 1.0 for d in shown} | {("word", word): 1.0 for word in words}
    others = (slot.name for slot in SLOTS if slot.name != "demonstrations")
    return row | {(name, getattr(policy, name)): 1.0 for name in others}


def _columns(rows: Sequence[Mapping[Hashable, float]]) -> dict[Hashable, int]:
    """Return the place of each number, and of each thing that several policies have, and not
    all.
    """
    counts = Counter(name for row in rows for name in row)
    kept = [n for n, num in counts.items() if isinstance(n, str) or 1 < num < len(rows)]
    return {name: place for place, name in enumerate(kept)}


def _table(rows: Sequence[Mapping[Hashable, float]], columns: Mapping[Hashable, int]) -> Floats:
    table = np.zeros((len(rows), len(columns)))
    for place, row in enumerate(rows):
        for name, value in row.items():
            if name in columns:
                table[place, columns[name]] = value
    return table


def _ridge(columns: Floats, values: Floats, penalty: float, born: Floats) -> tuple[Floats, float]:
    """Return the effects, and R squared of the births among the rows, each left out. The mean is
    taken off both already, and counts as one more effect.
    """
    inverse = np.linalg.inv(columns.T @ columns + penalty * np.eye(columns.shape[1]))
    effects = inverse @ (columns.T @ values)
    left = 1 - 1 / len(values) - np.einsum("pc,cd,pd->p", columns, inverse, columns)
    errors = ((values - columns @ effects) / left)[born]
    num = len(errors)
    spread = (values[born] - values[born].mean()) * num / (num - 1)
    return effects, float(1 - (errors @ errors) / (spread @ spread))
