"""A curriculum with all that surrounds it: forecast, play, choose, tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from evoprompt.backends.open import backend_of, open_model
from evoprompt.jobs.base import identify
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
from evoprompt.jobs.lifecycle import Lifecycle, write_end
from evoprompt.jobs.provenance import check_scoring, provenance
from evoprompt.jobs.telling import model_line, print_end
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import chats_of, memo_opener
from evoprompt.report.table import to_rich
from evoprompt.store.folder import TRACKING
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import Courier


def show_forecast(config: CurriculumConfig, console: Console | None = None) -> Forecast:
    """Print about how many tokens a curriculum takes; return it. Nothing is loaded but a tokenizer.

    Raises:
        UserError: anything the user gave does not go together.
    """
    console = console or new_console()
    regions = _read(config)
    identity = identify(config, console)
    found = forecast(config, regions, backend_of(config).tokenizer(identity))
    for task in regions.tasks:
        console.print(f"{task.name}: {len(task.fitness):,} examples to draw from", soft_wrap=True)
    console.print(found.told(config), soft_wrap=True)
    return found


def _read(config: CurriculumConfig) -> Regions:
    """Return the regions, which all founders can be shown."""
    regions = load_regions(config)
    begin(config, regions)
    return regions


def _data(regions: Regions) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each region's name, and what it has."""
    for task in regions.tasks:
        yield task.name, ()
        yield task.summary(), task.notes


def _provenance(config: CurriculumConfig, regions: Regions, console: Console) -> dict[str, object]:
    """Return what the result depends on."""
    accounts = {
        t.name: {k: v for k, v in t.account().items() if k != "notes"} for t in regions.tasks
    }
    return provenance(config, identify(config, console), {"regions": accounts})


def _carry_out(
    config: CurriculumConfig,
    regions: Regions,
    folder: CurriculumFolder,
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
        console.print(model_line(config.model.name, info), soft_wrap=True)
        measurer.watch(config.seed, progress.ledger)
        found = _searched(config, folder, regions, measurer, progress, console, tracker)
    finally:
        measurer.close()
    told = {"name": config.model.name, "dtype": info.dtype, "path": info.path}
    summary = _summary(folder, progress, regions) | {"model": told} | found
    return write_end(folder, summary, progress.ledger, write_curriculum_page)


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


def _show(
    console: Console, folder: CurriculumFolder, summary: Mapping[str, Any], location: str
) -> None:
    console.print(to_rich(test_table(summary), padding=1))
    for note in summary["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    print_end(console, summary, location, folder.path / PAGE)


LIFECYCLE = Lifecycle(
    config=CurriculumConfig,
    folder=CurriculumFolder,
    read=_read,
    data=_data,
    provenance=_provenance,
    open_tracking=open_tracking,
    carry_out=_carry_out,
    ending=ending_of,
    show=_show,
)
start, resume = LIFECYCLE.start, LIFECYCLE.resume
