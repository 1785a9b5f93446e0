"""Folders of runs and of measurements by number of demonstrations -> lines of a table, as
`scaling samples` and `scaling fit` read them from a CSV file.

The loss is the mean log-likelihood of the right answer, nats, taken negative: of a whole answer, so
that models with other tokens can be compared, and as the model says it. Accuracy is calibrated
where it was measured so. A run is followed by generations, with its fittest policy on the examples
that the search saw; a measurement by number of demonstrations has the test examples.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.job import EvolveJob
from evoprompt.jobs.scaling.table import Line
from evoprompt.jobs.shots.folder import ShotsFolder
from evoprompt.jobs.shots.job import ShotsJob
from evoprompt.jobs.shots.record import NONE, Cell
from evoprompt.records import LabelScores, LineageEntry
from evoprompt.scoring.models import EMBEDDED, embedded_folder

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
KINDS = {"runs": "tokens that the search forwarded", "shots": "demonstrations"}


@dataclass(frozen=True, slots=True)
class Point:
    """One model after some samples on one task, with one seed or draw."""

    samples: int  #: demonstrations; tokens that the run forwarded so far
    step: int  #: demonstrations; generations
    loss: float  #: nats of the right answer
    accuracy: float


@dataclass(frozen=True, slots=True)
class Series:
    """A model on a task with one seed or draw."""

    model: str
    parameters: int | None  #: all weights, the vocabulary's too; None where they are not there
    task: str
    seed: int
    chance: float  #: accuracy of guessing; 0 in free form
    points: tuple[Point, ...]  #: in order of the samples


def are_folders(paths: Sequence[str]) -> bool:
    """Return whether these are folders rather than a table.

    Raises:
        UserError: some are and some are not, or there are several tables.
    """
    kinds = [Path(p).is_dir() for p in paths]
    if any(kinds) and not all(kinds):
        raise UserError(
            f"{', '.join(paths)}: some are folders and some are not; give one table, or folders of "
            "runs, or of evoprompt shots"
        )
    if not any(kinds) and len(paths) > 1:
        raise UserError(f"{', '.join(paths)} are several tables; give one, or folders")
    return any(kinds)


def read_series(paths: Sequence[str], context: str | None) -> tuple[list[Series], list[str]]:
    """Return what folders hold, and what is worth knowing of it.

    Args:
        paths: folders of runs, or of `evoprompt shots`; not both.
        context: of shots, how demonstrations were found; None takes the only one.

    Raises:
        UserError: a folder is of another job or has nothing yet, both kinds are given, or the
            context is not there or not said.
    """
    found: dict[str, list[Series]] = {"runs": [], "shots": []}
    for path in map(Path, paths):
        job = job_of(path)
        if isinstance(job, EvolveJob):
            found["runs"].append(_of_run(path))
        elif isinstance(job, ShotsJob):
            found["shots"] += _of_shots(path, context)
        else:
            raise UserError(f"{path} is neither a run nor a folder of evoprompt shots")
    if all(found.values()):
        raise UserError(
            "runs are compared by the tokens of their search and shots by demonstrations; give "
            "folders of one kind"
        )
    [kind] = [kind for kind, own in found.items() if own]
    notes = [f"samples are {KINDS[kind]}; the loss is nats of the right answer"]
    if kind == "runs":
        notes.append(
            "loss and accuracy of runs are of the best policy on the examples that chose it, so "
            "they flatter"
        )
    series = found[kind]
    tasks = {model: {s.task for s in own} for model, own in _by_model(series).items()}
    common = set.intersection(*tasks.values())
    if not common:
        told = "; ".join(f"{m}: {', '.join(sorted(own))}" for m, own in tasks.items())
        raise UserError(f"no task is of all models: {told}; give folders on one task")
    if any(own != common for own in tasks.values()):
        notes.append(f"only {', '.join(sorted(common))} is of all models; the rest is left out")
    return [s for s in series if s.task in common], notes


def sample_lines(series: Sequence[Series]) -> list[Line]:
    """Return lines for `scaling samples`: of each model its means over tasks, seeds and draws by
    samples, from the first number that all of these have. At samples at which only another was
    measured a series is as it was last, and a search that has ended stays so.
    """
    lines = []
    for model, own in _by_model(series).items():
        grid = sorted({p.samples for s in own for p in s.points})
        low = max(s.points[0].samples for s in own)
        for samples in (n for n in grid if n >= low):
            at = [_last_at(s.points, lambda p: p.samples, samples) for s in own]
            line = {
                "model": model,
                "samples": str(samples),
                "loss": repr(fmean(p.loss for p in at)),
                "accuracy": repr(fmean(p.accuracy for p in at)),
                "tasks": str(len({s.task for s in own})),
            }
            if own[0].parameters is not None:
                line["parameters"] = str(own[0].parameters)
            lines.append(line)
    return lines


def fit_lines(series: Sequence[Series], losses: Mapping[str, float]) -> list[Line]:
    """Return lines for `scaling fit`: a benchmark is a task, and each step of a model, so many
    demonstrations or generations, counts as a model of its own, with its accuracy in percent. Its
    loss is the mean over tasks of the nats of the right answer, or that of its model where losses
    are given; then the last step counts alone. A search that has ended stays as it was.
    """
    lines = []
    for model, own in _by_model(series).items():
        first = max(s.points[0].step for s in own)
        steps = sorted({p.step for s in own for p in s.points if p.step >= first})
        if losses:
            if model not in losses:
                raise UserError(f"the losses have none of {model}; they have {', '.join(losses)}")
            steps = steps[-1:]
        for step in steps:
            at = {id(s): _last_at(s.points, lambda p: p.step, step) for s in own}
            by_task = grouped(own, lambda s: s.task)
            loss = fmean(fmean(at[id(s)].loss for s in some) for some in by_task.values())
            for task, some in by_task.items():
                lines.append(
                    {
                        "benchmark": task,
                        "model": model if losses else f"{model} {step}",
                        "score": repr(100 * fmean(at[id(s)].accuracy for s in some)),
                        "chance": repr(100 * some[0].chance),
                        "loss": repr(losses.get(model, loss)),
                    }
                )
    return lines


def read_losses(path: Path) -> dict[str, float]:
    """Return the losses of a CSV file with the columns model and loss, nats per token.

    Raises:
        UserError: it is none.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        return {row["model"]: float(row["loss"]) for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no CSV with columns model and loss, a number each ({error})"
        ) from None


def _of_run(path: Path) -> Series:
    folder = EvolveFolder.open(path)
    config, lines, measured = folder.config(), folder.generations(), folder.measurements()
    if not lines:
        raise UserError(f"nothing is committed in {path} yet")
    fittest: dict[int, LineageEntry] = {}
    for entry in folder.lineage():
        known = fittest.get(entry.generation)
        if entry.selected and (known is None or _fitness(entry) > _fitness(known)):
            fittest[entry.generation] = entry
    points = []
    for line in lines:
        member = fittest[line.generation].member
        scores, traits = measured[member.birth.policy.policy_id], member.evaluation.traits
        if "accuracy" not in traits or line.account.examples is None:
            raise UserError(f"{path} has free answers; scaling compares answers among choices")
        scores = scores.first(line.account.examples)
        loss = -float(scores.of_gold(scores.log_likelihood).mean())
        points.append(Point(line.tokens.floor, line.generation, loss, traits["accuracy"]))
    return Series(
        name_of(config.model.name),
        parameters_of(config.model.name),
        name_of(config.task.title),
        config.seed,
        chance_of(scores),
        tuple(points),
    )


def _fitness(entry: LineageEntry) -> float:
    return entry.member.evaluation.fitness


def chance_of(scores: LabelScores) -> float:
    """Return what guessing among the choices scores, the mean over examples."""
    return float((1 / scores.present[0].sum(axis=1)).mean())


def _of_shots(path: Path, context: str | None) -> list[Series]:
    folder = ShotsFolder.open(path)
    cells = folder.cells()
    if not cells:
        raise UserError(f"nothing is committed in {path} yet")
    drawn = sorted({c.context for c in cells} - {NONE})
    chosen = drawn[0] if context is None and len(drawn) == 1 else context
    if drawn and chosen not in drawn:
        raise UserError(f"{path} has the contexts {', '.join(drawn)}; take one by --setting")
    found = []
    for (model, task), own in grouped(cells, lambda c: (c.model, c.task)).items():
        bare = [c for c in own if c.context == NONE]
        chance = 1 / own[0].num_choices if own[0].num_choices > 1 else 0.0
        size = parameters_of(model)
        drawn_ones = grouped((c for c in own if c.context == chosen), _draw)
        for draw, some in (drawn_ones or {0: []}).items():
            points = sorted((_point(c) for c in (*bare, *some)), key=lambda p: p.samples)
            found.append(Series(name_of(model), size, task, draw, chance, tuple(points)))
    return found


def _draw(cell: Cell) -> int:
    return cell.draw


def _point(cell: Cell) -> Point:
    right = cell.right if cell.calibrated_right is None else cell.calibrated_right
    return Point(cell.number, cell.number, -fmean(cell.log_likelihood), fmean(right))


def name_of(model: str) -> str:
    """Return what people call a model or a task: of a path its last part."""
    return model.rpartition("/")[2]


@cache
def parameters_of(model: str) -> int | None:
    """Return how many weights a model has, those of its vocabulary too: by the heads of its
    safetensors files, without loading them; None where it is not on this machine.
    """
    folder = embedded_folder(model) if model in EMBEDDED else Path(model)
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            head = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        total += sum(prod(v["shape"]) for k, v in head.items() if k != "__metadata__")
    return total or None


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return items by a key, in their order."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _by_model(series: Iterable[Series]) -> dict[str, list[Series]]:
    return grouped(series, lambda s: s.model)


def _last_at(points: Sequence[Point], where: Callable[[Point], int], most: int) -> Point:
    """Return the last point that is no further than this."""
    return [p for p in points if where(p) <= most][-1]
