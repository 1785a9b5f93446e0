"""What a run had from remarks of before -> the section of its page, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.fitness.preference import HALF, Wish
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.report.markup import section
from evoprompt.report.table import new_table, to_html


def feedback_sections(told: Mapping[str, Any] | None, lines: Sequence[GenerationLine]) -> list[str]:
    """Return the section; none where no remark had a part in the fitness.

    Args:
        told: what `feedback.json` has; None where there is none.
        lines: of the generations.
    """
    if told is None:
        return []
    rows = [
        (
            wish.text.partition(":")[0],
            f"{wish.mean:+.3f}",
            f"{wish.mean - HALF * wish.sd:+.3f} to {wish.mean + HALF * wish.sd:+.3f}",
            f"{row['weight']:+.3f}",
            str(wish.remarks),
        )
        for row in told["wishes"]
        for wish in (Wish(*(row[key] for key in ("feature", "mean", "sd", "remarks"))),)
    ]
    heads = ("from the remarks", "weight", "95 % interval", "used", "remarks")
    first, last = (line.account.traits["preference"] for line in (lines[0], lines[-1]))
    note = (
        f"{told['remarks']} remarks, with strength {told['strength']:g}: each policy's fitness has "
        f"that many times its features' weights more than it was measured with, the first starting "
        f"prompt's being 0. Of the selected this is {first:+.4f} in the mean at first and "
        f"{last:+.4f} at last. It is the trait preference, whose change Price's equation explains."
    )
    return [section("What remarks asked for", to_html(new_table(heads, rows, align="lrrrr")), note)]


def feedback_metrics(told: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the weights that a run had from remarks, with their standard deviations; none where it
    had no remark.
    """
    if told is None:
        return {}
    metrics = {"feedback/remarks": float(told["remarks"]), "feedback/strength": told["strength"]}
    for row in told["wishes"]:
        metrics[f"feedback/weight_of_{row['feature']}"] = row["mean"]
        metrics[f"feedback/sd_of_{row['feature']}"] = row["sd"]
    return metrics
