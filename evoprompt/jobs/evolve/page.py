"""A run folder, or any lineage in the documented format -> `report.html`: one file that needs
nothing else, no network and no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.calibration import calibrated_out
from evoprompt.choices import has_choices
from evoprompt.dynamics.cases import Cases
from evoprompt.dynamics.history import History
from evoprompt.dynamics.lines import check_line
from evoprompt.dynamics.population import generations
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.catalog import AUTO, fitness_of
from evoprompt.fitness.traits import case_traits
from evoprompt.jobs.evolve.advice import advice
from evoprompt.jobs.evolve.ancestry import Step, ancestry
from evoprompt.jobs.evolve.archive_page import archive_sections
from evoprompt.jobs.evolve.calibrator import way_of
from evoprompt.jobs.evolve.champion_page import (
    ADVICE,
    answers_section,
    baseline_section,
    before_and_after,
    champion_section,
    standing_note,
    verdict,
)
from evoprompt.jobs.evolve.cost_page import cost_section
from evoprompt.jobs.evolve.feedback_page import feedback_sections
from evoprompt.jobs.evolve.folder import DYNAMICS, FEEDBACK, LINEAGE, MEASUREMENTS, EvolveFolder
from evoprompt.jobs.evolve.glossary import TERMS
from evoprompt.jobs.evolve.measurement_lines import measurement_of
from evoprompt.jobs.evolve.paths_page import paths_sections
from evoprompt.jobs.evolve.predictions import Prediction
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.evolve.shaping import shaping_sections
from evoprompt.jobs.evolve.showcase import CHAMPION, showcase_of, showcase_text
from evoprompt.jobs.evolve.shown import WHOLE, Shown, shown_of
from evoprompt.jobs.evolve.side_effects_page import side_effects_sections
from evoprompt.jobs.evolve.steering_page import steering_sections
from evoprompt.jobs.evolve.under_changes_page import changes_sections
from evoprompt.records import FOUND, SURVIVE
from evoprompt.report.markup import contents, glossary, page, paragraph, section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.report.text import DOTS, POINTS, thinned, thinned_note
from evoprompt.store.names import refuse_links
from evoprompt.text_files import read_lines

UNFINISHED = "This run has not ended; what follows is what it has committed."
#: Sections that the page of a complete run links to.
CONTENTS = (
    "Verdict",
    "Champion",
    "Before and after",
    "What changed in the test answers",
    "Fitness",
    "What it cost, and how to repeat it",
    "Why the population changed",
    "Glossary",
)
#: Those of them that any page has.
ALWAYS = ("Fitness", "Why the population changed", "Glossary")


def write_page(folder: EvolveFolder, summary: Summary | None = None) -> Path:
    """Write the report of a run, finished or not, with `dynamics.json` and, of a finished one,
    `champion.txt` beside it; return its path.

    Args:
        folder: of the run; at least one generation must have been committed.
        summary: what `summary.json` will have, where it is not written yet.
    """
    from evoprompt.jobs.evolve.dynamics_page import dynamics_sections

    summary = summary if summary is not None else folder.summary()
    shown = shown_of(folder, summary.champion.policy_id if summary else None)
    lines, lineage = shown.lines, shown.lineage
    fitness = run_fitness(folder, summary)
    history = history_of(folder, fitness) if shown.is_whole else sums_of(folder)
    found = history.summary()
    folder.write(DYNAMICS, found)
    rows, told = folder.predictions(), advice(summary, found)
    config = folder.config()
    selection = config.evolution.survival_selection
    sections = [
        _head(folder, summary, lines),
        *(_outcome(folder, summary, rows, told) if summary else [paragraph(UNFINISHED)]),
        *(paths_sections(summary, rows) if summary else []),
        _fitness(history, lineage, fitness.name),
        *([cost_section(folder, summary)] if summary else []),
        _advice(told),
        "<h2>For specialists</h2>",
        *([] if shown.is_whole else [paragraph(_long(shown))]),
        *dynamics_sections(history, found),
        *steering_sections(lines),
        *feedback_sections(folder.read(FEEDBACK), lines),
        *archive_sections(lines, lineage, selection.cells),
        *shaping_sections(lines),
        *side_effects_sections(folder, lines, summary.champion.policy_id if summary else None),
        *changes_sections(lines, folder.finalists_under_changes(), config.robustness, summary),
        *(_sources(lineage, summary) if summary else []),
        section("Glossary", glossary(TERMS)),
    ]
    path = folder.path / "report.html"
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


def _outcome(
    folder: EvolveFolder, summary: Summary, rows: Sequence[Prediction], told: Sequence[str]
) -> list[str]:
    """Return what a complete run leads with; its champion is written in a file by itself too."""
    shown = showcase_of(summary, rows, folder.path)
    folder.write_text(CHAMPION, showcase_text(shown))
    return [
        verdict(summary, rows, told),
        champion_section(shown, summary),
        before_and_after(summary),
        answers_section(summary, rows),
    ]


def _sources(lineage: Sequence[Mapping[str, Any]], summary: Summary) -> list[str]:
    """Return where the champion comes from, and what was checked."""
    return [
        _ancestry(lineage, summary.champion.policy_id),
        baseline_section(summary),
        standing_note(summary),
    ]


def _advice(found: Sequence[str]) -> str:
    if not found:
        return ""
    lines = "".join(f"<li>{escape(text)}</li>" for text in found)
    return section(ADVICE, f"<ul>{lines}</ul>")


def write_lineage_page(folder: Path) -> Path:
    """Write the report of a folder that has nothing but a `lineage.jsonl`, which another program
    may have written; return its path.

    Raises:
        UserError: a line is not JSON, a key is missing, or the lineage is broken; the message names
            the line or the birth.
    """
    from evoprompt.jobs.evolve.dynamics_page import dynamics_sections

    file = folder / LINEAGE
    lineage = read_lineage(file)
    history = History()
    try:
        for births in generations(lineage, checked=True):
            history.add(births)
    except (ValueError, KeyError) as error:
        reason = f"a line has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file}: {reason}") from None
    head = (
        f'<h1>{escape(folder.resolve().name)}</h1><p class="muted">A lineage of '
        f"{len(lineage):,} births in {history.num_generations} generations.</p>"
    )
    lines = [
        {**row, "fitness": row.get("fitness", row["traits"].get("fitness"))} for row in lineage
    ]
    found = history.summary()
    sections = [
        head,
        _fitness(history, lines, "as recorded"),
        _advice(advice(None, found)),
        *dynamics_sections(history, found),
        section("Glossary", glossary(TERMS)),
    ]
    path = folder / "report.html"
    refuse_links([path])
    path.write_text(page(folder.resolve().name, sections), encoding="utf-8")
    return path


def read_lineage(file: Path) -> list[Mapping[str, Any]]:
    """Return the lines of a lineage.

    Raises:
        UserError: there is none, or a line is no birth; the message has its number.
    """
    rows = []
    for number, line in read_lines(file, "lineage"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", None) or error
            raise UserError(f"{file}, line {number} is not JSON: {reason}") from None
        try:
            check_line(row)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        rows.append(row)
    if not rows:
        raise UserError(
            f"{file} has no births; a line each, as the documentation of lineage.jsonl says"
        )
    return rows


def history_of(folder: EvolveFolder, fitness: Fitness) -> History:
    """Return a run's dynamics from its folder alone, with standard errors over the fitness
    examples: what is taken off all examples of a policy alike is in none of these.
    """
    way, measured = way_of(folder), folder.measurements()

    @cache
    def on(policy_id: str, num: int | None) -> Cases:
        scores = measured[policy_id]
        scores = calibrated_out(scores if num is None else scores.first(num), way)
        cases = {n: values[0] for n, values in case_traits(scores, fitness.comparison).items()}
        return {"fitness": fitness.cases(scores)[0]} | cases

    history = History()
    for births in folder.births():
        history.add(births, on)
    return history


def sums_of(folder: EvolveFolder) -> History:
    """Return the dynamics of a long run, in memory that hardly grows with it; without standard
    errors over the examples.
    """
    history = History(WHOLE // 2)
    for births in folder.births():
        history.add(births)
    return history


def run_fitness(folder: EvolveFolder, summary: Summary | None) -> Fitness:
    """Return the fitness of a run, also where its configuration leaves that to the task.

    Raises:
        UserError: it is a plug-in's, and that is not installed here.
    """
    config = folder.config().fitness
    if summary:
        config = config.model_copy(update={"kind": summary.fitness.kind})
    offered = config.kind == AUTO and all(
        has_choices(measurement_of(row)) for row in folder.committed(MEASUREMENTS)
    )
    return fitness_of(config, has_choices=offered)


def _fitness(history: History, lineage: Sequence[Mapping[str, Any]], kind: str) -> str:
    from evoprompt.jobs.evolve.figures import fitness_figure, zoomed

    births = [birth for birth in lineage if birth["operator"] != SURVIVE]
    figure = fitness_figure(thinned(history.lines, POINTS), thinned(births, DOTS), kind)
    low, high = zoomed(history.lines)
    outside = sum(not low <= birth["fitness"] <= high for birth in births)
    notes = (
        _growth(history),
        _restarts(history),
        f"Drawn is where the selected are; {outside:,} of {len(births):,} births are outside."
        if outside
        else "",
        thinned_note(history.num_births, DOTS, "births", len(births)),
        thinned_note(history.num_generations, POINTS, "generations"),
    )
    return section("Fitness", figure, " ".join(note for note in notes if note))


def _growth(history: History) -> str:
    """Return where policies were measured on more examples than before, which moves all fitness."""
    if not history.growth:
        return ""
    told = ", ".join(f"{number} from generation {at}" for at, number in history.growth)
    return (
        f"Policies are measured on more examples as the search goes on ({told}); "
        "fitness on others is another number, so a step there is no loss or gain."
    )


def _restarts(history: History) -> str:
    """Return where the population was begun anew."""
    if not history.restarts:
        return ""
    return (
        f"The best gained nothing more, and the population was begun anew in generation "
        f"{', '.join(map(str, history.restarts))}; who came then is immigration in Price's "
        "equation."
    )


def _long(shown: Shown) -> str:
    """Return what the page of a long run leaves out."""
    return (
        f"Of {shown.num_generations:,} generations, sums and tables are over all, without errors "
        "over the examples; drawn are evenly spread ones."
    )


def _ancestry(lineage: Sequence[Mapping[str, Any]], policy_id: str) -> str:
    steps = [s for s in ancestry(lineage, policy_id) if s.operator != SURVIVE]
    table = to_html(ancestry_table(thinned(steps, POINTS)))
    return section("How the champion came about", table, thinned_note(len(steps), POINTS, "births"))


def _head(
    folder: EvolveFolder,
    summary: Summary | None,
    generations: Sequence[GenerationLine],
) -> str:
    config = folder.config()
    last = generations[-1]
    where = f"{config.model.name} on task {summary.task if summary else config.task.title}"
    read = "every answer was known from earlier runs, so the model was not asked"
    if summary and summary.tokens.total:
        read = f"the model read {summary.tokens.total:,} tokens"
    scored = (
        f"generation {last.generation}, {last.tokens.total:,} tokens forwarded so far"
        if not summary
        else (
            f"{summary.policies_scored} prompts tried in {summary.generations + 1} "
            f"generation{'s' if summary.generations else ''}; {read}"
        )
    )
    return (
        f'<header><h1>{escape(folder.path.name)}</h1><p class="muted">{escape(where)}, seed '
        f"{config.seed}; {scored}.</p></header>{contents(CONTENTS if summary else ALWAYS)}"
    )


def ancestry_table(steps: Sequence[Step]) -> Table:
    """Return the births that led to a policy, one a row; those in which it only stayed are left
    out.
    """
    heads = ("generation", "operator", "fitness", "gain", "what changed")
    rows = [
        (
            str(step.generation),
            "a starting prompt" if step.operator == FOUND else step.operator.replace("_", " "),
            f"{step.fitness:.4f}",
            "" if step.gain is None else f"{step.gain:+.4f}",
            step.change,
        )
        for step in steps
        if step.operator != SURVIVE
    ]
    return new_table(heads, rows, align="rlrrl")
