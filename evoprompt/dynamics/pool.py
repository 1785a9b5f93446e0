"""What selection acts on and what makes fitness, over all generations together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.dynamics.gradients import (
    Gradients,
    RewardFeatures,
    reward_features,
    selection_gradients,
)
from evoprompt.dynamics.inheritance import Undefined
from evoprompt.dynamics.population import Births

#: Births that gradients and reward features are pooled over, at most.
POOLED_ROWS = 100_000


class Pool:
    """Individuals of all generations, each measured from the mean of its own: a small population
    tells many traits apart only so.

    Selection gradients from the parents' traits and relative success; reward features from all
    births' traits and fitness. The traits are those of the first generation but fitness; after
    `POOLED_ROWS` births no more are kept, since a large population has both in each generation.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._parents: list[tuple[Floats, Floats]] = []  # traits and relative success
        self._births: list[tuple[Floats, Floats]] = []  # traits and fitness
        self._num = 0

    def add(self, before: Births, births: Births) -> None:
        """Add a pair of generations."""
        if not self._names:
            self._names = tuple(name for name in before.trait_names if name != "fitness")
        complete = all(name in b.trait_names for b in (before, births) for name in self._names)
        if not complete or self._num > POOLED_ROWS:
            return
        success = births.success(len(before))[before.selected]
        self._parents.append((self._deviations(before, before.selected), success / success.mean()))
        fitness = births.trait("fitness")
        self._births.append(
            (self._deviations(births, np.ones(len(births), dtype=bool)), fitness - fitness.mean())
        )
        self._num += len(births)

    def _deviations(self, births: Births, rows: NDArray[np.bool_]) -> Floats:
        columns = births.traits[:, [births.trait_names.index(name) for name in self._names]][rows]
        return np.asarray(columns - columns.mean(axis=0), dtype=np.float64)

    def summary(self) -> dict[str, Mapping[str, object]]:
        """Return gradients and reward over all generations."""
        if not self._parents:
            return {}
        traits, weight = (np.concatenate(columns) for columns in zip(*self._parents, strict=True))
        all_traits, fitness = (
            np.concatenate(columns) for columns in zip(*self._births, strict=True)
        )
        gradients = selection_gradients(traits, self._names, weight, rng=np.random.default_rng(0))
        return {
            "gradients": described_gradients(gradients),
            "reward": described_reward(reward_features(all_traits, self._names, fitness)),
        }


def described_gradients(found: Gradients | Undefined) -> dict[str, object]:
    """Return gradients by name, ready for JSON."""
    if isinstance(found, Undefined):
        return {"undefined": found.reason}
    errors = found.standard_error.tolist() if found.standard_error is not None else None
    return {
        "gradient": dict(zip(found.trait_names, found.gradient.tolist(), strict=True)),
        "standard_error": dict(zip(found.trait_names, errors, strict=True)) if errors else None,
        "differential": dict(zip(found.trait_names, found.differential.tolist(), strict=True)),
        "warning": found.warning,
    }


def described_reward(found: RewardFeatures | Undefined) -> dict[str, object]:
    """Return reward features by name, ready for JSON."""
    if isinstance(found, Undefined):
        return {"undefined": found.reason}
    return {
        "weight": dict(zip(found.trait_names, found.weight.tolist(), strict=True)),
        "r_squared": found.r_squared,
        "warning": found.warning,
    }
