"""A population without anything clever: N individuals, and every child is a copy of one parent that
is drawn by given probabilities.

It writes the lines of a lineage, so that what reads lineages is judged by a process whose law is
known. Source: Wright 1931.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Probabilities = Callable[[np.ndarray], np.ndarray]


def equally(traits: np.ndarray) -> np.ndarray:
    return np.full(len(traits), 1 / len(traits))


def lineage(
    size: int,
    num_generations: int,
    rng: np.random.Generator,
    drawn_by: Probabilities = equally,
    claimed: Probabilities = equally,
    mutation: float = 0,
) -> Iterator[dict[str, Any]]:
    """Yield `size` founders with normal traits, then `size` children for each generation.

    A child's trait `z` is its parent's plus normal noise of sd `mutation`; its `policy_id` is the
    founder that it descends from. Parents are drawn with the probabilities `drawn_by(traits)`, and
    `claimed(traits)` are those that the lineage says.
    """
    traits = rng.normal(size=size)
    founders = list(range(size))
    parents: list[int] = []
    for generation in range(num_generations + 1):
        if generation:
            parents = rng.choice(size, size=size, p=drawn_by(traits)).tolist()
            traits = np.array([traits[p] for p in parents]) + mutation * rng.normal(size=size)
            founders = [founders[p] for p in parents]
        probabilities = claimed(traits)
        for i in range(size):
            yield {
                "generation": generation,
                "island": 0,
                "birth_id": f"{generation}.0.{i}",
                "policy_id": f"founder {founders[i]}",
                "parent_ids": [f"{generation - 1}.0.{parents[i]}"] if generation else [],
                "shares": [1.0] if generation else [],
                "operator": "copy" if generation else "found",
                "selected": True,
                "traits": {"z": float(traits[i])},
                "selection_probability": float(probabilities[i]),
            }
