"""What changes in the course of a search: on how many examples a generation is measured, what a
bonus counts, and what side effects do. Pure.
"""

from __future__ import annotations

from evoprompt.config.evolution import ExamplesConfig, ShapingConfig
from evoprompt.config.side_effects import SideEffectsConfig


def examples_at(progress: float, config: ExamplesConfig, available: int) -> int:
    """Return the number of examples after a share of the budget: the first number, doubled for each
    of `grow` that is behind, and never more than there are.
    """
    if config.first is None:
        return available
    doublings = sum(progress >= share for share in config.grow)
    return int(min(available, config.first * 2**doublings))


def bonus_at(progress: float, config: ShapingConfig) -> float:
    """Return what a unit of the bonus counts after a share p of the search, units of fitness.

    w                     without an end
    w max(0, 1 - p / e)   with w falling to 0 at the share e
    """
    if config.until is None:
        return config.weight
    return config.weight * max(0.0, 1 - progress / config.until)


def relief_at(progress: float, config: SideEffectsConfig) -> float:
    """Return what selection gives back of a unit of the penalty for side effects after a share p of
    the search, units of fitness.

    0                     where the coefficient c does not rise
    c max(0, 1 - p / e)   with c reached at the share e
    """
    if config.until is None:
        return 0.0
    return config.coefficient * max(0.0, 1 - progress / config.until)
