"""Generations made by hand."""

from __future__ import annotations

import numpy as np

from evoprompt.dynamics.population import Births


def births_of(
    traits, links=(), operators=None, *, generation=1, selected=None, names=("fitness", "tokens")
):
    """Births from traits, shape (birth, trait), and triples (child, parent, share)."""
    traits = np.asarray(traits, dtype=np.float64)
    n = len(traits)
    labels = list(operators or ["found"] * n)
    known = tuple(dict.fromkeys(labels))
    child, parent, share = np.array(list(links), dtype=np.float64).reshape(-1, 3).T
    ids = tuple(f"{generation}-{i}" for i in range(n))
    return Births(
        generation,
        ids,
        ids,
        np.zeros(n, dtype=np.int64),
        np.ones(n, dtype=bool) if selected is None else np.asarray(selected),
        np.array([known.index(o) for o in labels], dtype=np.int64),
        known,
        names,
        traits,
        child.astype(np.int64),
        parent.astype(np.int64),
        share,
    )
