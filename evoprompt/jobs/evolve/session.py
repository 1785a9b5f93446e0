"""A run with all that surrounds it: build, run, tell how it ended, give the workers back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt.backends.base import Identity
from evoprompt.backends.open import backend_of
from evoprompt.backends.shared import SharedModels
from evoprompt.errors import InexactScoringError, StoppedError
from evoprompt.jobs.base import (
    begin_again,
    going_on,
    home,
    identify,
    parent_run,
    taken_away,
    tell_data,
)
from evoprompt.jobs.evolve.answering import cut_short
from evoprompt.jobs.evolve.build import build, check_task
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.display import Display, QuietObserver
from evoprompt.jobs.evolve.ending import print_result
from evoprompt.jobs.evolve.folder import EXAMPLES, FEEDBACK, EvolveFolder, with_examples
from evoprompt.jobs.evolve.loop import Observer, run
from evoprompt.jobs.evolve.record import Summary
from evoprompt.jobs.evolve.tracked import ending_of
from evoprompt.jobs.evolve.writers import identity_of_writer, writer_config
from evoprompt.jobs.provenance import check_unchanged, provenance, with_settings
from evoprompt.store.folder import SUMMARY
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import warn_untold


def start(config: Config, out: Path | None, *, verbose: bool = False) -> Mapping[str, Any]:
    """Run a configuration in a new folder; return the summary. `verbose` tells what each worker
    does.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a
            generation is taken away again.
    """
    folder = conduct(config, out, verbose=verbose)
    summary: Mapping[str, Any] = folder.read(SUMMARY)
    return summary


def conduct(
    config: Config,
    out: Path | None,
    *,
    examples: Sequence[Mapping[str, Any]] = (),
    on_generation: Callable[[Mapping[str, Any]], bool | None] | None = None,
    show: bool = True,
    verbose: bool = False,
    parent: str | None = None,
) -> EvolveFolder:
    """Run a configuration in a new folder to its end; return the folder.

    Args:
        config: of the run.
        out: the folder; None is `runs/<name>`, numbered where that exists.
        examples: given in memory, lines of a task's file; they are kept in the folder.
        on_generation: is given each generation's line; where it returns False the search ends.
        show: in the terminal what happens.
        verbose: show what each worker does, too.
        parent: the MLflow run that this one is shown under.

    Raises:
        UserError: as `start`.
    """
    checked = None if examples else check_task(config)
    console = new_console(quiet=not show)
    identity, writer = identify(config, console), identify_writer(config, console)
    folder = EvolveFolder.create(out, config.name)
    with taken_away(folder, EXAMPLES, FEEDBACK):
        settled = with_examples(config, folder.path, examples)
        task, fitness = checked or check_task(settled)
        folder.begin(config, provenance(settled, identity, task.account(), writer))
        opened = partial(backend_of(settled).tokenizer, identity)
        cut = cut_short(settled, task, fitness, opened)
        tell_data(console, task.summary(), (*task.notes, *cut))
        if show:
            _show(settled, folder, on_generation, parent, verbose=verbose)
        else:
            carry_out(settled, folder, QuietObserver(on_generation), parent=parent)
    return folder


def resume(
    path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
) -> Mapping[str, Any]:
    """Go on with a run from its last committed generation; return the summary.

    Args:
        path: of its folder.
        overrides: `key=value` of what changes no result, and `evolution.generations`.
        accept_changes: go on, and record it, where what the result depends on has changed.

    Raises:
        UserError: there is no run, it is complete, or its folder is damaged.
    """
    folder = EvolveFolder.open(path)
    with going_on(folder, accept_changes=accept_changes):
        settings = with_settings(folder, Config, overrides, "evolution.generations")
        config = folder.settled(settings.config)
        task, _ = check_task(config)
        console = new_console()
        identity, writer = identify(config, console), identify_writer(config, console)
        now = provenance(config, identity, task.account(), writer)
        check_unchanged(folder, now, settings)
        _show(config, folder)
    summary: Mapping[str, Any] = folder.read(SUMMARY)
    return summary


def identify_writer(config: Config, console: Console) -> Identity | None:
    """Return who writes instructions, where that is another model than the run's own; where it has
    to be fetched first, that is said and done.
    """
    other = writer_config(config)
    return identity_of_writer(config) if other is None else identify(other, console)


def carry_out(
    config: Config,
    folder: EvolveFolder,
    observer: Observer,
    shared: SharedModels | None = None,
    *,
    parent: str | None = None,
) -> tuple[Summary, str]:
    """Begin a run or go on with it, to its end; return the summary, and where the tracker has it.

    Where its scores turn out to be wrong, it begins again and forwards every sequence by itself.

    Args:
        config: of the run.
        folder: has the configuration already.
        observer: sees it happen.
        shared: lends workers that are not to end with this run.
        parent: the MLflow run that this one is shown under; None is that of its sweep, if any.
    """
    parent = parent or parent_run(folder.path)
    try:
        return _carry_out(config, folder, observer, shared, parent)
    except InexactScoringError as found:
        config = begin_again(folder, config, found, EXAMPLES)
        observer.inexact(found)
    return _carry_out(config, folder, observer, shared, parent)


def _carry_out(
    config: Config,
    folder: EvolveFolder,
    observer: Observer,
    shared: SharedModels | None,
    parent: str | None,
) -> tuple[Summary, str]:
    begun = time.perf_counter()
    parts = build(config, home(folder.path), shared, parent)
    status = "FAILED"
    try:
        summary = run(parts, folder, observer, startup_seconds=time.perf_counter() - begun)
        status = "FINISHED"
    except (KeyboardInterrupt, StoppedError):
        status = "KILLED"
        raise
    finally:
        with ThreadPoolExecutor(
            max_workers=1
        ) as thread:  # Ray takes a second to end; MLflow is told the rest meanwhile
            ending = ending_of(folder, config.tracking.detail) if status == "FINISHED" else None
            told = thread.submit(parts.tracker.finish, status, ending)
            parts.close()
        if shared is None:  # a sweep says it once, of all its runs
            warn_untold(folder.path, told.result())
    return summary, parts.tracker.location()


def _show(
    config: Config,
    folder: EvolveFolder,
    on_generation: Callable[[Mapping[str, Any]], bool | None] | None = None,
    parent: str | None = None,
    *,
    verbose: bool = False,
) -> None:
    with Display(config, on_generation=on_generation, verbose=verbose) as display:
        try:
            summary, location = carry_out(config, folder, display, parent=parent)
        except KeyboardInterrupt:
            display.interrupted(folder.path)
            raise
    print_result(display.console, summary, folder, location, home(folder.path))
