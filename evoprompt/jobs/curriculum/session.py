"""A curriculum with all that surrounds it: forecast, play, choose, tell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from evoprompt.backends.open import backend_of, open_model
from evoprompt.errors import InexactScoringError
from evoprompt.jobs.base import (
    begin_again,
    begun_again,
    going_on,
    identify,
    taken_away,
    tell_data,
)
from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.ending import conclude
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.forecast import Forecast, forecast
from evoprompt.jobs.curriculum.loop import Progress, begin, restore, rounds, weights
from evoprompt.jobs.curriculum.meter import ModelMeter, longest_of
from evoprompt.jobs.curriculum.page import PAGE, write_curriculum_page
from evoprompt.jobs.curriculum.record import DIGITS, RoundLine
from evoprompt.jobs.curriculum.regions import Regions, load_regions
from evoprompt.jobs.curriculum.tables import test_table
from evoprompt.jobs.curriculum.tracked import ending_of, open_tracking, point_of
from evoprompt.jobs.provenance import check_scoring, check_unchanged, provenance, with_settings
from evoprompt.jobs.telling import print_end, telling
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import chats_of, memo_opener
from evoprompt.report.table import to_rich
from evoprompt.store.folder import SUMMARY, TRACKING
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.open import opener_of


def show_forecast(config: CurriculumConfig, console: Console | None = None) -> Forecast:
    """Print about how many tokens a curriculum takes; return it. Nothing is loaded but a tokenizer.

    Raises:
        UserError: anything the user gave does not go together.
    """
    console = console or new_console()
    regions = load_regions(config)
    begin(config, regions)
    identity = identify(config, console)
    found = forecast(config, regions, backend_of(config).tokenizer(identity))
    for task in regions.tasks:
        console.print(f"{task.name}: {len(task.fitness):,} examples to draw from", soft_wrap=True)
    console.print(found.told(config), soft_wrap=True)
    return found


def start(config: CurriculumConfig, out: Path | None) -> Mapping[str, Any]:
    """Play in a new folder; return the summary.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a commit
            is taken away again.
    """
    opener_of(config)
    regions, console = load_regions(config), new_console()
    begin(config, regions)
    now = _provenance(config, regions, console)
    folder = CurriculumFolder.create(out, config.name)
    with taken_away(folder):
        folder.begin(config, now)
        for task in regions.tasks:
            console.print(task.name)
            tell_data(console, task.summary(), task.notes)
        return _carry_out(config, folder, regions, console)


def resume(
    path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
) -> Mapping[str, Any]:
    """Go on with a curriculum after the last round that it committed; return the summary.

    Args:
        path: of its folder.
        overrides: `key=value` of what changes no result.
        accept_changes: go on, and record it, where what the result depends on has changed.

    Raises:
        UserError: it is complete, or its folder is damaged.
    """
    folder, console = CurriculumFolder.open(path), new_console()
    with going_on(folder, accept_changes=accept_changes):
        settings = with_settings(folder, CurriculumConfig, overrides)
        regions = load_regions(settings.config)
        check_unchanged(folder, _provenance(settings.config, regions, console), settings)
        return _carry_out(settings.config, folder, regions, console)


def _provenance(config: CurriculumConfig, regions: Regions, console: Console) -> dict[str, object]:
    """Return what the result depends on."""
    accounts = {
        t.name: {k: v for k, v in t.account().items() if k != "notes"} for t in regions.tasks
    }
    return provenance(config, identify(config, console), {"regions": accounts})


def _carry_out(
    config: CurriculumConfig, folder: CurriculumFolder, regions: Regions, console: Console
) -> Mapping[str, Any]:
    """Play to the end; where scores turn out to be wrong, begin again and forward every sequence by
    itself.
    """
    try:
        return _told(config, folder, regions, console)
    except InexactScoringError as found:
        config = begin_again(folder, config, found)
        console.print(begun_again(found), soft_wrap=True)
    return _told(config, folder, regions, console)


def _told(
    config: CurriculumConfig, folder: CurriculumFolder, regions: Regions, console: Console
) -> Mapping[str, Any]:
    with telling(config, folder, console, ending_of) as tracker:
        open_tracking(tracker, folder, config)
        summary = _play(config, folder, regions, console, tracker)
    console.print(to_rich(test_table(summary), padding=1))
    for note in summary["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    print_end(console, summary, tracker.location(), folder.path / PAGE)
    return summary


def _play(
    config: CurriculumConfig,
    folder: CurriculumFolder,
    regions: Regions,
    console: Console,
    tracker: Courier,
) -> Mapping[str, Any]:
    model = open_model(config)
    regions = regions.rendered(chats_of(config.model.chat, model.tokenizer)[0])
    progress = restore(folder, config, regions)
    opener = memo_opener(config, model.identity)
    measurer = Measurer(model.tokenizer, model.executor, open_memo=opener)
    try:
        with progress.ledger.timed("model_load"):
            info = model.executor.info()
        check_scoring(folder, info, config.workers.threads, config.model.name)
        tracker.ready()
        console.print(
            f"{config.model.name} ({info.dtype}) on {info.placement}; scoring path: {info.path} "
            f"({info.reason})",
            soft_wrap=True,
        )
        measurer.watch(config.seed, progress.ledger)
        found = _searched(config, folder, regions, measurer, progress, console, tracker)
    finally:
        measurer.close()
    told = {"name": config.model.name, "dtype": info.dtype, "path": info.path}
    summary = _summary(folder, progress, regions) | {"model": told} | found
    with progress.ledger.timed("report"):
        write_curriculum_page(folder, summary)
    seconds = {name: round(value, 3) for name, value in progress.ledger.seconds.items()}
    summary["seconds"] = seconds | {"total": round(sum(seconds.values()), 3)}
    folder.write(SUMMARY, summary)
    return summary


def _searched(
    config: CurriculumConfig,
    folder: CurriculumFolder,
    regions: Regions,
    measurer: Measurer,
    progress: Progress,
    console: Console,
    tracker: Courier,
) -> dict[str, Any]:
    """Play the rounds that are left and choose; return what `summary.json` has of that."""
    if progress.round:
        console.print(f"going on: {progress.round} rounds are committed")
    splits = [s for t in regions.tasks for s in (t.fitness, t.validation, t.test)]
    meter = ModelMeter(measurer, longest_of(splits))
    for line in rounds(config, regions, meter, progress, folder):
        tracker.log(point_of(regions.names, line))
        console.print(_line(regions.names, line, config), soft_wrap=True)
    ending = conclude(config, regions, meter, progress)
    champion = {
        "policy": ending.champion.to_dict(),
        "policy_id": ending.champion.policy_id,
        "prompt": measurer.shown(ending.champion),
    }
    baseline = {"policy_id": ending.baseline.policy_id}
    return {"champion": champion, "baseline": baseline, **ending.summary}


def _summary(folder: CurriculumFolder, progress: Progress, regions: Regions) -> dict[str, Any]:
    config, lines = folder.config(), folder.rounds()
    again = [
        f"{name} has {len(task.fitness)} examples, and {used} were drawn, so some came again"
        for name, task, used in zip(regions.names, regions.tasks, progress.used, strict=True)
        if used > len(task.fitness)
    ]
    ended = lines[-1].round < config.rounds
    stopped = [f"of {config.rounds} rounds, the tokens sufficed for {lines[-1].round}"]
    return {
        "name": folder.path.name,
        "seed": config.seed,
        "sampling": config.sampling,
        "rounds": lines[-1].round,
        "regions": list(regions.names),
        "weights": [round(float(w), DIGITS) for w in weights(config, progress.totals)],
        "examples": list(progress.used),
        "notes": [*(stopped if ended else []), *again],
        "tokens": asdict(progress.ledger.token_summary()),
        "checked": asdict(progress.ledger.checked),
        "mlflow_run_id": (folder.read(TRACKING) or {}).get("run_id"),
        "time_ms": int(time.time() * 1000),
    }


def _line(names: Sequence[str], line: RoundLine, config: CurriculumConfig) -> str:
    """Return a line for people on a round."""
    weights = "  ".join(f"{n} {w:.2f}" for n, w in zip(names, line.weights, strict=True))
    regret = line.weighted_regret
    told = "" if regret is None else f"  regret {regret:.3f}"
    tokens = f"{line.logical_tokens:,}" + (f" of {config.tokens:,}" if config.tokens else "")
    return (
        f"round {line.round}  fitness {line.best_fitness:.3f}{told}  ({weights})  {tokens} tokens"
    )
