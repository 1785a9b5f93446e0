"""A run's lines -> the section of its page that says how its births were steered."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.report.markup import section
from evoprompt.report.table import Table, new_table, to_html


def steering_sections(lines: Sequence[GenerationLine]) -> list[str]:
    """Return the sections; none where nothing was steered."""
    rates = _rates(lines)
    note = (
        "The chance of each operator to be drawn for a birth: it follows what the operator gained "
        "over its best parent per token, over all births before, survivors or not, each on the "
        "examples of its first measurement."
    )
    return [] if rates is None else [section("How operators were drawn", to_html(rates), note)]


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
