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
    "Each policy was measured once under the same changes of wording and inputs, with its own "
    "calibration. Fitness under changes is its fitness less what the worst of the changes takes "
    "from each example, in the mean; right under all is the share of examples whose answer is "
    "right under every change. These are examples and changes that the search saw: evoprompt "
    "robustness looks at others."
)


def changes_sections(
    lines: Sequence[GenerationLine],
    lineage: Sequence[Mapping[str, Any]],
    config: UnderChangesConfig | None,
    summary: Summary | None,
) -> list[str]:
    """Return the section, with a table where there is a champion; none where the run does not
    look.
    """
    means = [line.account.traits[TRAIT] for line in lines if TRAIT in line.account.traits]
    if config is None or not means:
        return []
    table = ""
    if summary is not None:
        known = {row["policy_id"]: row for row in lineage}
        asked = {
            "best starting prompt": summary.baseline.policy_id,
            "champion": summary.champion.policy_id,
        }
        rows = [
            (name, *(f"{known[p]['traits'][t]:.3f}" for t in ("fitness", TRAIT, "accuracy", RIGHT)))
            for name, p in asked.items()
            if p in known
        ]
        heads = ("prompt", "fitness", "fitness under changes", "accuracy", "right under all")
        table = to_html(new_table(heads, rows, align="lrrrr"))
    counts = f"{config.weight:g} of it counts" if config.weight else "nothing of it counts"
    course = (
        f"{config.draws} changes ({', '.join(s.replace('_', ' ') for s in config.sources)}) on "
        f"{config.examples} examples. The mean of fitness under changes is {means[0]:.3f} among "
        f"the starting prompts that were kept and {means[-1]:.3f} in the last generation; "
        f"{counts} in the fitness."
    )
    return [section("Under changes", table, f"{course} {NOTE}")]
