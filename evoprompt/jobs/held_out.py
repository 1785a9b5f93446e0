"""What examples that nobody chose by say of a policy, and of an evaluator. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.recurrence.error_rate import error_rates
from evoprompt.recurrence.evaluator import (
    EvaluatorCounts,
    log_likelihood_ratio,
    sensitivity,
    specificity,
)
from evoprompt.report.table import Cell, Table, new_table, to_markdown
from evoprompt.report.text import interval
from evoprompt.seeding import Stream, generator
from evoprompt.stats.resampling import paired_bootstrap_interval, wilson_interval

#: The recurrence's prediction of what an evaluator is worth is given for this error rate at the
#: beginning and after these rounds.
FIRST_ERROR_RATE = 0.5


ROUNDS = (1, 5)


def evaluator_summary(counts: EvaluatorCounts, alpha: float) -> dict[str, Any]:
    """Return an evaluator's rates with Wilson intervals, ln Lambda, and the error rates that a loop
    which learns from what it accepts would have.

    `predicted` holds if the loop imitates its accepted answers perfectly (`dynamics.recurrence`);
    by round, None where nothing is accepted.
    """
    rates = {"sensitivity": sensitivity(counts, alpha), "specificity": specificity(counts, alpha)}
    ratio = log_likelihood_ratio(counts)
    s, c = (rate.value if rate else nan for rate in rates.values())
    by_round = error_rates(FIRST_ERROR_RATE, s, c, max(ROUNDS))
    return {
        **{
            name: {"value": rate.value, "ci": [rate.low, rate.high], "num": rate.num}
            if rate
            else None
            for name, rate in rates.items()
        },
        "ln_lambda": {"value": ratio.value, "standard_error": ratio.standard_error}
        if ratio
        else None,
        "predicted": {
            "first_error_rate": FIRST_ERROR_RATE,
            "error_rate": {
                str(n): float(by_round[n]) if isfinite(by_round[n]) else None for n in ROUNDS
            },
        },
    }


def compare(
    baseline: NDArray[np.bool_], champion: NDArray[np.bool_], seed: int, alpha: float
) -> dict[str, Any]:
    """Return both accuracies with Wilson intervals, and their difference with a paired bootstrap
    interval.

    Args:
        baseline: which answers are right, shape (example,).
        champion: the same on the same examples.
    """

    def accuracy(right: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "value": float(right.mean()),
            "ci": list(wilson_interval(int(right.sum()), len(right), alpha)),
        }

    difference = champion.astype(float) - baseline.astype(float)
    interval = paired_bootstrap_interval(difference, generator(seed, Stream.BOOTSTRAP), alpha)
    return {
        "metric": "accuracy",
        "num_examples": len(baseline),
        "baseline": accuracy(baseline),
        "champion": accuracy(champion),
        "difference": {"value": float(difference.mean()), "ci": list(interval)},
    }


def held_out_table(test: Mapping[str, Any], labels: Mapping[str, str]) -> Table:
    """Return a held-out check as a page shows it; `labels` has the part that each row shows."""
    rows = []
    for label, name in labels.items():
        value, bounds = interval(test[name], signed=name == "difference")
        rows.append((label, Cell(value, emphasis="strong"), Cell(bounds, emphasis="muted")))
    return new_table(("", _words(test["metric"]), "interval"), rows)


def held_out_markdown(test: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return a held-out check in Markdown, with what was measured on how many examples above it."""
    rows = []
    for label, name in labels.items():
        low, high = test[name]["ci"]
        rows.append((label, f"{test[name]['value']:.3f}", f"{low:.3f} to {high:.3f}"))
    metric = _words(test["metric"])
    title = f"{metric} on {test['num_examples']} examples"
    return to_markdown(new_table(("", metric, "interval"), rows, title=title))


def _words(name: str) -> str:
    return name.replace("_", " ")
