"""The folder of a measurement under changes -> `report.html`: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.jobs.robustness.analysis import Findings, findings_of
from evoprompt.jobs.robustness.config import RobustnessConfig
from evoprompt.jobs.robustness.folder import RobustnessFolder
from evoprompt.jobs.robustness.record import ATTACK, NONE, Cell
from evoprompt.jobs.robustness.tables import (
    crossing_table,
    effect_table,
    gain_table,
    persistence_table,
)
from evoprompt.policy import SLOTS
from evoprompt.report.markup import page, paragraph, section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.store.folder import SUMMARY

PAGE = "report.html"
EFFECT_NOTE = (
    "Paired with the prompt as it is, on the same examples and with its own calibration. ± is a "
    "standard error over examples and draws. Flips: answers that are another. Worst of m: examples "
    "that are right in each of m draws, which falls with m at an equal mean. Freed: each choice's "
    "mean over the examples taken off first, so that a change of the prompt's favour for a label "
    "does not count; it takes labels to be about equally often right. Kept right: of the answers "
    "that were. Brittle: on new examples these changes take accuracy away, one-sided at 5 % over "
    "all rows of a policy; favour: they do, and it is not shown that they do where it is freed."
)
PERSISTENCE_NOTE = (
    "Of the examples that the attack turned from right to wrong, the share that has the same wrong "
    "answer with other words for the labels; beside it the share of the prompt without the attack, "
    "with the same words. Where both are alike, the attack does not persist."
)
CROSSING_NOTE = "Over draws and examples that both prompts have right as they are."
GAIN_NOTE = (
    "The share that is left has a bootstrap interval over examples; there is none where the gain "
    "as it is may be 0."
)


def write_robustness_page(
    folder: RobustnessFolder, summary: Mapping[str, Any] | None = None
) -> Path:
    """Write the page of a measurement, finished or not; return its path.

    Args:
        folder: has at least one commit.
        summary: what `summary.json` will have, where it is not written yet.
    """
    summary = summary if summary is not None else folder.read(SUMMARY)
    config, cells = folder.config(), folder.cells()
    sections = list(_sections(folder.path.name, config, cells, summary))
    path = folder.path / PAGE
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


def _sections(
    name: str,
    config: RobustnessConfig,
    cells: Sequence[Cell],
    summary: Mapping[str, Any] | None,
) -> Iterator[str]:
    findings = findings_of(cells, config.seed)
    yield f"<h1>{escape(name)}</h1>"
    yield paragraph(
        f"The champion and the baseline of {config.run.name} under changes that leave the meaning "
        f"as it is; {config.model.name}, {config.draws} draws of each source, seed {config.seed}."
    )
    if summary is None:
        yield paragraph("This has not ended; what follows is what it has committed.", "muted")
    else:
        yield paragraph(f"{summary['tokens']['prefill']:,} tokens forwarded.", "muted")
        for note in summary["notes"]:
            yield paragraph(f"Note: {note}.", "muted")
    table = effect_table(findings, whole=True)
    yield section("Under changes", _figure(findings) + to_html(table), EFFECT_NOTE)
    attacks = [cell for cell in cells if cell.source == ATTACK]
    if attacks:
        yield section("The attack", to_html(_attacks(cells, attacks)))
    if findings.persistence:
        table = persistence_table(findings.persistence)
        yield section("Does the attack persist?", to_html(table), PERSISTENCE_NOTE)
    if findings.gains:
        yield section("What is left of the gain", to_html(gain_table(findings.gains)), GAIN_NOTE)
        body = to_html(crossing_table(findings.crossings))
        yield section("Does what harms one harm the other?", body, CROSSING_NOTE)


def _attacks(cells: Sequence[Cell], attacks: Sequence[Cell]) -> Table:
    """Return a table of the edits of each attack, and of what they change in words."""
    clean = {cell.subject: cell.policy for cell in cells if cell.source == NONE}
    rows = []
    for cell in attacks:
        changes = [
            line
            for slot in SLOTS
            for line in slot.changes(clean[cell.subject].get(slot.name), cell.policy.get(slot.name))
        ]
        edits = ", ".join(edit.source.replace("_", " ") for edit in cell.edits)
        rows.append((cell.subject, edits or "none does harm", "; ".join(changes)))
    return new_table(("policy", "edits", "change"), rows, align="lll")


def _figure(findings: Findings) -> str:
    from evoprompt.jobs.robustness.figures import drop_figure

    return drop_figure(findings.effects) or ""
