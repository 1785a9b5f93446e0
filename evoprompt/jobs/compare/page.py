"""A comparison -> `comparison.html`, one file that needs nothing else, and `comparison.json`, all
of its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

from evoprompt.jobs.compare.comparison import QUANTITIES, Comparison, comparison_dict
from evoprompt.jobs.compare.tables import (
    group_table,
    part_table,
    power_notes,
    test_table,
)
from evoprompt.report.markup import page, paragraph, section
from evoprompt.report.table import new_table, to_html

PAGE, NUMBERS = "comparison.html", "comparison.json"


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write both files into an existing folder and return the page's path."""
    text = json.dumps(comparison_dict(comparison), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    file = folder / PAGE
    file.write_text(page(folder.name, list(_sections(comparison))), encoding="utf-8")
    return file


def _sections(comparison: Comparison) -> Iterator[str]:
    from evoprompt.jobs.compare import figures

    yield _head(comparison)
    yield paragraph(_verdict(comparison), "big")
    for warning in comparison.warnings:
        yield f'<p class="muted">Note: {escape(warning)}.</p>'
    yield section("Curves", figures.curves_figure(comparison), _curve_note(comparison))
    groups = to_html(group_table(comparison)) + figures.points_figure(comparison)
    yield section("Groups", groups, GROUP_NOTE)
    if comparison.tests:
        tests, note = test_table(comparison), " ".join([TEST_NOTE, *power_notes(comparison)])
        yield section(tests.title, to_html(tests), note)
    yield section("Why the populations changed", figures.terms_figure(comparison), TERM_NOTE)
    operators = figures.operators_figure(comparison)
    if operators:
        note = "An operator's births, those that died included."
        yield section("What each operator transmitted", operators, note)
    if comparison.tests:
        parts = part_table(comparison, None)
        yield section(parts.title, to_html(parts), PART_NOTE)
    yield section("Runs", _runs_table(comparison))


GROUP_NOTE = (
    "Means over runs, from 4 runs on with Student's intervals; a single run's held-out accuracy "
    "has Wilson's interval over its test examples. "
    "Cost to target: median over runs, where those that never reached it count as later than "
    "all; below, how many reached it."
)
TEST_NOTE = (
    "Groups with the same seeds are compared seed by seed (Wilcoxon's signed-rank test, exact), "
    "others as independent (Mann-Whitney, exact; "
    "Welch's interval). P(higher): the chance that a run of the group has the higher value, ties "
    "half. Holm's adjustment is over this table."
)
TERM_NOTE = (
    "Price's terms of every generation up to the end of the common range, summed; a run's terms "
    "add up to the change of its mean, exactly. "
    "Lines are intervals over runs, of fewer than 4 their range."
)
PART_NOTE = (
    "Differences to the baseline, the greatest first. Holm's adjustment is over all "
    "terms, and apart from these over all operators."
)


def _curve_note(comparison: Comparison) -> str:
    low, high = comparison.range
    axis = comparison.settings.align
    tokens = (
        " Tokens that a memo or a prefix store spared are counted, so that the order of the runs "
        "does not matter."
        if axis == "tokens"
        else ""
    )
    return (
        f"Thick: mean of a group over the {axis} that all runs have ({low:,.0f} to {high:,.0f}), "
        f"with its {1 - comparison.settings.alpha:.0%} "
        "interval from 4 runs on; thin: single runs, to their own ends. Between "
        f"generations the last value holds.{tokens}"
    )


def _verdict(comparison: Comparison) -> str:
    """Return in a sentence which groups differ from the baseline, after Holm's adjustment."""
    if not comparison.tests:
        return "There is one group only, so nothing is compared."
    alpha, told = comparison.settings.alpha, []
    for contrast in comparison.tests:
        if contrast.p_holm >= alpha:
            continue
        way = "is higher" if contrast.superiority > 0.5 else "is lower"
        told.append(f"of {contrast.group} the {QUANTITIES[contrast.quantity]} {way}")
    if not told:
        return f"No group is shown to differ from {comparison.settings.baseline}."
    return f"Against {comparison.settings.baseline}, {'; '.join(told)}."


def _head(comparison: Comparison) -> str:
    runs = sum(len(result.runs) for result in comparison.groups)
    keys = ", ".join(comparison.keys) or "nothing but the seed"
    return (
        f"<h1>Comparison of {runs} runs</h1>"
        f'<p class="muted">{len(comparison.groups)} groups by {escape(keys)}; baseline: '
        f"{escape(str(comparison.settings.baseline))}.</p>"
    )


def _runs_table(comparison: Comparison) -> str:
    rows = [
        (
            result.group.name,
            str(run.record.folder),
            "" if run.record.seed is None else str(run.record.seed),
            f"{run.record.cost['generations'][-1]:.0f}"
            + ("" if run.record.complete else " (unfinished)"),
            f"{run.values['mean_height']:.4f}",
            f"{run.values['final']:.4f}",
            f"{run.price.change:+.4f}",
        )
        for result in comparison.groups
        for run in result.runs
    ]
    head = ("group", "folder", "seed", "generations", "AUC / range", "final", "change of the mean")
    return to_html(new_table(head, rows, align="ll"))
