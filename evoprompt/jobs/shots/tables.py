"""Curves by number of demonstrations -> tables."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.shots.analysis import Curve, Point
from evoprompt.report.table import Cell, Table, new_table
from evoprompt.stats.clustered import ClusteredMean

#: The settings of Brown et al. 2020.
ZERO, ONE, FEW = "Zero-Shot", "One-Shot", "Few-Shot"
#: The context whose prompts are a champion's own, also without demonstrations.
EVOLVED = "evolved"


def curve_table(curves: Sequence[Curve], name: str, title: str) -> Table:
    """Return a quantity of each curve by number of demonstrations, with its standard error; a
    column for each number that any of them has.
    """
    numbers = sorted({point.number for curve in curves for point in curve.points})
    rows: list[list[Cell | str]] = []
    for curve in curves:
        known = {point.number: point for point in curve.points}
        cells = [_mean(known.get(number), name) for number in numbers]
        rows.append([curve.task, name_of(curve.model), words_of(curve.context), *cells])
    heads = ("task", "model", "context", *map(str, numbers))
    return new_table(heads, rows, align="lll", title=title)


def error_table(curves: Sequence[Curve]) -> Table:
    """Return the accuracies with what examples and draws leave uncertain, a row for each number."""
    heads = (
        *("task", "model", "context", "number", "draws", "accuracy", "raw"),
        *("error", "by examples", "by draws", "nats", "error"),
    )
    rows = [
        [
            *(curve.task, name_of(curve.model), words_of(curve.context)),
            *(str(point.number), str(point.num_draws)),
            *(percent(point.accuracy.value), percent(point.means["accuracy"].value)),
            *map(_error, (point.accuracy.error, point.accuracy.error_examples)),
            _error(point.accuracy.error_draws),
            f"{point.means['log_likelihood'].value:.3f}",
            _nats(point.means["log_likelihood"].error),
        ]
        for curve in curves
        for point in curve.points
    ]
    return new_table(heads, rows, align="lll", title="All numbers")


def settings_table(curves: Sequence[Curve]) -> Table:
    """Return the accuracies as the GPT-3 paper has those on Winograd schemas (Brown et al. 2020,
    Table 3.5): a column for each task, and for each model a row without demonstrations, with one,
    and with the most that were measured, whose number K stands below.
    """
    tasks = list(dict.fromkeys(curve.task for curve in curves))
    rows: list[list[Cell | str]] = []
    for model in dict.fromkeys(curve.model for curve in curves):
        own = [curve for curve in curves if curve.model == model]
        rows += _rows(model, own, tasks)
    return new_table(("Setting", *tasks), rows, title="Accuracy by setting, %")


def _rows(model: str, curves: Sequence[Curve], tasks: Sequence[str]) -> list[list[Cell | str]]:
    """Return the rows of a model. Without demonstrations all contexts are one, but a champion's."""
    rows: list[list[Cell | str]] = []
    drawn = [curve for curve in curves if curve.context != EVOLVED]
    bare = dict(reversed([(curve.task, curve) for curve in drawn]))
    for setting in (ZERO, ONE, FEW):
        groups = {c.context: [o for o in curves if o.context == c.context] for c in curves}
        shown = {name: {c.task: c for c in own} for name, own in groups.items()}
        if setting == ZERO:
            shown = {"": bare} | {name: own for name, own in shown.items() if name == EVOLVED}
        for context, known in shown.items():
            cells = [_setting(known.get(task), setting) for task in tasks]
            if any(cell.value for cell in cells):
                kind = f" ({words_of(context)})" if context else ""
                rows.append([f"{name_of(model)} {setting}{kind}", *cells])
    return rows


def _setting(curve: Curve | None, setting: str) -> Cell:
    points = curve.points if curve is not None else ()
    if setting == FEW:
        found = max((p for p in points if p.number > 1), key=lambda p: p.number, default=None)
    else:
        found = next((p for p in points if p.number == (ZERO, ONE).index(setting)), None)
    if found is None:
        return Cell("")
    below = f"K={found.number}" if setting == FEW else ""
    return Cell(_with_error(found.accuracy), below)


def words_of(context: str) -> str:
    """Return what people call a context."""
    return context.replace("_", " ")


def name_of(model: str) -> str:
    """Return what people call a model: of a folder its own name."""
    return model.rpartition("/")[2] if model.startswith("/") else model


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


def _with_error(mean: ClusteredMean) -> str:
    return percent(mean.value) + ("" if mean.error is None else f" ±{percent(mean.error)}")


def _mean(point: Point | None, name: str) -> Cell:
    mean = None if point is None else point.means.get(name)
    if mean is None:
        return Cell("")
    if "accuracy" in name:
        return Cell(percent(mean.value), "" if mean.error is None else f"±{percent(mean.error)}")
    return Cell(f"{mean.value:.3f}", "" if mean.error is None else f"±{mean.error:.3f}")


def _error(error: float | None) -> str:
    return "" if error is None else percent(error)


def _nats(error: float | None) -> str:
    return "" if error is None else f"{error:.3f}"
