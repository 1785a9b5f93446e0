"""The contract of a selection scheme. Each function raises `AssertionError` where it is broken.

from evoprompt.testing.selection import check_scheme

def test_my_scheme():
check_scheme(MyScheme())
"""

from __future__ import annotations

import random
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.sections import SelectionConfig
from evoprompt.selection.base import Candidates, Expectation, Scheme, draw_parents, draw_survivors

#: Draws against which the stated chances are held.
DRAWS = 400
#: Standard errors by which a share may be off: for one share a false alarm in 1.7 million.
Z = 5.0


def candidates_of(num: int = 7, cases: int = 5, seed: int = 0) -> Candidates:
    """Return candidates with different fitness, of which two are equal."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, cases)).round(3)
    values[1] = values[0]
    return Candidates(values.mean(axis=1), values, rng.integers(5, 60, size=num).astype(float))


def check_scheme(scheme: Scheme, settings: SelectionConfig | None = None) -> None:
    """Check the whole contract."""
    settings = settings or SelectionConfig()
    check_draws(scheme, settings)
    check_survivors(scheme, settings)
    check_global_generators(scheme, settings)
    check_refusals(scheme, settings)
    check_parent_chances(scheme, settings)
    check_survival_chances(scheme, settings)


def check_draws(scheme: Scheme, settings: SelectionConfig) -> None:
    """A draw gives as many valid indices as were asked for, the same for the same generator, and
    leaves its arguments as they were.
    """
    candidates, before = candidates_of(), candidates_of()
    for num in (1, 3, 10):
        drawn = draw_parents(scheme, candidates, num, settings, np.random.default_rng(1))
        assert len(drawn) == num, f"{len(drawn)} of {num} slots were filled"
        assert all(0 <= index < 7 for index in drawn), f"{drawn} are no indices of 7 candidates"
        again = draw_parents(scheme, candidates, num, settings, np.random.default_rng(1))
        assert drawn == again, "the same generator gave other parents"
    assert (candidates.fitness == before.fitness).all(), "the fitness was changed"
    assert (candidates.case_fitness == before.case_fitness).all(), "case fitness was changed"


def check_survivors(scheme: Scheme, settings: SelectionConfig) -> None:
    """Survivors are different, in ascending order, and all where all may survive."""
    candidates = candidates_of()
    for num in (1, 4, 7):
        kept = draw_survivors(scheme, candidates, num, settings, np.random.default_rng(2))
        assert kept == sorted(set(kept)), f"{kept} are not different and ascending"
        assert len(kept) == num, f"{len(kept)} of {num} survived"


def check_global_generators(scheme: Scheme, settings: SelectionConfig) -> None:
    """The generators of `random` and numpy are as they were before a call."""
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    draw_parents(scheme, candidates_of(), 4, settings, np.random.default_rng(0))
    draw_survivors(scheme, candidates_of(), 4, settings, np.random.default_rng(0))
    assert (random.random(), np.random.random()) == expected, "a global generator has moved"


def check_refusals(scheme: Scheme, settings: SelectionConfig) -> None:
    """Nobody is selected where a fitness is NaN, or where there is nobody."""
    sound = candidates_of()
    broken = Candidates(np.full(7, np.nan), sound.case_fitness, sound.prompt_tokens)
    for candidates in (broken, sound.take([])):
        try:
            draw_parents(scheme, candidates, 2, settings, np.random.default_rng(0))
        except ValueError:
            continue
        raise AssertionError("candidates that cannot be compared were selected")


def check_parent_chances(scheme: Scheme, settings: SelectionConfig) -> None:
    """The chances of parents sum to 1 and are those of drawing."""
    candidates, num = candidates_of(), 4
    said = scheme.parent_chances(candidates, num, settings, np.random.default_rng(4))
    assert abs(said.probability.sum() - 1) < 1e-9, f"chances sum to {said.probability.sum()}"
    rng = np.random.default_rng(5)
    drawn = [draw_parents(scheme, candidates, num, settings, rng) for _ in range(DRAWS)]
    found = np.bincount(np.concatenate(drawn).astype(int), minlength=7) / (DRAWS * num)
    # Slots of one call may depend on each other, so each call counts as one draw.
    _check_shares(found, said, DRAWS)


def check_survival_chances(scheme: Scheme, settings: SelectionConfig) -> None:
    """The chances of survivors sum to their number and are those of drawing."""
    candidates, num = candidates_of(), 3
    said = scheme.survival_chances(candidates, num, settings, np.random.default_rng(6))
    assert abs(said.probability.sum() - num) < 1e-9, f"chances sum to {said.probability.sum()}"
    rng = np.random.default_rng(7)
    kept = [draw_survivors(scheme, candidates, num, settings, rng) for _ in range(DRAWS)]
    found = np.bincount(np.concatenate(kept).astype(int), minlength=7) / DRAWS
    _check_shares(found, said, DRAWS)


def _check_shares(found: NDArray[np.float64], said: Expectation, draws: int) -> None:
    own = said.standard_error if said.standard_error is not None else np.zeros(len(found))
    for index, (share, p) in enumerate(zip(found, said.probability, strict=True)):
        middle = min(max((share + p) / 2, 1 / draws), 1 - 1 / draws)
        error = sqrt(middle * (1 - middle) / draws + max(float(own[index]) ** 2, 0.0))
        assert abs(share - p) <= Z * error, (
            f"candidate {index} was selected with a share of {share:.3f}, and its stated chance is "
            f"{p:.3f}"
        )
