"""How many examples a generation is measured on. Pure."""

from __future__ import annotations

from evoprompt.config.evolution import ExamplesConfig


def examples_at(progress: float, config: ExamplesConfig, available: int) -> int:
    """Return the number of examples after a share of the budget: the first number, doubled for each
    of `grow` that is behind, and never more than there are.
    """
    if config.first is None:
        return available
    doublings = sum(progress >= share for share in config.grow)
    return int(min(available, config.first * 2**doublings))
