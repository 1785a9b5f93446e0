"""The table of the kinds of fitness, and the configuration -> the fitness that it asks for."""

from __future__ import annotations

from collections.abc import Mapping

from evoprompt.choices import COMPARISONS
from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError, nearest
from evoprompt.fitness.base import Fitness, FitnessKind
from evoprompt.fitness.likelihood import (
    Accuracy,
    LabelNormalized,
    PerByte,
    PerToken,
    Pmi,
    Sum,
)
from evoprompt.fitness.written import WrittenMetric
from evoprompt.plugins import find

#: Every kind of the package by its name in a configuration. A new one is a class, and a word here.
KINDS: Mapping[str, FitnessKind] = {
    kind.name: kind
    for kind in (
        *(Sum(), PerToken(), PerByte(), LabelNormalized(), Pmi(), Accuracy()),
        WrittenMetric(),
    )
}

#: The kind that is left to the task: the first where it has choices, the second where it has none.
AUTO, WITH_CHOICES, FREE_FORM = "auto", "label_normalized", "per_token"


def fitness_of(config: FitnessConfig, *, has_choices: bool) -> Fitness:
    """Return the fitness that a configuration asks for; `has_choices` settles `auto`.

    Raises:
        UserError: there is no such kind, or what stands under its name is no fitness.
    """
    name = config.kind
    if name == AUTO:
        name = WITH_CHOICES if has_choices else FREE_FORM
    kind = find("fitness", name, {AUTO: None, **KINDS}, "fitness.kind")
    if not isinstance(kind, FitnessKind):
        raise UserError(
            f"fitness.kind '{name}' is {kind!r}, which is no fitness: it takes name, needs_prior, "
            f"needs_choices and cases(scores), as evoprompt.fitness.likelihood.Sum has them"
        )
    is_log_probability = isinstance(kind, LabelNormalized | Pmi) and config.calibration != "off"
    prior = config.demonstrations_prior if is_log_probability else 0.0
    fitness = Fitness(name, kind, config.self_evaluation, config.prompt_token_penalty, prior)
    if fitness.compared_by not in COMPARISONS:
        raise UserError(
            f"fitness.kind '{name}' compares choices by '{fitness.compared_by}'; "
            f"{nearest(fitness.compared_by, COMPARISONS)}"
        )
    if fitness.comparison.over_batch or fitness.comparison.beyond_prior > kind.needs_prior:
        raise UserError(
            f"fitness.kind '{name}' compares choices by '{fitness.compared_by}', which takes a "
            "prior of its own: say needs_prior for 'pmi'; 'batch' is for answering alone"
        )
    return fitness


def without_choices() -> list[str]:
    """Return the package's kinds that need no choices."""
    return [name for name, kind in KINDS.items() if not kind.needs_choices]
