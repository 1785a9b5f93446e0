"""A measurement by number of demonstrations with all that surrounds it: plan, measure, tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from evoprompt.backends.base import Identity, ModelInfo
from evoprompt.backends.open import backend_of
from evoprompt.backends.shared import SharedModels
from evoprompt.jobs.base import identify
from evoprompt.jobs.lifecycle import Lifecycle, write_end
from evoprompt.jobs.provenance import check_scoring, provenance
from evoprompt.jobs.shots.analysis import curves_of
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.folder import ShotsFolder
from evoprompt.jobs.shots.loop import Progress, measure_series, restore, summary_of
from evoprompt.jobs.shots.page import PAGE, write_shots_page
from evoprompt.jobs.shots.plan import Chain, Planner, Series, load_series, window_in
from evoprompt.jobs.shots.record import Cell
from evoprompt.jobs.shots.tables import curve_table, name_of, percent, settings_table, words_of
from evoprompt.jobs.shots.tracked import ending_of, open_tracking, points_of
from evoprompt.jobs.telling import model_line, print_end
from evoprompt.measurement.model import memo_opener
from evoprompt.measurement.together import JointMeasurer
from evoprompt.report.table import new_table, to_rich
from evoprompt.scoring.models import is_fetched
from evoprompt.scoring.trie import count_rows
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import Courier


def show_plan(config: ShotsConfig, console: Console | None = None) -> int:
    """Print what would be measured, and the tokens that it would forward; return their sum. Nothing
    is loaded but tokenizers; a model that is not in the cache is passed over, and that is said.

    Raises:
        UserError: anything the user gave does not go together.
    """
    console, rows, total, notes = console or new_console(), [], 0, []
    for series in load_series(config):
        if not is_fetched(series.model):
            notes.append(f"{series.model} is not in the cache: evoprompt models --fetch names it")
            continue
        backend = backend_of(series.config)
        identity = backend.identify(series.config.model)
        planner = Planner(series, backend.tokenizer(identity), window_in(identity))
        fitted = planner.plan()
        notes += fitted.notes
        for context in dict.fromkeys(chain.context for chain in fitted.chains):
            chains = [chain for chain in fitted.chains if chain.context == context]
            tokens = sum(planner.tokens(chain) for chain in chains)
            floor = count_rows([r for c in chains for part in planner.asked(c) for r in part])
            numbers = chains[0].numbers or [len(p.demonstrations) for p in chains[0].policies]
            own = (
                series.name,
                name_of(series.model),
                words_of(context),
                ", ".join(map(str, numbers)),
            )
            rows.append((*own, str(len(chains)), f"{tokens:,}", f"{tokens / floor:.3f}"))
            total += tokens
    heads = ("task", "model", "context", "numbers", "draws", "tokens", "of the floor")
    console.print(to_rich(new_table(heads, rows, align="llll"), padding=1))
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", soft_wrap=True)
    console.print(
        f"{total:,} tokens, where the memo has nothing; the floor is each distinct beginning of "
        f"the prompts once",
        soft_wrap=True,
    )
    return total


def _data(series: Sequence[Series]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each task's name, and what it has."""
    for task in {s.name: s.task for s in series}.values():
        yield task.name, ()
        yield task.summary(), task.notes


def _provenance(
    config: ShotsConfig, series: Sequence[Series], console: Console
) -> dict[str, object]:
    """Return what the result depends on: of every task, every model, and every champion."""
    identities: dict[str, Identity] = {}
    for each in config.by_model:
        identities[each.model.name] = identify(each, console)
    tasks = {s.name: {k: v for k, v in s.task.account().items() if k != "notes"} for s in series}
    data: dict[str, object] = {
        "tasks": tasks,
        "models": {name: identity.fingerprint for name, identity in identities.items()},
        "champions": {s.name: s.evolved.policy_id for s in series if s.evolved is not None},
    }
    return provenance(config, next(iter(identities.values())), data)


def _carry_out(
    config: ShotsConfig,
    series: Sequence[Series],
    folder: ShotsFolder,
    console: Console,
    tracker: Courier,
) -> Mapping[str, Any]:
    progress, notes, infos = restore(folder), list[str](), dict[str, ModelInfo]()
    if progress.done:
        console.print(f"going on: {len(progress.done)} sequences are committed")
    for own in config.by_model:
        with _opened(own, folder, progress) as (measurer, info):
            infos[own.model.name] = info
            tracker.ready()
            console.print(model_line(own.model.name, info), soft_wrap=True)
            for each in (s for s in series if s.model == own.model.name):
                planner = Planner(each, measurer.tokenizer, info.window)
                notes += _measure_series(each, planner, measurer, folder, progress, console)
    summary = summary_of(folder, progress, notes, infos)
    ended = write_end(folder, summary, progress.ledger, write_shots_page)
    for point in points_of(folder):
        tracker.log(point)
    return ended


def _measure_series(
    series: Series,
    planner: Planner,
    measurer: JointMeasurer,
    folder: ShotsFolder,
    progress: Progress,
    console: Console,
) -> Sequence[str]:
    """Measure a series, a line for people on each chain; return what is left out of it."""
    fitted = planner.plan()
    for note in fitted.notes:
        console.print(f"note: {note}", soft_wrap=True)

    def told(chain: Chain, cells: Sequence[Cell]) -> None:
        done = sum(key[:2] == (series.model, series.name) for key in progress.done)
        line = _line(series, chain, cells, f"{done} of {len(fitted.chains)}")
        console.print(line, soft_wrap=True)

    measure_series(series, planner, fitted.chains, measurer, folder, progress, told)
    return fitted.notes


@contextmanager
def _opened(
    config: ShotsConfig, folder: ShotsFolder, progress: Progress
) -> Iterator[tuple[JointMeasurer, ModelInfo]]:
    """Open a model, and give it back: the next one needs its memory."""
    models = SharedModels()
    try:
        with progress.ledger.timed("model_load"):
            model = models.open_model(config)
            info = model.executor.info()
        check_scoring(folder, info, config.workers.threads, config.model.name)
        opener = memo_opener(config, model.identity)
        measurer = JointMeasurer(model.tokenizer, model.executor, open_memo=opener)
        measurer.watch(config.seed, progress.ledger)
        yield measurer, info
        measurer.close()
    finally:
        models.close()


def _line(series: Series, chain: Chain, cells: Sequence[Cell], at: str) -> str:
    """Return a line for people on a chain that is measured."""
    found = [
        f"{cell.number}: {percent(sum(right) / len(right))}"
        for cell in cells
        for right in [cell.calibrated_right or cell.right]
    ]
    draw = "" if chain.context in ("none", "evolved") else f" {chain.draw + 1}"
    name = f"{series.name}  {name_of(series.model)}  {words_of(chain.context)}{draw}"
    return f"{name}  accuracy {'  '.join(found) or 'left out'}  ({at})"


def _show(console: Console, folder: ShotsFolder, summary: Mapping[str, Any], location: str) -> None:
    curves = curves_of(folder.cells())
    is_calibrated = any("calibrated_accuracy" in p.means for c in curves for p in c.points)
    title = "Accuracy by number of demonstrations, %"
    if is_calibrated:
        shown = curve_table(curves, "calibrated_accuracy", f"{title}, calibrated")
        console.print(to_rich(shown, padding=1))
    console.print(to_rich(curve_table(curves, "accuracy", title), padding=1))
    console.print(to_rich(settings_table(curves), padding=1))
    print_end(console, summary, location, folder.path / PAGE)


LIFECYCLE = Lifecycle(
    config=ShotsConfig,
    folder=ShotsFolder,
    read=load_series,
    data=_data,
    provenance=_provenance,
    open_tracking=open_tracking,
    carry_out=_carry_out,
    ending=ending_of,
    show=_show,
)
start, resume = LIFECYCLE.start, LIFECYCLE.resume
