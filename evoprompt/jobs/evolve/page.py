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
from evoprompt.jobs.evolve.ancestry import Step, ancestry
from evoprompt.jobs.evolve.calibrator import way_of
from evoprompt.jobs.evolve.findings import trust_text
from evoprompt.jobs.evolve.folder import DYNAMICS, LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.held_out import held_out_table
from evoprompt.records import SURVIVE
from evoprompt.report.markup import page, preformatted, section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.report.text import DOTS, POINTS, calibration_text, thinned, thinned_note
from evoprompt.store.names import refuse_links
from evoprompt.text_files import read_lines


def write_page(folder: EvolveFolder, summary: Summary | None = None) -> Path:
    """Write the report of a run, finished or not, with `dynamics.json` beside it; return its path.

    Args:
        folder: of the run; at least one generation must have been committed.
        summary: what `summary.json` will have, where it is not written yet.
    """
    from evoprompt.jobs.evolve.dynamics_page import dynamics_sections

    summary = summary if summary is not None else folder.summary()
    lines, lineage = folder.generations(), folder.lines(LINEAGE)
    fitness = run_fitness(folder, summary)
    history = history_of(folder, fitness)
    folder.write(DYNAMICS, history.summary())
    sections = [
        _head(folder, summary, lines),
        _outcome(summary)
        if summary
        else "<p>This run has not ended; what follows is what it has committed.</p>",
        _fitness(history, lineage, fitness.name),
        *dynamics_sections(history),
    ]
    if summary:
        sections.append(_ancestry(lineage, summary.champion.policy_id))
        sections.append(_champion(summary))
        sections.append(section("Best starting prompt", preformatted(summary.baseline.prompt)))
    path = folder.path / "report.html"
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


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
        for births in generations(lineage):
            history.add(births)
    except (ValueError, KeyError) as error:
        reason = f"a line has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file}: {reason}") from None
    head = (
        f'<h1>{escape(folder.resolve().name)}</h1><p class="muted">A lineage of '
        f"{len(lineage):,} births in {len(history.lines)} generations.</p>"
    )
    lines = [
        {**row, "fitness": row.get("fitness", row["traits"].get("fitness"))} for row in lineage
    ]
    sections = [
        head,
        _fitness(history, lines, "as recorded"),
        *dynamics_sections(history),
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
    examples.
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


def run_fitness(folder: EvolveFolder, summary: Summary | None) -> Fitness:
    """Return the fitness of a run, also where its configuration leaves that to the task.

    Raises:
        UserError: it is a plug-in's, and that is not installed here.
    """
    config = folder.config().fitness
    if summary:
        config = config.model_copy(update={"kind": summary.fitness.kind})
    offered = config.kind == AUTO and all(has_choices(m) for m in folder.measurements().values())
    return fitness_of(config, has_choices=offered)


def _fitness(history: History, lineage: Sequence[Mapping[str, Any]], kind: str) -> str:
    from evoprompt.jobs.evolve.figures import fitness_figure

    births = [birth for birth in lineage if birth["operator"] != SURVIVE]
    figure = fitness_figure(thinned(history.lines, POINTS), thinned(births, DOTS), kind)
    notes = (
        thinned_note(len(births), DOTS, "births"),
        thinned_note(len(history.lines), POINTS, "generations"),
    )
    return section("Fitness", figure, " ".join(note for note in notes if note))


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
    scored = (
        f"generation {last.generation}, {last.tokens.total:,} tokens forwarded so far"
        if not summary
        else (
            f"{summary.generations} generations, {summary.policies_scored} policies "
            f"scored, {summary.tokens.total:,} tokens forwarded"
        )
    )
    return (
        f'<h1>{escape(folder.path.name)}</h1><p class="muted">{escape(where)}, seed '
        f"{config.seed}; {scored}.</p>"
    )


def _outcome(summary: Summary) -> str:
    test = summary.test
    labels = {
        "best starting prompt": "baseline",
        "champion": "champion",
        "difference (paired)": "difference",
    }
    note = (
        f"On {test.num_examples} test examples that the search never saw. Price's parts "
        f"add up within {summary.price_residual_max:.1g}. Standing check: {summary.checked.told}."
    )
    body = "" if summary.claim is None else f'<p class="big">{escape(summary.claim.text)}</p>'
    body += to_html(held_out_table(test, labels))
    if summary.report is not None and (text := trust_text(summary.report)):
        body += f"<p>{escape(text)}</p>"
    return section("Held-out check", body, note)


def _champion(summary: Summary) -> str:
    champion = summary.champion
    note = "" if champion.calibration is None else f"{calibration_text(champion.calibration)}."
    return section("Champion", preformatted(champion.prompt), note[:1].upper() + note[1:])


def ancestry_table(steps: Sequence[Step]) -> Table:
    """Return the births that led to a policy, one a row; those in which it only stayed are left
    out.
    """
    heads = ("generation", "operator", "fitness", "gain", "what changed")
    rows = [
        (
            str(step.generation),
            step.operator.replace("_", " "),
            f"{step.fitness:.4f}",
            "" if step.gain is None else f"{step.gain:+.4f}",
            step.change,
        )
        for step in steps
        if step.operator != SURVIVE
    ]
    return new_table(heads, rows, align="rlrrl")
