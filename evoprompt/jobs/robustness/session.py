"""A measurement under changes with all that surrounds it: plan, measure, tell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt.backends.open import backend_of
from evoprompt.errors import InexactScoringError
from evoprompt.jobs.base import (
    begin_again,
    begun_again,
    going_on,
    identify,
    job_of,
    taken_away,
    tell_data,
)
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.provenance import check_scoring, check_unchanged, provenance, with_settings
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
from evoprompt.jobs.telling import print_end, telling
from evoprompt.report.table import new_table, to_rich
from evoprompt.store.folder import SUMMARY
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.open import opener_of


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
    config, console = planned(run, overrides), new_console()
    opener_of(config)
    study = load_study(config)
    now = _provenance(study, console)
    folder = RobustnessFolder.create(out, config.name)
    with taken_away(folder):
        folder.begin(config, now)
        told = f"{study.task.name}: {len(study.test)} test examples, {config.draws} draws a change"
        tell_data(console, told, study.notes)
        return _carry_out(study, folder, console)


def resume(
    path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
) -> Mapping[str, Any]:
    """Go on with a measurement after what it committed; return the summary.

    Args:
        path: of its folder.
        overrides: `key=value` of what changes no result.
        accept_changes: go on, and record it, where what the result depends on has changed.

    Raises:
        UserError: it is complete, or its folder is damaged.
    """
    folder, console = RobustnessFolder.open(path), new_console()
    with going_on(folder, accept_changes=accept_changes):
        settings = with_settings(folder, RobustnessConfig, overrides)
        study = load_study(settings.config)
        check_unchanged(folder, _provenance(study, console), settings)
        return _carry_out(study, folder, console)


def _provenance(study: Study, console: Console) -> dict[str, object]:
    """Return what the result depends on: the task, the model, and both policies."""
    data: dict[str, object] = {k: v for k, v in study.task.account().items() if k != "notes"}
    data["policies"] = {s.name: s.policy.policy_id for s in study.subjects}
    return provenance(study.config, identify(study.config, console), data)


def _carry_out(study: Study, folder: RobustnessFolder, console: Console) -> Mapping[str, Any]:
    """Measure to the end; where scores turn out to be wrong, begin again and forward every sequence
    by itself.
    """
    try:
        return _told(study, folder, console)
    except InexactScoringError as found:
        config = begin_again(folder, study.config, found)
        console.print(begun_again(found), soft_wrap=True)
    return _told(load_study(config), folder, console)


def _told(study: Study, folder: RobustnessFolder, console: Console) -> Mapping[str, Any]:
    with telling(study.config, folder, console, ending_of) as tracker:
        open_tracking(tracker, folder, study.config)
        summary = _measure(study, folder, console, tracker)
        for point in points_of(folder):
            tracker.log(point)
    _show(console, folder, summary, tracker.location())
    return summary


def _measure(
    study: Study, folder: RobustnessFolder, console: Console, tracker: Courier
) -> Mapping[str, Any]:
    progress, config = restore(folder), study.config
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
        console.print(f"{config.model.name} ({info.dtype}) on {info.placement}", soft_wrap=True)

        def told(subject: Subject, source: str, cells: Sequence[Cell]) -> None:
            at = f"{len(progress.done)} of {len(study.units)}"
            console.print(_line(subject, source, cells, at), soft_wrap=True)

        measure(study, asker, folder, progress, told)
    finally:
        asker.measurer.close()
    summary = summary_of(folder, study, progress, info)
    with progress.ledger.timed("report"):
        write_robustness_page(folder, summary)
    seconds = {name: round(value, 3) for name, value in progress.ledger.seconds.items()}
    summary["seconds"] = seconds | {"total": round(sum(seconds.values()), 3)}
    summary["time_ms"] = int(time.time() * 1000)
    folder.write(SUMMARY, summary)
    return summary


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
