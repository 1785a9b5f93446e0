"""A measurement under changes with all that surrounds it: plan, measure, tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt.backends.open import backend_of
from evoprompt.jobs.base import identify, job_of
from evoprompt.jobs.lifecycle import Lifecycle, write_end
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.provenance import check_scoring, provenance
from evoprompt.jobs.robustness.analysis import findings_of
from evoprompt.jobs.robustness.config import RobustnessConfig, config_of
from evoprompt.jobs.robustness.folder import RobustnessFolder
from evoprompt.jobs.robustness.loop import measure, restore, summary_of
from evoprompt.jobs.robustness.page import PAGE, write_robustness_page
from evoprompt.jobs.robustness.record import Cell
from evoprompt.jobs.robustness.study import Study, Subject, forecast, load_study
from evoprompt.jobs.robustness.tables import (
    effect_table,
    gain_table,
    percent,
    persistence_table,
    words_of,
)
from evoprompt.jobs.robustness.tracked import ending_of, open_tracking, points_of
from evoprompt.jobs.telling import model_line, print_end
from evoprompt.report.table import new_table, to_rich
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import Courier


def planned(run: Path, overrides: Sequence[str]) -> RobustnessConfig:
    """Return the configuration for a run.

    Raises:
        UserError: there is no complete run, or a value is not valid.
    """
    return config_of(run, job_of(run).champion(run), overrides)


def show_plan(run: Path, overrides: Sequence[str] = (), console: Console | None = None) -> int:
    """Print what would be measured, and the tokens that it would forward; return their sum. Nothing
    is loaded but a tokenizer.

    Raises:
        UserError: anything the user gave does not go together.
    """
    console = console or new_console()
    study = load_study(planned(run, overrides))
    backend = backend_of(study.config)
    rows = forecast(study, backend.tokenizer(identify(study.config, console)))
    shown = [
        (name, words_of(source), str(num), f"{tokens:,}") for name, source, num, tokens in rows
    ]
    heads = ("policy", "change", "prompts", "tokens")
    console.print(to_rich(new_table(heads, shown, align="ll"), padding=1))
    for note in study.notes:
        console.print(f"note: {note}", soft_wrap=True)
    total = sum(tokens for *_, tokens in rows)
    console.print(
        f"{total:,} tokens at most, where the memo has nothing: each distinct beginning of a "
        f"prompt once, and an attack as long as the prompt",
        soft_wrap=True,
    )
    return total


def start(run: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Mapping[str, Any]:
    """Measure in a new folder; return the summary.

    Args:
        run: the folder of a complete run.
        overrides: `key=value`, each.
        out: the new folder.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a commit
            is taken away again.
    """
    return LIFECYCLE.start(planned(run, overrides), out)


def _data(study: Study) -> Iterator[tuple[str, Sequence[str]]]:
    draws = study.config.draws
    yield f"{study.task.name}: {len(study.test)} test examples, {draws} draws a change", study.notes


def _provenance(config: RobustnessConfig, study: Study, console: Console) -> dict[str, object]:
    """Return what the result depends on: the task, the model, and both policies."""
    data: dict[str, object] = {k: v for k, v in study.task.account().items() if k != "notes"}
    data["policies"] = {s.name: s.policy.policy_id for s in study.subjects}
    return provenance(config, identify(config, console), data)


def _carry_out(
    config: RobustnessConfig,
    study: Study,
    folder: RobustnessFolder,
    console: Console,
    tracker: Courier,
) -> Mapping[str, Any]:
    progress = restore(folder)
    if progress.done:
        console.print(f"going on: {len(progress.done)} of {len(study.units)} are committed")
    with progress.ledger.timed("model_load"):
        asker = asker_of(replace(study.champion, config=config))
        info = asker.measurer.executor.info()
    try:
        asker.ledger = progress.ledger
        asker.measurer.watch(config.seed, progress.ledger)
        check_scoring(folder, info, config.workers.threads, config.model.name)
        tracker.ready()
        console.print(model_line(config.model.name, info), soft_wrap=True)

        def told(subject: Subject, source: str, cells: Sequence[Cell]) -> None:
            at = f"{len(progress.done)} of {len(study.units)}"
            console.print(_line(subject, source, cells, at), soft_wrap=True)

        measure(study, asker, folder, progress, told)
    finally:
        asker.measurer.close()
    summary = summary_of(folder, study, progress, info)
    ended = write_end(folder, summary, progress.ledger, write_robustness_page)
    for point in points_of(folder):
        tracker.log(point)
    return ended


def _line(subject: Subject, source: str, cells: Sequence[Cell], at: str) -> str:
    """Return a line for people on what is measured."""
    found = "  ".join(percent(sum(c.right) / len(c.right)) for c in cells)
    return f"{subject.name}  {words_of(source)}  accuracy {found or 'left out'}  ({at})"


def _show(
    console: Console, folder: RobustnessFolder, summary: Mapping[str, Any], location: str
) -> None:
    findings = findings_of(folder.cells(), folder.config().seed)
    tables = [effect_table(findings)]
    tables += [persistence_table(findings.persistence)] if findings.persistence else []
    tables += [gain_table(findings.gains)] if findings.gains else []
    for table in tables:
        console.print(to_rich(table, padding=1))
    for note in summary["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    print_end(console, summary, location, folder.path / PAGE)


LIFECYCLE = Lifecycle(
    config=RobustnessConfig,
    folder=RobustnessFolder,
    read=load_study,
    data=_data,
    provenance=_provenance,
    open_tracking=open_tracking,
    carry_out=_carry_out,
    ending=ending_of,
    show=_show,
)
resume = LIFECYCLE.resume
