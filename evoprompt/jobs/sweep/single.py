"""One run of a sweep: begun or gone on with in its folder, and what the sweep keeps of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from evoprompt.backends.shared import SharedModels
from evoprompt.config.workers import WorkersConfig
from evoprompt.errors import MachineError, StoppedError, UserError
from evoprompt.jobs.base import identify, plainly
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.loop import Observer
from evoprompt.jobs.evolve.session import carry_out, identify_writer
from evoprompt.jobs.evolve.tracked import sync as sync_run
from evoprompt.jobs.provenance import check_unchanged, provenance, with_settings
from evoprompt.jobs.sweep.changes import set_for_all
from evoprompt.jobs.sweep.config import Sweep, settle
from evoprompt.jobs.sweep.record import Result, SweepRow
from evoprompt.jobs.sweep.tables import result_of, result_so_far
from evoprompt.masking import without_secrets
from evoprompt.store.folder import PROVENANCE, SUMMARY

ERROR = "error.txt"
#: Of the reason that a run failed, at most.
REASON_CHARACTERS = 300


class Watching(Observer, Protocol):
    """Who watches a run of a sweep. `generation` raises StoppedError where the run is not to go
    on.
    """

    console: Console


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the runs of a sweep have in common."""

    path: Path  #: of the sweep's folder
    sweep: Sweep
    shared: SharedModels
    accepts_changes: bool = False  #: of what the results depend on
    #: the workers that a run has, from those of its configuration
    workers: Callable[[WorkersConfig], WorkersConfig] = lambda workers: workers


def do_run(row: SweepRow, around: Surroundings, watching: Watching) -> Result:
    """Begin a run or go on with it, to its end; return what a sweep keeps of it.

    Raises:
        StoppedError: whoever watches wanted no more of it.
        UserError, MachineError: as a run.
    """
    config = settle(around.sweep, row.settings, row.folder)
    folder = EvolveFolder(around.path / row.folder)
    folder.path.mkdir(exist_ok=True)
    (folder.path / ERROR).unlink(missing_ok=True)
    with folder.owned():
        if folder.is_complete:
            sync_run(config, folder)
        else:
            folder.accepts_changes = around.accepts_changes
            _carry_on(config, folder, around, watching)
    result = result_of(folder.read(SUMMARY), around.sweep.config.objective)
    if result["objective"] is None:
        raise UserError(
            f"its summary.json has no number at '{around.sweep.config.objective}'; set another "
            f"objective"
        )
    return result


def _carry_on(
    config: Config, folder: EvolveFolder, around: Surroundings, watching: Watching
) -> None:
    if "begun_again" in (folder.read(PROVENANCE) or {}):
        config = plainly(config)
    task, _ = check_task(config)
    console, data = watching.console, task.account()
    now = provenance(config, identify(config, console), data, identify_writer(config, console))
    if folder.has_commit:
        settings = with_settings(folder, Config, set_for_all(around.sweep))
        check_unchanged(folder, now, settings)
        for line in folder.generations():
            watching.generation(line)
    else:
        folder.begin(config, now)
    here = config.model_copy(update={"workers": around.workers(config.workers)})
    carry_out(here, folder, watching, around.shared)


def so_far(path: Path) -> Result | None:
    """Return what a sweep keeps of a run that was stopped, from its folder."""
    lines = EvolveFolder(path).generations()
    return result_so_far(lines[-1]) if lines else None


def reason_of(error: Exception) -> str:
    """Return why a run failed, in a line."""
    first = (without_secrets(str(error)).strip().splitlines() or [""])[0]
    if not isinstance(error, UserError | MachineError | StoppedError):
        first = f"{type(error).__name__}: {first}"
    return first[:REASON_CHARACTERS]


def write_error(folder: Path, error: Exception) -> None:
    """Keep an error whole in the run's folder."""
    folder.mkdir(exist_ok=True)
    text = without_secrets("".join(traceback.format_exception(error)))
    (folder / ERROR).write_text(text, encoding="utf-8")
