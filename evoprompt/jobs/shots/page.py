"""The folder of a measurement by number of demonstrations -> `report.html`: one file that needs
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.jobs.shots.analysis import Curve, curves_of
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.folder import ShotsFolder
from evoprompt.jobs.shots.tables import error_table, name_of, settings_table
from evoprompt.report.markup import folded, page, paragraph, section
from evoprompt.report.table import to_html
from evoprompt.store.folder import SUMMARY

PAGE = "report.html"
#: What figures show: of `analysis.QUANTITIES`, with the label of the axis.
SHOWN = {
    "calibrated_accuracy": "accuracy, calibrated",
    "accuracy": "accuracy",
    "log_likelihood": "log-likelihood of the right answer, nats",
}
SETTINGS_NOTE = (
    "In the form of the GPT-3 paper's table of Winograd schemas: without demonstrations, with one, "
    "and with the most that were measured (K). Calibrated where that is possible. ± is a standard "
    "error over examples and draws; that of two or three draws is itself uncertain."
)
CURVES_NOTE = (
    "Means over draws on the test examples; bands are two standard errors, by examples and draws. "
    "A greater number of demonstrations begins with those of the smaller ones. Calibrated: answers "
    "are compared by offsets and a temperature that the validation examples gave."
)
NUMBERS_NOTE = (
    "Accuracies in percent: calibrated where that is possible, and raw. Errors are standard "
    "errors: by both, clustered by example, clustered by draw."
)
LIKELIHOOD_NOTE = (
    "Summed over an answer's tokens; with task.blank it is that of what follows the right choice."
)


def write_shots_page(folder: ShotsFolder, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a measurement, finished or not; return its path.

    Args:
        folder: has at least one commit.
        summary: what `summary.json` will have, where it is not written yet.
    """
    summary = summary if summary is not None else folder.read(SUMMARY)
    curves = curves_of(folder.cells())
    sections = list(_sections(folder.path.name, folder.config(), curves, summary))
    path = folder.path / PAGE
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


def _sections(
    name: str, config: ShotsConfig, curves: Sequence[Curve], summary: Mapping[str, Any] | None
) -> Iterator[str]:
    yield f"<h1>{escape(name)}</h1>"
    models = ", ".join(dict.fromkeys(name_of(curve.model) for curve in curves))
    draws = f"{config.draws} draw{'' if config.draws == 1 else 's'} of each context"
    yield paragraph(f"{models} by the number of demonstrations; {draws}, seed {config.seed}.")
    if summary is None:
        yield paragraph("This has not ended; what follows is what it has committed.", "muted")
    else:
        tokens = summary["tokens"]
        yield paragraph(
            f"{tokens['prefill']:,} tokens forwarded; {tokens['logical']:,} where nothing is "
            f"shared.",
            "muted",
        )
    notes = summary["notes"] if summary is not None else []
    for note in notes:
        yield paragraph(f"Note: {note}.", "muted")
    settings = settings_table(curves)
    yield section(settings.title, to_html(settings), SETTINGS_NOTE)
    for task in dict.fromkeys(curve.task for curve in curves):
        yield section(task, _figures([c for c in curves if c.task == task]), CURVES_NOTE)
    numbers = error_table(curves)
    body = folded("show", to_html(numbers))
    yield section(numbers.title, body, f"{NUMBERS_NOTE} {LIKELIHOOD_NOTE}")


def _figures(curves: Sequence[Curve]) -> str:
    from evoprompt.jobs.shots.figures import curve_figure

    drawn = (curve_figure(curves, name, label) for name, label in SHOWN.items())
    return "".join(figure for figure in drawn if figure is not None)
