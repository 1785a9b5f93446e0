"""Demonstrations by what they were worth in the policies that a run has scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evoprompt.policy import SLOTS, Policy
from evoprompt.records import Credit, Materials
from evoprompt.variation.base import Need
from evoprompt.variation.demonstrations import unused

#: Fewer different policies, or fewer that show demonstrations, tell nothing.
LEAST_POLICIES = 12

#: Penalties on the squared effects of demonstrations and slots, of which the one is taken that
#: predicts left-out policies best; and on that of the number of demonstrations, which is hardly
#: shrunk.
PENALTIES, PENALTY_OF_NUMBER = (1.0, 3.0, 10.0, 30.0), 0.1

#: The share of variance that demonstrations have to explain before they are drawn by credit.
LEAST_R_SQUARED = 0.15


def demonstration_credit(policies: Sequence[Policy], fitness: Sequence[float]) -> Credit:
    """Return what demonstrations were worth: ridge regression of fitness on which are shown, how
    many are, and the other slots.

    With X the presence of each demonstration (policy, demonstration), Z an intercept, the number of
    demonstrations and a column for each content of other slots that several policies have, the
    effects b and c minimise

        |fitness - X b - Z c|^2 + penalty (|b|^2 + |c|^2),

    the intercept free and the number nearly so; the gains are b, in units of fitness. So a gain is
    the mean by which a policy that shows the demonstration is fitter than its number of
    demonstrations and its other slots say, drawn towards 0 where few policies show it.

    `r_squared` is 1 - SSE / SSE_0 of predictions of each policy from the others (exact, by the
    diagonal of the smoother), SSE_0 being that without X, each at its own best penalty. It may be
    negative. Without gains and 0 it is where fewer than `LEAST_POLICIES` different policies show
    demonstrations or fitness does not differ.

    Args:
        policies: that were scored, on the same examples; one that comes again counts once.
        fitness: of each.
    """
    scored = dict(zip(policies, fitness, strict=True))
    values = np.array(list(scored.values()), dtype=np.float64)
    shown = list(dict.fromkeys(d for p in scored for d in p.demonstrations))
    if sum(bool(p.demonstrations) for p in scored) < LEAST_POLICIES or np.ptp(values) == 0:
        return Credit({}, 0.0)
    presence = np.array([[d in set(p.demonstrations) for d in shown] for p in scored], dtype=float)
    number = presence.sum(axis=1, keepdims=True)
    fixed = np.hstack([np.ones((len(values), 1)), number - number.mean(), _slots(list(scored))])
    least = min(_fit(fixed, 0, values, penalty)[1] for penalty in PENALTIES)
    both = np.hstack([fixed, presence])
    fits = [_fit(both, len(shown), values, penalty) for penalty in PENALTIES]
    gains, error = min(fits, key=lambda found: found[1])
    if least == 0:
        return Credit({}, 0.0)
    return Credit(dict(zip(shown, gains.tolist(), strict=True)), 1.0 - error / least)


@dataclass(frozen=True, slots=True)
class DemonstrationAddBest:
    """Adds one example of the pool at any place, drawn by softmax of its credit over the standard
    deviation of all credits; one that was never shown has the credit 0. Only while credit tells
    something: where the demonstrations that are shown explain more than `LEAST_R_SQUARED` of
    what the rest leaves.
    """

    name: ClassVar[str] = "demonstration_add_best"
    num_parents: ClassVar[int] = 1
    slot: ClassVar[str] = "demonstrations"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CREDIT})

    def apply(
        self, parents: Sequence[Policy], materials: Materials, rng: np.random.Generator
    ) -> Policy | None:
        """Return the child, or None where credit tells nothing, the prompt is full or the pool is
        used up.
        """
        shown, credit = list(parents[0].demonstrations), materials.credit
        free = unused(shown, materials)
        if credit is None or len(shown) >= materials.max_demonstrations or not free:
            return None
        spread = float(np.std(list(credit.gains.values()) or [0.0]))
        if credit.r_squared <= LEAST_R_SQUARED or spread == 0:
            return None
        gains = np.array([credit.gains.get(d, 0.0) for d in free]) / spread
        chances = np.exp(gains - gains.max())
        drawn = free[int(rng.choice(len(free), p=chances / chances.sum()))]
        shown.insert(int(rng.integers(len(shown) + 1)), drawn)
        return replace(parents[0], demonstrations=tuple(shown))


def _slots(policies: Sequence[Policy]) -> NDArray[np.float64]:
    """Return a column of 0 and 1 for each content of each slot but the demonstrations that several
    policies have, and not all; shape (policy, content).
    """
    columns: list[list[bool]] = []
    for slot in SLOTS:
        contents: list[Hashable] = [getattr(p, slot.name) for p in policies]
        if slot.name != "demonstrations":
            counts = Counter(contents)
            several = [c for c, n in counts.items() if 1 < n < len(policies)]
            columns += [[c == content for c in contents] for content in several]
    return np.array(columns, dtype=np.float64).reshape(len(columns), len(policies)).T


def _fit(
    columns: NDArray[np.float64], num_last: int, values: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Return the effects of the last columns, and the sum of squared errors of predictions of each
    value from the others. The first column is free, the second has `PENALTY_OF_NUMBER`.
    """
    penalties = np.full(columns.shape[1], penalty)
    penalties[:2] = 0.0, PENALTY_OF_NUMBER
    solved = np.linalg.solve(columns.T @ columns + np.diag(penalties), columns.T)
    left = 1.0 - np.einsum("pc,cp->p", columns, solved)  # of each value in its own prediction
    effects = solved @ values
    errors = (values - columns @ effects) / left
    return effects[len(effects) - num_last :], float(errors @ errors)
