"""What a tracker is told of a curriculum: when it begins, of each round, when it is complete."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.record import RoundLine
from evoprompt.jobs.curriculum.tables import test_table
from evoprompt.jobs.telling import tell_rest
from evoprompt.report.table import to_markdown
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form
from evoprompt.tracking.base import KIND, About, Ending, Point
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.names import flat_parameters


def open_tracking(
    courier: Courier, folder: CurriculumFolder, config: CurriculumConfig, *, once: bool = False
) -> None:
    """Begin to tell of a curriculum, or go on with what is committed and not told yet; with `once`
    nobody is waited for.
    """
    with in_form(folder.path):
        points = [point_of(list(config.regions), line) for line in folder.rounds()]
    courier.open(folder, lambda: about(folder, config), points, once=once)


def sync(config: CurriculumConfig, folder: CurriculumFolder) -> Exception | None:
    """Tell the tracker all that it was not told; return why that was not possible, None where it
    knows all.
    """
    return tell_rest(
        config, folder, lambda courier: open_tracking(courier, folder, config, once=True), ending_of
    )


def about(folder: CurriculumFolder, config: CurriculumConfig) -> About:
    """Return what a tracker is told when it begins."""
    tags = {
        KIND: "curriculum",
        "evoprompt.folder": str(folder.path),
        "evoprompt.model": config.model.name,
        "evoprompt.task": ", ".join(config.regions),
    }
    return About(folder.path.name, flat_parameters(config.model_dump(mode="json")), tags)


def point_of(names: Sequence[str], line: RoundLine) -> Point:
    """Return what a tracker is told of a round."""
    by_region = {
        "weight": line.weights,
        "regret": line.regret,
        "protagonist": line.protagonist,
        "best": line.best,
    }
    metrics: dict[str, float | None] = {
        f"curriculum/{kind}/{name}": value
        for kind, values in by_region.items()
        for name, value in zip(names, values, strict=True)
    }
    metrics |= {
        "curriculum/weighted_regret": line.weighted_regret,
        "curriculum/duality_gap": line.duality_gap,
        "curriculum/minimax_regret": line.minimax_regret,
        "curriculum/weight_entropy": line.entropy,
        "fitness/best": line.best_fitness,
        "tokens/total": float(line.prefill_tokens),
        "tokens/logical": float(line.logical_tokens),
    }
    known = {name: value for name, value in metrics.items() if value is not None}
    return Point(known, line.round, line.time_ms)


def ending_of(folder: CurriculumFolder) -> Ending | None:
    """Return what a tracker is told of a complete curriculum; None of another."""
    summary = folder.read(SUMMARY)
    if summary is None:
        return None
    table = to_markdown(test_table(summary))
    return Ending(table, folder=folder.path, champion=summary["champion"]["prompt"])
