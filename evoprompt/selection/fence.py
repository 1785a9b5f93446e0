"""The fence around global generators, which DEAP draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Seed the two global generators from the caller's own, and put both back as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**63)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
