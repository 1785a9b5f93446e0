"""The folder of a curriculum -> `report.html`: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.record import RoundLine, Values
from evoprompt.jobs.curriculum.tables import round_table, test_table
from evoprompt.report.markup import folded, page, paragraph, section
from evoprompt.report.table import to_html
from evoprompt.store.folder import SUMMARY

PAGE = "report.html"
TEST_NOTE = (
    "Probability of the right choice among the choices, on examples that the search never saw, "
    "with 95 % intervals over examples. Before: the best starting policy."
)
TEST_REGRET_NOTE = (
    " Regret: how far the champion is behind the member of either population that had done best in "
    "the region."
)
WEIGHT_NOTE = (
    "By which examples of a region count, or are drawn. The dotted line is what all alike would "
    "have."
)
#: What the weights of a sampling follow.
FOLLOWED: Mapping[str, str] = {
    "regret": " A region that nobody can solve, and one that all solve, have no regret and lose "
    "weight.",
    "minimax": " Weight goes to where the population does worst, so a region that nobody can solve "
    "gains the most.",
    "random": " Each round draws regions at random, all as likely.",
    "uniform": "",
}
REGRET_NOTE = (
    "By how much the best member of a region, of either population, is better there than the "
    "protagonist's members in the mean, on examples of the round; all were selected on earlier "
    "ones, so this is not the luck of who was chosen."
)
UTILITY_NOTE = (
    "Probability of the right choice, in the mean over the protagonist's members, on examples that "
    "they were not selected on."
)
GAP_NOTE = (
    "Of the members in equal shares against the weights of regions: their regret in its worst "
    "region less that of the best member under the weights; 0 at an equilibrium. Minimax: the "
    "least regret that any mixture of these members has in its worst region. Both are measured on "
    "a round's examples and are as noisy; they say nothing of policies that were not there."
)


def write_curriculum_page(
    folder: CurriculumFolder, summary: Mapping[str, Any] | None = None
) -> Path:
    """Write the page of a curriculum, finished or not; return its path.

    Args:
        folder: has at least one commit.
        summary: what `summary.json` will have, where it is not written yet.
    """
    summary = summary if summary is not None else folder.read(SUMMARY)
    sections = list(_sections(folder.path.name, folder.config(), folder.rounds(), summary))
    path = folder.path / PAGE
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


def _sections(
    name: str,
    config: CurriculumConfig,
    lines: Sequence[RoundLine],
    summary: Mapping[str, Any] | None,
) -> Iterator[str]:
    names = list(config.regions)
    yield f"<h1>{escape(name)}</h1>"
    yield paragraph(
        f"{config.model.name} on {len(names)} regions, sampling {config.sampling}; "
        f"{lines[-1].round} rounds after the founders', seed {config.seed}."
    )
    if summary is None:
        yield paragraph("This has not ended; what follows is what it has committed.", "muted")
    else:
        tokens = summary["tokens"]
        yield paragraph(
            f"{tokens['logical']:,} tokens of search and choice where nothing is shared, of all "
            f"players together; {tokens['prefill']:,} forwarded in all.",
            "muted",
        )
        for note in summary["notes"]:
            yield paragraph(f"Note: {note}.", "muted")
        table = test_table(summary)
        note = TEST_NOTE + (TEST_REGRET_NOTE if config.has_antagonist else "")
        yield section(table.title, to_html(table), note)
        prompt = f"<pre>{escape(summary['champion']['prompt'])}</pre>"
        yield section("The champion", prompt)
    yield from _figures(config, lines)
    table = round_table(names, lines)
    yield section(table.title, folded("show", to_html(table)))


def _figures(config: CurriculumConfig, lines: Sequence[RoundLine]) -> Iterator[str]:
    from evoprompt.jobs.curriculum.figures import gap_figure, region_figure

    names, weight_note = list(config.regions), WEIGHT_NOTE + FOLLOWED[config.sampling]
    for title, note, label, read, level in (
        ("Weights of regions", weight_note, "weight", _weights, 1 / len(names)),
        ("Regret by region", REGRET_NOTE, "regret", _regret, 0.0),
        ("The protagonist by region", UTILITY_NOTE, "probability", _protagonist, None),
    ):
        figure = region_figure(names, lines, read, label, level)
        if figure is not None:
            yield section(title, figure, note)
    figure = gap_figure(lines)
    if figure is not None:
        yield section("Duality gap", figure, GAP_NOTE)


def _weights(line: RoundLine) -> Values:
    return line.weights


def _regret(line: RoundLine) -> Values:
    return line.regret


def _protagonist(line: RoundLine) -> Values:
    return line.protagonist
