"""What a scaling analysis found, as tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

from evoprompt.jobs.scaling.analysis import Scaling, Series, loss_at
from evoprompt.report.table import Table, new_table
from evoprompt.stats.curves import Curve

#: What stands for a loss, a cost or a number that no model reaches.
NEVER = "never"
#: What stands for the error on the best model where the others are too few for a curve.
UNKNOWN = "not known"
#: Columns of the curves that a terminal has room for.
BRIEF = (0, 1, 2, 4, 5, 8, 9)


def curve_table(found: Scaling, *, brief: bool = False) -> Table:
    """Return the curves through the mean of all and through each category; on request in 80
    characters.
    """
    percent = f"{100 * found.target:g} %"
    heads: tuple[str, ...] = (
        *("", "benchmarks", "steepness", "middle", f"loss at {percent}", f"by a line {percent}"),
        *("misfit", "of a line", "held out", "by a line"),
    )
    shown = (found.mean, *found.categories)
    rows = [_curves(series, found.target) for series in shown]
    if brief:
        heads = ("", "n", "steepness", f"L at {percent}", "by a line", "held out", "by a line")
        rows = [[row[i] for i in BRIEF] for row in rows]
    return new_table(heads, rows, title="Performance against loss")


def _curves(series: Series, target: float) -> list[str]:
    k, middle = series.logistic.parameters
    return [
        series.name,
        str(series.members),
        f"{k:.2f} ±{series.logistic.errors[0]:.2f}",
        f"{middle:.3f}",
        _loss(series.logistic, target),
        _loss(series.linear, target),
        f"{series.logistic.rmse:.4f}",
        f"{series.linear.rmse:.4f}",
        *(
            f"{error:+.3f}" if isfinite(error) else UNKNOWN
            for error in (series.logistic_held_out, series.linear_held_out)
        ),
    ]


def _loss(curve: Curve, target: float) -> str:
    value = loss_at(curve, target)
    return f"{value:.2f}" if value > 0 else NEVER


def reach_table(found: Scaling) -> Table:
    """Return what it takes to reach the target, by each curve and each law."""
    heads = ("curve", "law", "loss", "95 %", "FLOP", "times ten", "parameters", "tokens", "dollars")
    rows = [
        [
            reach.form,
            reach.law,
            f"{reach.loss:.2f}" if reach.loss > 0 else NEVER,
            f"{reach.loss_interval[0]:.2f} to {reach.loss_interval[1]:.2f}",
            _large(reach.flop),
            f"{reach.orders:+.1f}" if isfinite(reach.orders) else NEVER,
            _large(reach.parameters),
            _large(reach.tokens),
            _large(reach.dollars),
        ]
        for reach in found.reaches
    ]
    title = f"What {100 * found.target:g} % of the possible takes"
    return new_table(heads, rows, align="ll", title=title)


def _large(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if isfinite(value) else NEVER


def verdict_table(found: Scaling) -> Table:
    """Return the benchmarks that do not follow the others."""
    heads = ("benchmark", "", "tau", "p", "steepness", "p")
    rows = [
        [
            v.name,
            v.text,
            f"{v.tau:+.2f}" if isfinite(v.tau) else UNKNOWN,
            _p(v.p_trend),
            f"{v.steepness:.1f}",
            _p(v.p_steepness),
        ]
        for v in found.verdicts
        if v.text != "follows"
    ]
    return new_table(heads, rows, align="ll", title="Benchmarks that do not follow the others")


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"


def sentences(found: Scaling) -> Iterator[str]:
    """Yield what was found, in words, the curves' comparison first."""
    mean, rows = found.mean, found.categories
    better = sum(abs(s.logistic_held_out) < abs(s.linear_held_out) for s in rows)
    yield (
        "The models are too few to predict the best one from the others."
        if not isfinite(mean.logistic_held_out)
        else f"Without the best model, the logistic curve predicts its mean performance "
        f"{mean.logistic_held_out:+.3f} from what it is, the line {mean.linear_held_out:+.3f}; "
        f"by category the logistic curve is nearer in {better} of {len(rows)}."
    )
    if found.reaches:
        orders = [r.orders for r in found.reaches]
        known = [o for o in orders if isfinite(o)]
        never = len(orders) - len(known)
        reached = (
            f"{min(known):.1f} to {max(known):.1f} orders of magnitude more compute than the best "
            "model"
            if known
            else "more compute than any law has"
        )
        yield (
            f"{100 * found.target:g} % takes {reached}, by {len(orders)} pairs of a curve and a "
            f"law" + (f"; by {never} of them it is never reached." if never else ".")
        )
    strange = [v.name for v in found.verdicts if v.text != "follows"]
    yield f"{len(strange)} of {len(found.verdicts)} benchmarks do not follow the others."


def numbers(found: Scaling) -> dict[str, Any]:
    """Return all that was found, as JSON has it; what is infinite or unknown as null."""
    values = {
        "target": found.target,
        "models": [
            {"model": name, "loss": loss}
            for name, loss in zip(found.models.names, found.models.loss.tolist(), strict=True)
        ],
        "mean": _series(found.mean, found.target),
        "categories": [_series(s, found.target) for s in found.categories],
        "benchmarks": [_series(s, found.target) for s in found.benchmarks],
        "verdicts": [asdict(v) for v in found.verdicts],
        "laws": {name: asdict(law) for name, law in found.laws.items()},
        "reaches": [asdict(reach) for reach in found.reaches],
    }
    return {name: _finite(value) for name, value in values.items()}


def _series(series: Series, target: float) -> dict[str, Any]:
    curves = {
        curve.form: {
            "parameters": list(curve.parameters),
            "standard_errors": list(curve.errors),
            "rmse": curve.rmse,
            "held_out_error": error,
            "loss_at_target": loss_at(curve, target) or None,
            "loss_at_target_se": curve.where(target).error,
        }
        for curve, error in (
            (series.linear, series.linear_held_out),
            (series.logistic, series.logistic_held_out),
        )
    }
    performance = series.performance.tolist()
    return {"name": series.name, "members": series.members, "performance": performance} | curves


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value
