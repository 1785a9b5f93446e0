"""What a tracker is told of a run: when it begins, of each generation, when it is complete."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from evoprompt.errors import UserError
from evoprompt.jobs.base import parent_run
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.feedback_page import feedback_metrics
from evoprompt.jobs.evolve.folder import FEEDBACK, GENERATIONS, EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics, summary_description, summary_metrics
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.evolve.showcase import CHAMPION
from evoprompt.jobs.evolve.shown import shown_of
from evoprompt.jobs.telling import tell_rest
from evoprompt.policy import Policy
from evoprompt.store.form import in_form
from evoprompt.tasks.base import Task
from evoprompt.tracking.base import KIND, About, Dataset, Detail, Ending, Point
from evoprompt.tracking.courier import Courier, Spool
from evoprompt.tracking.names import digest, flat_parameters
from evoprompt.tracking.prompts import RegisteredPrompt, registered

logger = logging.getLogger(__name__)


def open_tracking(
    courier: Courier, folder: EvolveFolder, config: Config, task: Task | None = None
) -> None:
    """Begin to tell of a run, or go on with all that is committed and not told yet.

    Args:
        courier: tells it.
        folder: of the run.
        config: of the run.
        task: None is read where it is needed, and nobody is waited for.
    """
    commit = folder.last_commit()
    with in_form(folder.path):
        last = -1 if commit is None else int(commit["generation"])
    courier.open(
        folder,
        lambda: about(folder, config, task or check_task(config)[0]),
        Spool(last, partial(points_after, folder, config.tracking.detail)),
        once=task is None,
    )


def points_after(folder: EvolveFolder, detail: Detail, step: int) -> Iterator[Point]:
    """Yield what a tracker is told of the committed generations after one."""
    with in_form(folder.path / GENERATIONS):
        begin = folder.place_of(GENERATIONS, lambda line: line["generation"] <= step)
        for _, line in folder.placed_lines(GENERATIONS, begin):
            yield point_of(GenerationLine.from_dict(line), detail)


def sync(config: Config, folder: EvolveFolder) -> Exception | None:
    """Tell the tracker all that it was not told of a run; return why that was not possible, None
    where it knows all.
    """
    return tell_rest(
        config,
        folder,
        lambda courier: open_tracking(courier, folder, config),
        lambda run: ending_of(run, config.tracking.detail),
        parent_run(folder.path),
    )


def about(folder: EvolveFolder, config: Config, task: Task) -> About:
    """Return what a tracker is told when a run begins."""
    tags = {
        KIND: "run",
        "evoprompt.folder": str(folder.path),
        "evoprompt.task": task.name,
        "evoprompt.model": config.model.name,
    }
    parameters = flat_parameters(config.model_dump(mode="json"))
    return About(folder.path.name, parameters, tags, datasets_of(task, config))


def point_of(line: GenerationLine, detail: Detail) -> Point:
    """Return what a tracker is told of a generation."""
    return Point(generation_metrics(line, detail), line.generation, line.time_ms)


def ending_of(folder: EvolveFolder, detail: Detail) -> Ending | None:
    """Return what a tracker is told of a complete run, from its folder alone; None of another."""
    summary = folder.summary()
    if summary is None:
        return None
    last, config = folder.generations({summary.generations})[-1], folder.config()
    metrics = summary_metrics(summary, detail) | feedback_metrics(folder.read(FEEDBACK))
    point = Point(metrics, last.generation, last.time_ms)
    file = folder.path / CHAMPION
    champion = file.read_text("utf-8") if file.exists() else summary.champion.prompt
    told = Ending(
        summary_description(summary),
        point,
        folder.path,
        champion,
        prompt=prompt_of(summary, config.name) if config.tracking.register_champion else None,
    )
    if detail == "brief" and parent_run(folder.path) is not None:
        return told  # 10 MB of pages are too much for each run of a sweep
    from evoprompt.jobs.evolve.interactive import population_columns, run_pages

    shown = shown_of(folder, summary.champion.policy_id)
    accounts, lineage = [line.account for line in shown.lines], shown.lineage
    pages = run_pages(accounts, lineage, summary.champion.policy_id)
    return replace(
        told,
        pages={f"figures/{name}": make for name, make in pages.items()},
        tables={"population.json": partial(population_columns, lineage)},
    )


def prompt_of(summary: Summary, name: str) -> RegisteredPrompt | None:
    """Return what a registry of prompts gets of a run, under a name: the champion with its
    held-out check; None, which is said, where it has no place there.
    """
    model = summary.model.name
    try:
        prompt = registered(Policy.from_dict(summary.champion.policy), name, model)
    except UserError as error:
        logger.warning("the champion is not in MLflow's registry of prompts: %s", error)
        return None
    test = summary.test.to_dict()
    metric = test["metric"]
    tags = {"evoprompt.num_test_examples": str(test["num_examples"])}
    for part in ("baseline", "champion", "difference"):
        low, high = test[part]["ci"]
        tags[f"evoprompt.{part}_{metric}"] = f"{test[part]['value']:.4g}"
        tags[f"evoprompt.{part}_{metric}_interval"] = f"{low:.4g} to {high:.4g}"
    return replace(prompt, tags={**prompt.tags, **tags})


def datasets_of(task: Task, config: Config) -> list[Dataset]:
    """Return what is told of the splits that are measured."""
    splits = (("fitness", task.fitness), ("validation", task.validation), ("test", task.test))
    source = config.task.origin
    return [
        Dataset(task.name, digest(examples), source, split, len(examples))
        for split, examples in splits
    ]
