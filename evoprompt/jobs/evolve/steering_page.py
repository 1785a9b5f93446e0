"""A run's lines -> the section of its page that says how its births were steered."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.report.markup import section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.report.text import POINTS, thinned

RATES = (
    "The chance of each operator to be drawn for a birth: it follows what the operator gained over "
    "its best parent per token, over all births before, survivors or not, each on the examples of "
    "its first measurement."
)
SURROGATE = (
    "R squared: of the fitness of births, each predicted from all other policies; below the bound "
    "of the configuration all that is proposed is born. Children that were never born are no "
    "births, and in none of the terms above."
)


def steering_sections(lines: Sequence[GenerationLine]) -> list[str]:
    """Return the sections; none where nothing was steered."""
    told = {"How operators were drawn": (_rates(lines), RATES)}
    told["Children chosen by a surrogate"] = (_surrogate(lines), SURROGATE)
    return [
        section(title, to_html(table), note)
        for title, (table, note) in told.items()
        if table is not None
    ]


def _rates(lines: Sequence[GenerationLine]) -> Table | None:
    """Return each operator's rates, the one that is drawn most at last first."""
    told = [rates for line in lines if (rates := line.steering.operator_rates)]
    if not told:
        return None
    rows = [
        (
            name.replace("_", " "),
            f"{told[0][name]:.3f}",
            f"{sum(rates[name] for rates in told) / len(told):.3f}",
            f"{told[-1][name]:.3f}",
        )
        for name in sorted(told[-1], key=lambda name: -told[-1][name])
    ]
    return new_table(("operator", "at first", "in the mean", "at last"), rows, align="lrrr")


def _surrogate(lines: Sequence[GenerationLine]) -> Table | None:
    """Return what the surrogate did in each generation."""
    rows = [
        (
            str(line.generation),
            "too few births" if told.r_squared is None else f"{told.r_squared:+.3f}",
            f"best of {told.proposed}" if told.is_used else "not used",
        )
        for line in thinned(lines, POINTS)
        if (told := line.steering.surrogate) is not None
    ]
    return new_table(("generation", "R squared", "children"), rows, align="rrl") if rows else None
