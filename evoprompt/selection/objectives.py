"""What selection by several objectives looks at: a function of the candidates each, higher is
better. A new one is a line in `OBJECTIVES` and a name in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.config.evolution import Objective, SelectionConfig
from evoprompt.errors import UserError
from evoprompt.selection.base import Candidates

#: Of candidates, what `youth` is.
FOUNDED = "founded"

#: The share of examples below the robust fitness.
LOWER = 0.25


def robustness(candidates: Candidates) -> Floats:
    """Return the lower quartile of the fitness by example, shape (candidate,): what a candidate is
    worth on examples that suit it little.
    """
    return np.asarray(np.quantile(candidates.case_fitness, LOWER, axis=1))


def fluency(candidates: Candidates) -> Floats:
    """Return the log-likelihood of the prompt, nats per token, shape (candidate,)."""
    return -_trait(candidates, "prompt_cross_entropy", "set traits.prompt_cross_entropy=true")


def accuracy(candidates: Candidates) -> Floats:
    """Return the share of right answers, shape (candidate,)."""
    return _trait(candidates, "accuracy", "give every policy that trait")


def youth(candidates: Candidates) -> Floats:
    """Return the generation in which the earliest founder of each was born, shape (candidate,):
    who descends from immigrants is compared with others as young.

    Source: Schmidt and Lipson 2011 (age-fitness Pareto optimization); Hornby 2006 (age layers).
    """
    return _trait(candidates, FOUNDED, "select births")


def under_changes(candidates: Candidates) -> Floats:
    """Return what each is worth under the worst of the changes that leave its meaning, in units of
    the fitness, shape (candidate,).
    """
    return _trait(candidates, "under_changes", "give the section robustness")


OBJECTIVES: Mapping[Objective, Callable[[Candidates], Floats]] = {
    "fitness": lambda candidates: candidates.fitness,
    "tokens": lambda candidates: -candidates.prompt_tokens,
    "fluency": fluency,
    "robustness": robustness,
    "accuracy": accuracy,
    "youth": youth,
    "under_changes": under_changes,
}


def objectives_of(candidates: Candidates, settings: SelectionConfig) -> Floats:
    """Return the configured objectives, shape (candidate, objective).

    Raises:
        UserError: one is not known of the candidates.
        ValueError: one is NaN or infinite.
    """
    values = np.stack([OBJECTIVES[name](candidates) for name in settings.objectives], axis=1)
    if not np.isfinite(values).all():
        raise ValueError("selection was given an objective that is NaN or infinite")
    return values


def _trait(candidates: Candidates, name: str, mend: str) -> Floats:
    if name not in candidates.traits:
        raise UserError(
            f"an objective of selection is the trait '{name}', which this run does not have; {mend}"
        )
    return candidates.traits[name]
