"""A run's lines -> the section of its page that says what its champion is worth under changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.config.robustness import UnderChangesConfig
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.evolve.under_changes import RIGHT, TRAIT
from evoprompt.report.markup import section
from evoprompt.report.table import new_table, to_html

NOTE = (
    "Each policy is measured once under the same changes of wording and inputs, with its own "
    "calibration. Fitness under changes is its fitness less what the worst of the changes takes "
    "from each example, in the mean; right under all is the share of examples whose answer is "
    "right under every change. These are examples and changes that the search saw: evoprompt "
    "robustness looks at others."
)


def changes_sections(
    lines: Sequence[GenerationLine],
    finalists: Sequence[Mapping[str, Any]],
    config: UnderChangesConfig | None,
    summary: Summary | None,
) -> list[str]:
    """Return the section, with a table where there is a champion; none where the run does not
    look.

    Args:
        lines: of the run's generations.
        finalists: what changes take of them, lines of `finalists_under_changes.jsonl`.
        config: the section of the configuration.
        summary: of a run that has ended.
    """
    if config is None:
        return []
    table = ""
    if summary is not None:
        found = {row["policy_id"]: row for row in finalists}
        asked = {
            "best starting prompt": summary.baseline.policy_id,
            "champion": summary.champion.policy_id,
        }
        rows = [
            (name, f"{found[p]['drop']:.3f}", f"{found[p][RIGHT]:.3f}")
            for name, p in asked.items()
            if p in found
        ]
        heads = ("prompt", "taken from its fitness", "right under all")
        table = to_html(new_table(heads, rows, align="lrr"))
    told = [_drawn(config), _course(lines, config), NOTE] if config.examples else []
    if config.calibration_examples:
        told.append(_learned(config))
    return [section("Under changes", table if config.examples else "", " ".join(told))]


def _learned(config: UnderChangesConfig) -> str:
    """Return what the answers of champion and baseline are fitted on."""
    return (
        f"What other words tell of the answers of champion and starting prompt is fitted on "
        f"{config.calibration_examples} validation examples under {config.draws} changes too "
        f"({_named(config)})."
    )


def _named(config: UnderChangesConfig) -> str:
    return ", ".join(s.replace("_", " ") for s in config.sources)


def _drawn(config: UnderChangesConfig) -> str:
    """Return which changes, of whom, and what they count."""
    whom = "" if config.after == 1 else f", of policies that met {config.after} examples or more"
    whom += "" if config.after == 1 else ", and of the finalists"
    counts = f"{config.weight:g} of it counts" if config.weight else "nothing of it counts"
    return (
        f"{config.draws} changes ({_named(config)}) on {config.examples} examples{whom}; {counts} "
        "in the fitness."
    )


def _course(lines: Sequence[GenerationLine], config: UnderChangesConfig) -> str:
    """Return how the population went on, over the generations that were measured under changes."""
    means = [
        line.account.traits[TRAIT]
        for line in lines
        for met in [line.account.examples]
        if TRAIT in line.account.traits and (met is None or met >= config.after)
    ]
    if not means:
        return "No generation met so many."
    return (
        f"The mean of fitness under changes is {means[0]:.3f} in the first generation that was "
        f"measured so and {means[-1]:.3f} in the last."
    )
