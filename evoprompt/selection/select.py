"""The configured scheme at work: who has children, who survives, and how likely that was.

What was realised minus what was likely is drift.
"""

from __future__ import annotations

import numpy as np

from evoprompt.config.evolution import SelectionConfig
from evoprompt.plugins import find
from evoprompt.selection.base import Candidates, Expectation, Scheme, draw_parents, draw_survivors
from evoprompt.selection.schemes import SCHEMES

#: What a scheme has.
PARTS = ("chooses_set", "draw", "parent_chances", "survival_chances")


def scheme_of(settings: SelectionConfig, where: str = "selection.method") -> Scheme:
    """Return the configured scheme; `where` names the key in errors.

    Raises:
        UserError: there is none of that name.
    """
    scheme: Scheme = find("selection", settings.method, SCHEMES, where, PARTS)
    return scheme


def select_parents(
    candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
) -> list[int]:
    """Return `num` indices, drawn with replacement where the scheme does so.

    Raises:
        ValueError: there is no candidate, or a fitness is NaN or infinite.
    """
    return draw_parents(scheme_of(settings), candidates, num, settings, rng)


def select_survivors(
    candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
) -> list[int]:
    """Return `num` different indices, in ascending order: a birth survives once or not at all.

    Raises:
        ValueError: as `select_parents`, or fewer candidates than `num`.
    """
    return draw_survivors(scheme_of(settings), candidates, num, settings, rng)


def parent_probabilities(
    candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
) -> Expectation:
    """Return the probability that each candidate fills one of `num` parent slots, picked at random;
    it sums to 1.

    Args:
        candidates: what `select_parents` is given.
        num: slots filled in one call; it matters to the schemes that fill them together (truncation
            and NSGA-II).
        settings: of the parent selection.
        rng: for simulations only; one of its own, so that the run's draws stay as they are.

    Raises:
        ValueError: no slot, no candidate, or a fitness that is NaN or infinite.
    """
    if num < 1:
        raise ValueError(f"parent_probabilities(num={num}): expected at least one slot")
    return scheme_of(settings).parent_chances(candidates, num, settings, rng)


def survival_probabilities(
    candidates: Candidates, num: int, settings: SelectionConfig, rng: np.random.Generator
) -> Expectation:
    """Return the probability that each candidate is among `num` survivors; it sums to `num`.

    Survivors are never independent: a place that one takes is lost to the others. Tournaments and
    rank weights, drawn one after the other, are solved exactly by recursion.

    Args:
        candidates: what `select_survivors` is given; leaving equal policies out is the caller's
            business.
        num: survivors.
        settings: of the survival selection.
        rng: for simulations only; one of its own, so that the run's draws stay as they are.

    Raises:
        ValueError: no candidate, fewer candidates than `num`, or a fitness that is NaN or infinite.
    """
    return scheme_of(settings).survival_chances(candidates, num, settings, rng)
