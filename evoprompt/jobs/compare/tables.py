"""A comparison -> the tables that the terminal, the page and MLflow show alike."""

from __future__ import annotations

from math import isfinite

from evoprompt.dynamics.comparison import Contrast, median
from evoprompt.jobs.compare.comparison import QUANTITIES, Comparison, GroupResult
from evoprompt.report.table import Cell, Table, new_table
from evoprompt.stats.significance import LEAST_INTERVAL, Estimate, seeds_needed

#: Price's terms and operators that the terminal shows.
SHOWN_PARTS = 10


def group_table(comparison: Comparison) -> Table:
    """Return a row for each group: what it reached, and at what cost."""
    settings = comparison.settings
    low, high = comparison.range
    head = ("group", "AUC / range", "final", "before", "after", "to target", "tokens")
    title = (
        f"{comparison.curve_label}, from {amount(low)} to {amount(high)} {settings.align}; "
        f"target {settings.target:.4g}; "
        f"before, after: held-out accuracy; intervals cover {1 - settings.alpha:.0%}"
    )
    return new_table(head, [_group_row(result) for result in comparison.groups], title=title)


def test_table(comparison: Comparison) -> Table:
    """Return a row for each quantity and group: the group against the baseline."""
    head = ("group", "quantity", "difference", "P(higher)", "p", "p (Holm)", "test")
    rows = [(c.group, QUANTITIES[c.quantity], *_numbers(c)) for c in comparison.tests]
    title = f"Against the baseline {comparison.settings.baseline}"
    return new_table(head, rows, align="ll", title=title)


def part_table(comparison: Comparison, limit: int | None = SHOWN_PARTS) -> Table:
    """Return a row for each of Price's terms and operators in which groups differ from the
    baseline, the greatest difference first.
    """
    found = [("term", c) for c in comparison.price_tests] + [
        ("operator", c) for c in comparison.operator_tests
    ]
    differing = [
        (kind, c)
        for kind, c in found
        if c.difference is not None and abs(c.difference.value) > 1e-12
    ]
    differing.sort(key=lambda pair: -abs(pair[1].difference.value if pair[1].difference else 0.0))
    rows = [
        (c.group, f"{kind}: {c.quantity.replace('_', ' ')}", *_numbers(c))
        for kind, c in differing[:limit]
    ]
    trait = comparison.settings.trait.replace("_", " ")
    head = ("group", "part of the change", "difference", "P(higher)", "p", "p (Holm)", "test")
    title = f"Which part of the change of mean {trait} differs (summed over generations)"
    return new_table(head, rows, align="ll", title=title)


def power_notes(comparison: Comparison) -> list[str]:
    """Return what the number of replicates can show at all: the least attainable p-value, and how
    many seeds it would take.
    """
    settings = comparison.settings
    if not comparison.tests:
        return ["There is one group only, so nothing is tested; the runs are its replicates."]
    notes = []
    for paired in (True, False):
        tests = [t for t in comparison.tests if t.paired == paired]
        if not tests:
            continue
        least, num = min(t.attainable for t in tests), len(comparison.tests)
        kind = "pairs of seeds" if paired else "independent runs"
        sizes = sorted({f"{t.num[0]}" if paired else f"{t.num[0]} and {t.num[1]}" for t in tests})
        sentence = (
            f"With {' or '.join(sizes)} {kind}, the least p-value that a rank test can "
            f"give is {least:.3g}"
        )
        needed, alone = (
            seeds_needed(settings.alpha, num, paired=paired),
            seeds_needed(settings.alpha, 1, paired=paired),
        )
        if least * num > settings.alpha:
            cannot = (
                "no difference can be significant"
                if least > settings.alpha
                else "a difference can be significant before Holm's adjustment only"
            )
            sentence += (
                f": {cannot} at {settings.alpha:g}. A single test takes {alone} seeds a "
                f"group, these {num} with Holm's adjustment {needed}"
            )
        notes.append(sentence + ".")
    return notes


def amount(value: float) -> str:
    """Return a cost in three digits, with k and M for thousands and millions."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (letter == "M" and abs(value) >= size):
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _group_row(result: GroupResult) -> tuple[Cell | str, ...]:
    estimates = result.estimates
    tokens = [run.tokens for run in result.runs]
    known = [t for t in tokens if t is not None]
    return (
        Cell(result.group.name, _runs(result)),
        _estimate(estimates.get("mean_height"), ".3f"),
        _estimate(estimates.get("final"), ".3f"),
        _accuracy(result, "accuracy_before", "baseline"),
        _accuracy(result, "accuracy_after", "champion"),
        _time(result),
        amount(sum(known) / len(known)) if known else "",
    )


def _runs(result: GroupResult) -> str:
    runs = [run.record for run in result.runs]
    seeds = sorted({r.seed for r in runs if r.seed is not None})
    text = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    if seeds:
        series = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
        text += f"\nseed{'s' if len(seeds) > 1 else ''} " + (
            f"{seeds[0]}-{seeds[-1]}" if series else " ".join(map(str, seeds))
        )
    unfinished = sum(not r.complete for r in runs)
    return text + (f"\n{unfinished} unfinished" if unfinished else "")


def _estimate(estimate: Estimate | None, form: str) -> Cell:
    if estimate is None:
        return Cell("")
    if estimate.low is None or estimate.high is None or estimate.num < LEAST_INTERVAL:
        return Cell(f"{estimate.value:{form}}")
    return Cell(f"{estimate.value:{form}}", f"[{estimate.low:{form}}, {estimate.high:{form}}]")


def _accuracy(result: GroupResult, quantity: str, part: str) -> Cell:
    """Return a group's accuracy; a single run's interval is its own, over test examples, and
    others' is over seeds.
    """
    estimate = result.estimates.get(quantity)
    summary = next((r.record.summary for r in result.runs if r.record.summary), None)
    if estimate is not None and estimate.num == 1 and summary is not None:
        low, high = summary["test"][part]["ci"]
        estimate = Estimate(estimate.value, low, high, 1)
    if estimate is not None and estimate.low is not None and estimate.high is not None:
        estimate = Estimate(
            estimate.value, max(estimate.low, 0.0), min(estimate.high, 1.0), estimate.num
        )
    return _estimate(estimate, ".2f")


def _time(result: GroupResult) -> Cell:
    """Return the median cost to the target, and how many runs reached it."""
    times = [run.values["time_to_target"] for run in result.runs]
    middle, reached = median(times), sum(isfinite(t) for t in times)
    return Cell("not reached" if middle is None else amount(middle), f"{reached} of {len(times)}")


def _numbers(contrast: Contrast) -> tuple[Cell | str, ...]:
    shown = Cell("censored") if contrast.difference is None else _difference(contrast.difference)
    kind = (
        f"paired {contrast.num[0]}" if contrast.paired else f"{contrast.num[0]} v {contrast.num[1]}"
    )
    kind += "" if contrast.exact else " approx."
    return shown, f"{contrast.superiority:.2f}", _p(contrast.p_value), _p(contrast.p_holm), kind


def _difference(difference: Estimate) -> Cell:
    ends = (difference.value, difference.low, difference.high)
    size = max(abs(end) for end in ends if end is not None)
    return _estimate(difference, "+,.0f" if size >= 1000 else "+.3f")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
