"""A bonus for named steps, in selection alone: what it did in each generation, and the section of a
run's page that says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprompt.dynamics.population import Births
from evoprompt.fitness.traits import NAMED_STEPS
from evoprompt.jobs.evolve.record import GenerationLine, ShapingLine
from evoprompt.records import FITNESS_DIGITS
from evoprompt.report.markup import section
from evoprompt.report.table import new_table, to_html
from evoprompt.stats.rank_correlation import kendall

NOTE = (
    "In selection alone a bonus was added to the fitness: how likely the model says, at each move, "
    "what the expert is about to do, in the mean over moves, times a weight. The fitness of this "
    "page, the finalists and the champion go without it. The rank correlation is Kendall's tau of "
    "all births with the bonus and without: where it is 1, the bonus chose nobody else."
)


def shaping_line(births: Births, weight: float) -> ShapingLine:
    """Return what a bonus of this weight did in a generation, on the examples that all its births
    were measured on first.
    """
    first = births.first
    fitness, bonus, kept = first.trait("fitness"), first.trait(NAMED_STEPS), births.selected
    shaped = (fitness + weight * bonus).round(FITNESS_DIGITS)
    best = int(np.where(kept, births.trait("fitness"), -np.inf).argmax())
    tau = kendall(fitness, shaped) if len(fitness) > 1 else None

    def plain(value: float) -> float:
        return round(float(value), FITNESS_DIGITS)

    return ShapingLine(
        plain(weight),
        plain(bonus[best]),
        plain(bonus[kept].mean()),
        plain(bonus.mean()),
        None if tau is None else plain(tau),
    )


def shaping_sections(lines: Sequence[GenerationLine]) -> list[str]:
    """Return the section with a row a generation; none where there was no bonus."""
    told = [(line, line.shaping) for line in lines if line.shaping is not None]
    if not told:
        return []
    rows = [
        (
            str(line.generation),
            f"{each.weight:.3f}",
            f"{each.births_mean:.3f}",
            f"{each.mean:.3f}",
            f"{each.best:.3f}",
            "all tie" if each.rank_tau is None else f"{each.rank_tau:.2f}",
        )
        for line, each in told
    ]
    heads = ("generation", "weight", "births, nats", "selected", "fittest", "rank correlation")
    table = to_html(new_table(heads, rows, align="rrrrrr"))
    return [section("Narrated steps", table, NOTE)]
