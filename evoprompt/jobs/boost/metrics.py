"""A loop's lines and summary -> MLflow's metrics and description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoprompt.jobs.boost.record import RoundLine
from evoprompt.jobs.held_out import HeldOut, held_out_markdown

#: What a line says -> what MLflow calls it.
NAMES = {
    "error_rate": "error_rate/measured",
    "predicted": "error_rate/predicted",
    "believed_error": "error_rate/believed_by_the_model",
    "buffer_error_rate": "error_rate/of_answers_kept",
    "sensitivity": "judge/sensitivity",
    "specificity": "judge/specificity",
    "abstained": "judge/abstained",
    "buffer_size": "judge/answers_kept",
    "tokens": "cost/tokens",
    "seconds": "cost/seconds",
}


def recurrence_metrics(line: RoundLine) -> dict[str, float]:
    """Return the metrics of a line of `recurrence.jsonl`; what is null there is left out.

    Measured and predicted error rates stand in one group, with the ends of their intervals.
    `judge/acceptance` is the share of the answers given that were accepted, undefined where none
    was given; `judge/abstained` and `judge/answers_kept` are numbers of answers.
    `error_rate/in_right_context` and `_in_wrong_context` are of round 0, where they were measured.
    """
    found: dict[str, float | None] = {name: getattr(line, key) for key, name in NAMES.items()}
    for name, ends in (("measured", line.ci), ("predicted", line.predicted_ci)):
        low, high = ends or (None, None)
        found |= {f"error_rate/{name}_low": low, f"error_rate/{name}_high": high}
    if line.ln_lambda:
        found["judge/log_likelihood_ratio"] = line.ln_lambda.value
    if line.imitation:
        found["error_rate/in_right_context"] = line.imitation.floor
        found["error_rate/in_wrong_context"] = line.imitation.ceiling
    if line.advice:
        found |= {
            f"advice/{name}": getattr(line.advice, key)
            for key, name in (
                ("chance", "chance_of_a_gain"),
                ("change", "expected_change"),
                ("low", "expected_change_low"),
                ("high", "expected_change_high"),
                ("at_best", "change_by_a_perfect_judge"),
            )
        }
    if line.answered:
        found["judge/acceptance"] = line.accepted / line.answered
    if line.verdict:
        found["error_rate/deviation_in_sd"] = line.verdict.surprise_z
    return {name: float(value) for name, value in found.items() if value is not None}


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
