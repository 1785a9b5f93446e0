"""Cells -> means by number of demonstrations, with standard errors. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evoprompt.jobs.shots.record import NONE, Cell
from evoprompt.stats.clustered import ClusteredMean, clustered_mean

Read = Callable[[Cell], Sequence[float] | None]

#: What is reported of the test examples, by name.
QUANTITIES: dict[str, Read] = {
    "accuracy": lambda cell: cell.right,
    "calibrated_accuracy": lambda cell: cell.calibrated_right,
    "log_likelihood": lambda cell: cell.log_likelihood,
    "calibrated_log_likelihood": lambda cell: cell.calibrated_log_likelihood,
}


@dataclass(frozen=True, slots=True)
class Point:
    """A number of demonstrations: means over draws and test examples."""

    number: int
    num_draws: int
    num_examples: int
    means: dict[str, ClusteredMean]  #: by name of `QUANTITIES`; what was not measured is not there

    @property
    def accuracy(self) -> ClusteredMean:
        """Calibrated where that was possible."""
        return self.means.get("calibrated_accuracy", self.means["accuracy"])


@dataclass(frozen=True, slots=True)
class Curve:
    """A model with one kind of context on a task."""

    model: str
    task: str
    context: str
    num_choices: int  #: of an example; 0 where they differ, 1 in free form
    points: tuple[Point, ...]  #: in order of the number of demonstrations

    @property
    def chance(self) -> float | None:
        """What guessing among the choices scores; None where it is not known."""
        return 1 / self.num_choices if self.num_choices > 1 else None


def curves_of(cells: Sequence[Cell]) -> list[Curve]:
    """Return the curves, in the order of the cells. That without demonstrations is the beginning of
    each, but of a champion's with its own prompt; where there is no other it is a curve itself.
    """
    groups: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.task), {}).setdefault(cell.context, []).append(cell)
    curves = []
    for (model, task), by_context in groups.items():
        bare = by_context.pop(NONE, [])
        for context, own in (by_context or {NONE: []}).items():
            whole = own if any(c.number == 0 for c in own) else [*bare, *own]
            curves.append(_curve(model, task, context, whole))
    return curves


def _curve(model: str, task: str, context: str, cells: Sequence[Cell]) -> Curve:
    numbers = sorted({cell.number for cell in cells})
    points = tuple(_point(n, [c for c in cells if c.number == n]) for n in numbers)
    return Curve(model, task, context, cells[0].num_choices, points)


def _point(number: int, cells: Sequence[Cell]) -> Point:
    means = {}
    for name, read in QUANTITIES.items():
        rows = [row for cell in cells if (row := read(cell)) is not None]
        if len(rows) == len(cells):
            means[name] = clustered_mean(np.array(rows, dtype=np.float64))
    return Point(number, len(cells), len(cells[0].right), means)


def numbers_of(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return the curves as `summary.json` has them."""
    return [asdict(curve) | {"chance": curve.chance} for curve in curves]
