"""A sweep: many runs of one base configuration, one after another in one process, which share the
workers with the loaded model.

Its folder has `sweep.yaml` and `base.yaml` (what it is), `sweep.json` (its state, replaced in one
step at every change), a run folder for each run, and at the end `sweep.csv`, `sweep.html` and
`best.yaml`. What is finished is not done again when a sweep is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt.backends.shared import SharedModels, executor_key
from evoprompt.config.reader import dump_config
from evoprompt.errors import StoppedError, UserError
from evoprompt.jobs.base import SWEEP, identify
from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.sweep.bayes import check_installed, propose
from evoprompt.jobs.sweep.changes import with_changes
from evoprompt.jobs.sweep.config import Sweep, corners, dump_sweep, label, load_sweep, plan, settle
from evoprompt.jobs.sweep.display import SweepDisplay, print_end, rows_table
from evoprompt.jobs.sweep.forecast import OMITTED, Forecaster
from evoprompt.jobs.sweep.page import PAGE, TABLE, read_state, write_results
from evoprompt.jobs.sweep.progress import Progress
from evoprompt.jobs.sweep.record import Settings, SweepRow
from evoprompt.jobs.sweep.single import Surroundings, do_run, reason_of, so_far, write_error
from evoprompt.jobs.sweep.tables import best_group, done
from evoprompt.jobs.sweep.tracked import BEST, SETTINGS, about, ending_of
from evoprompt.store.folder import TRACKING, RunFolder
from evoprompt.store.names import refuse_links
from evoprompt.terminal import new_console
from evoprompt.tracking.base import NullTracker, StoreDownError
from evoprompt.tracking.courier import Courier, sync_hint, warn_untold
from evoprompt.tracking.open import open_tracker

BASE = "base.yaml"


def start(
    path: Path,
    out: Path | None,
    overrides: Sequence[str] = (),
    console: Console | None = None,
) -> int:
    """Run a sweep in a new folder; return how many runs failed. What happens is shown on the
    console; None is the terminal.

    Raises:
        UserError: before anything is started, where that can be known.
    """
    sweep = load_sweep(path, overrides)
    configs = check(sweep)
    for config in {
        (c.model.name, c.model.revision, c.model.adapter, c.workers.backend): c for c in configs
    }.values():
        identify(config, console or new_console())
    made = RunFolder.create(out, sweep.config.name)
    folder, away = made.path, False
    (folder / BASE).write_text(
        dump_config(
            settle(
                Sweep(sweep.config.model_copy(update={"set": {}}), sweep.base, sweep.folder),
                {},
                "base",
            )
        )
    )
    (folder / SETTINGS).write_text(dump_sweep(sweep, BASE), encoding="utf-8")
    progress = Progress(
        folder,
        load_sweep(folder / SETTINGS),
        _rows([] if sweep.config.method == "bayes" else plan(sweep)),
    )
    progress.save()
    try:
        return _carry_out(progress, console)
    except UserError:
        away = all(row.status == "waiting" for row in progress.rows)
        if away:
            _take_away(folder)
        raise
    finally:
        made.ownership.leave()
        if away and not any(folder.iterdir()):
            folder.rmdir()


def resume(path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False) -> int:
    """Go on with a sweep; failed runs are tried again. Return how many failed.

    Args:
        path: of its folder.
        overrides: `key=value` of what changes no result, for all runs that are not done, and
            `runs`.
        accept_changes: go on, and record it in the runs, where what a result depends on has
            changed.

    Raises:
        UserError: there is no sweep, it is complete, or a key may not be changed.
    """
    if not (path / SWEEP).exists():
        raise UserError(
            f"there is no sweep in {path}: it has no {SWEEP}; give the folder that evoprompt "
            f"sweep made"
        )
    refuse_links(path.iterdir())
    refuse_links(file for run in path.iterdir() if run.is_dir() for file in run.iterdir())
    with RunFolder(path.resolve()).owned():
        return _go_on(path, overrides, accept_changes=accept_changes)


def _go_on(path: Path, overrides: Sequence[str], *, accept_changes: bool) -> int:
    state = read_state(path)
    sweep = with_changes(load_sweep(path / SETTINGS), overrides, len(state.rows))
    if overrides:
        check(sweep)
        RunFolder(path).write_text(SETTINGS, dump_sweep(sweep, BASE))
    rows = list(state.rows)
    if sweep.config.method == "random":
        rows += _rows(plan(sweep)[len(rows) :], len(rows) + 1)
    if sweep.config.stopping.method == "off":  # those that were stopped go on
        rows = [replace(r, status="waiting") if r.status == "stopped" else r for r in rows]
    progress = Progress(path.resolve(), sweep, rows, accept_changes)
    ended = sum(not row.is_left for row in progress.rows)
    if ended == progress.total and (path / PAGE).exists():
        raise UserError(
            f"the sweep in {path} is complete; its result is in {path / TABLE} and {path / PAGE}"
        )
    return _carry_out(progress)


def show_plan(path: Path, overrides: Sequence[str] = ()) -> None:
    """Print the runs of a sweep with a forecast of the tokens that each forwards. No model is
    loaded.
    """
    sweep = load_sweep(path, overrides)
    check(sweep)
    console = new_console()
    forecaster = Forecaster()
    bayes = sweep.config.method == "bayes"
    rows = _rows([propose(sweep.config, 1, [])] if bayes else plan(sweep))
    forecasts = [forecaster.tokens(settle(sweep, row.settings, row.folder)) for row in rows]
    known = {
        row.number: f"{tokens:,}" if tokens is not None else ""
        for row, tokens in zip(rows, forecasts, strict=True)
    }
    console.print(rows_table(rows, list(sweep.config.axes), known))
    if bayes:
        console.print(
            f"Runs 2 to {sweep.config.runs} are proposed from the results of those before; the "
            f"total takes them to be like the first."
        )
    tokens = [t for t in forecasts if t is not None]
    if len(tokens) < len(rows):
        console.print(
            "The tokenizer of a model that is not in the cache was not read; evoprompt models "
            "--fetch NAME puts it there."
        )
    total = sum(tokens) * (sweep.config.runs or 1) if bayes else sum(tokens)
    console.print(
        f"{sweep.config.runs or len(rows)} runs; together {total:,} tokens, an upper forecast, "
        f"before memo and prefix store."
    )
    console.print(OMITTED, soft_wrap=True)


def check(sweep: Sweep) -> list[Config]:
    """Return the configurations of all runs (for bayes, of its axes' values and ends), each checked
    with its task.

    Raises:
        UserError: a key is unknown, a value is not valid, a run's parts do not go together, or
            optuna is missing.
    """
    if sweep.config.method == "bayes":
        check_installed("method bayes", "method to random")
    if sweep.config.stopping.method != "off":
        check_installed("stopping.method halving", "it to off")
    settings = corners(sweep) if sweep.config.method == "bayes" else plan(sweep)
    configs = [settle(sweep, each, label(number, each)) for number, each in enumerate(settings, 1)]
    checked: set[str] = set()
    for config in configs:
        key = config.model_copy(update={"seed": 0, "name": ""}).model_dump_json()
        if key not in checked:
            checked.add(key)
            strategy_of(config, check_task(config)[0])
    return configs


def _rows(settings: Sequence[Settings], first: int = 1) -> list[SweepRow]:
    return [SweepRow(n, label(n, each), dict(each)) for n, each in enumerate(settings, first)]


def _carry_out(progress: Progress, console: Console | None = None) -> int:
    """Do what is left of a sweep; return how many runs failed."""
    axes = list(progress.sweep.config.axes)
    tracker = _LateTracker()
    status = "FAILED"
    with SweepDisplay(axes, progress.rows, progress.total, console) as display:
        try:
            _do(progress, tracker, display)
            _conclude(progress)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            display.interrupted(progress.path)
            raise
        finally:
            ending = ending_of(progress.path, progress.state()) if status == "FINISHED" else None
            reason = tracker.own.finish(status, ending)
            warn_untold(progress.path, reason or _untold_runs(progress))
    print_end(display.console, progress.state(), progress.path, progress.path.parent)
    return sum(row.status == "failed" for row in progress.rows)


def _do(progress: Progress, tracker: _LateTracker, display: SweepDisplay) -> None:
    """Do the runs that are left, one after another or several at a time."""
    if progress.sweep.config.parallel > 1:
        _tell_of(progress, _first(progress), tracker)
        from evoprompt.jobs.sweep.at_once import do_at_once

        do_at_once(progress, list(_left(progress)), display)
        return
    shared = SharedModels()
    try:
        first = _first(progress)
        shared.open_model(first)
        _tell_of(progress, first, tracker)
        for row in _left(progress):
            if not progress.passes_over(row):
                _run(progress, row, shared, display)
    finally:
        shared.close()


def _untold_runs(progress: Progress) -> Exception | None:
    """Return what is said where MLflow missed something of runs that are done."""
    folders = [RunFolder(progress.path / row.folder) for row in done(progress.rows)]
    missed = [folder.path.name for folder in folders if sync_hint(folder)]
    return (
        StoreDownError(f"it did not answer at the end of {', '.join(missed)}") if missed else None
    )


@dataclass(slots=True)
class _LateTracker:
    own: Courier = field(default_factory=lambda: Courier(NullTracker()))


def _first(progress: Progress) -> Config:
    """Return the configuration of the first run that is left."""
    settings = next((row.settings for row in progress.rows if row.is_left), None)
    return settle(
        progress.sweep, settings if settings is not None else corners(progress.sweep)[0], "first"
    )


def _tell_of(progress: Progress, first: Config, tracker: _LateTracker) -> None:
    """Tell MLflow of the sweep, once the workers of the first run are started: its run is the
    parent of all the runs'.
    """
    tracker.own = open_tracker(first, progress.path.parent)
    tracker.own.open(
        RunFolder(progress.path), lambda: about(progress.path, progress.sweep, progress.total)
    )
    tracker.own.ready()


def _left(progress: Progress) -> Iterator[SweepRow]:
    """Yield the rows that are left to do. Those of the same workers follow each other; bayes is
    asked for each as its turn comes.
    """
    config = progress.sweep.config
    if config.method != "bayes":
        rows = progress.order()
        keys = [executor_key(settle(progress.sweep, row.settings, "x")) for row in rows]
        order = sorted(range(len(keys)), key=lambda i: keys.index(keys[i]))
        yield from [rows[i] for i in order if rows[i].is_left]
        return
    yield from [row for row in progress.rows if row.is_left]
    for number in range(len(progress.rows) + 1, progress.total + 1):
        finished = [
            (row.settings, value)
            for row in done(progress.rows)
            if (value := row.value("objective")) is not None
        ]
        progress.rows += _rows([propose(config, number, finished)], number)
        yield progress.rows[-1]


def _run(
    progress: Progress, waiting: SweepRow, shared: SharedModels, display: SweepDisplay
) -> None:
    """Do one run, and keep how it ended."""
    number = waiting.number
    row = progress.put(number, status="running", reason=None, result=None)
    display.changed(row)
    display.judge = partial(progress.judge, number)
    around = Surroundings(progress.path, progress.sweep, shared, progress.accepts_changes)
    ended: dict[str, Any] = {}
    try:
        ended = {"status": "done", "result": do_run(row, around, display)}
    except KeyboardInterrupt:
        ended = {"status": "interrupted"}
        raise
    except StoppedError as why:
        ended = {
            "status": "stopped",
            "reason": str(why),
            "result": so_far(progress.path / row.folder),
        }
    except Exception as error:  # noqa: BLE001 (kept whole in the run's folder, and told; the other runs go on)
        ended = {"status": "failed", "reason": reason_of(error)}
        write_error(progress.path / row.folder, error)
        shared.close()  # whatever state the workers are in, the next run has new ones
    finally:
        row = progress.put(number, **ended)
    display.changed(row)


def _conclude(progress: Progress) -> None:
    """Write table, page and the best run's config."""
    write_results(progress.path)
    best = best_group(progress.rows)
    if best:
        config = settle(progress.sweep, best[0].settings, f"{progress.sweep.config.name}-best")
        (progress.path / BEST).write_text(dump_config(config), encoding="utf-8")


def _take_away(folder: Path) -> None:
    """Remove what was written of a sweep that could not start."""
    for name in (SETTINGS, BASE, SWEEP, TRACKING):
        (folder / name).unlink(missing_ok=True)
