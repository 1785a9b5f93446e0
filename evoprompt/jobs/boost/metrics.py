"""A loop's lines and summary -> MLflow's metrics and description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoprompt.jobs.boost.record import RoundLine
from evoprompt.jobs.held_out import HeldOut, held_out_markdown


def recurrence_metrics(line: RoundLine) -> dict[str, float]:
    """Return the metrics of a line of `recurrence.jsonl`; what is null there is left out.

    `recurrence/acceptance` is the share of the answers given that were accepted, undefined where
    none was given; `recurrence/abstained` and `recurrence/buffer_size` are numbers of answers.
    `recurrence/imitation_floor` and `_ceiling` are of round 0, where they were measured.
    """
    names = (
        "error_rate",
        "predicted",
        "sensitivity",
        "specificity",
        "abstained",
        "buffer_size",
        "buffer_error_rate",
        "believed_error",
    )
    found = {name: getattr(line, name) for name in names}
    for name, ends in (("error_rate", line.ci), ("predicted", line.predicted_ci)):
        found |= {f"{name}_low": ends[0], f"{name}_high": ends[1]} if ends else {}
    if line.ln_lambda:
        found["ln_lambda"] = line.ln_lambda.value
    if line.imitation:
        found["imitation_floor"] = line.imitation.floor
        found["imitation_ceiling"] = line.imitation.ceiling
    if line.answered:
        found["acceptance"] = line.accepted / line.answered
    if line.verdict:
        found["surprise_z"] = line.verdict.surprise_z
    metrics = {f"recurrence/{name}": value for name, value in found.items()} | {
        "tokens/total": line.tokens,
        "time/seconds": line.seconds,
    }
    return {name: float(value) for name, value in metrics.items() if value is not None}


def boost_description(summary: Mapping[str, Any]) -> str:
    """Return a finished self-evaluation loop in a few lines of Markdown: its error before and
    after, what must be known of it, its prompt.
    """
    labels = {"before": "baseline", "after": "champion", "difference": "difference"}
    table = ""
    if summary["test"] is not None:
        test = HeldOut.from_dict(summary["test"])
        table = f"Self-evaluation: {held_out_markdown(test, labels)}\n\n"
    notes = "".join(f"- {note}\n" for note in summary["notes"])
    return f"{table}{notes}\nFinal prompt\n\n```\n{summary['champion']['prompt']}\n```\n"
