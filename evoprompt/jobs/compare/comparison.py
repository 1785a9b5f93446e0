"""Runs -> groups, their estimates, and the tests between them: everything that a comparison shows,
as one record.

folders --> RunRecord --> groups of replicates --> Comparison --> tables, page, comparison.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.dynamics.comparison import (
    TERMS,
    Contrast,
    Curve,
    PriceTotals,
    common_range,
    contrasts,
    mean_height,
    price_totals,
    time_to_target,
)
from evoprompt.errors import UserError
from evoprompt.jobs.compare.groups import Group, group_runs, pick_baseline
from evoprompt.jobs.compare.runs import AXES, RunRecord, find_runs, read_run
from evoprompt.stats.significance import Estimate, mean_interval
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form

#: What is measured of each run, by its key in comparison.json, in the words of the tables.
QUANTITIES = {
    "mean_height": "area under the curve / range",
    "final": "value at the range's end",
    "time_to_target": "cost to the target",
    "accuracy_before": "held-out accuracy before",
    "accuracy_after": "held-out accuracy after",
    "accuracy_difference": "held-out difference",
}
#: The quantities that groups are tested in.
TESTED = ("mean_height", "final", "time_to_target", "accuracy_after")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a comparison is asked to do; the defaults are found from the runs."""

    #: config keys that make groups; default: all in which the runs differ, but seed and names
    by: Sequence[str] = ()
    align: str | None = None  #: of AXES; default: tokens where every run has them, else generations
    trait: str = "fitness"
    #: default: what the baseline's mean is at the end of the common range
    target: float | None = None
    baseline: str | None = None  #: a group's name; default: the first
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run in numbers."""

    record: RunRecord
    replicate: str  #: what it is paired by
    curve: Curve
    #: by QUANTITIES; absent where the run has none, infinite where a target was not reached
    values: Mapping[str, float]
    price: PriceTotals  #: from the founders to the last generation within the common range
    tokens: float | None  #: that the search needed, as far as the run went


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Runs that differ in their seed only."""

    group: Group
    runs: Sequence[RunResult]
    #: by QUANTITIES but the cost to the target; by "price/<term>" and "operator/<name>"
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is known of runs side by side."""

    settings: Settings  #: with every default filled in
    keys: Sequence[str]  #: the config keys that make the groups
    range: tuple[float, float]  #: of the axis, common to all runs
    groups: Sequence[GroupResult]
    tests: Sequence[Contrast]  #: of the quantities
    price_tests: Sequence[Contrast]  #: of Price's terms
    operator_tests: Sequence[Contrast]  #: of transmission by operator
    warnings: Sequence[str]

    @property
    def curve_label(self) -> str:
        """What the curves show."""
        return (
            "best fitness so far"
            if self.settings.trait == "fitness"
            else f"mean {self.settings.trait.replace('_', ' ')} of the selected"
        )


def compare_runs(paths: Sequence[Path], settings: Settings) -> Comparison:
    """Return the comparison of the runs in these folders.

    Raises:
        UserError: fewer than two runs, a folder without a run, an unknown key, trait, axis or
            group, or no common range of costs.
    """
    records, skipped = _read(paths, settings.trait)
    keys, groups = group_runs(records, settings.by)
    baseline = pick_baseline(groups, settings.baseline)
    axis = _axis(records, settings.align)
    curves = _curves(records, axis, settings.trait)
    limits = common_range(curves.values())
    if limits is None and settings.align is None:
        skipped = [*skipped, f"the runs have no {axis} in common, and are aligned by generations"]
        axis = "generations"
        curves = _curves(records, axis, settings.trait)
        limits = common_range(curves.values())
    if limits is None:
        raise UserError(
            f"the runs have no {axis} in common: one ends before another begins; align by "
            "generations"
        )
    settings = replace(settings, align=axis)
    if settings.target is None:
        reached = [
            float(curves[r.folder].at(np.array([limits[1]]))[0])
            for g in groups
            if g.name == baseline
            for r in g.runs
        ]
        settings = replace(settings, target=float(np.mean(reached)))
    settings = replace(settings, baseline=baseline)
    results = [_group_result(group, curves, limits, settings) for group in groups]
    return Comparison(
        settings,
        keys,
        limits,
        results,
        contrasts({r.group.name: _samples(r, TESTED) for r in results}, baseline, settings.alpha),
        contrasts({r.group.name: _price_samples(r) for r in results}, baseline, settings.alpha),
        contrasts(
            {r.group.name: _operator_samples(r, results) for r in results}, baseline, settings.alpha
        ),
        [*skipped, *_warnings(records, groups, curves, limits, str(settings.align))],
    )


def comparison_dict(comparison: Comparison) -> dict[str, object]:
    """Return the comparison as `comparison.json` has it: plain values, null for what is undefined
    or was never reached.
    """
    settings = comparison.settings
    plain: dict[str, object] = _plain(
        {
            "version": 1,
            **asdict(settings),
            "by": list(comparison.keys),
            "curve": comparison.curve_label,
            "range": comparison.range,
            "warnings": comparison.warnings,
            "groups": [_group_dict(result) for result in comparison.groups],
            "tests": [asdict(t) for t in comparison.tests],
            "price_tests": [asdict(t) for t in comparison.price_tests],
            "operator_tests": [asdict(t) for t in comparison.operator_tests],
        }
    )
    return plain


def _read(paths: Sequence[Path], trait: str) -> tuple[list[RunRecord], list[str]]:
    folders = find_runs(paths)
    records = {}
    for folder in folders:
        with in_form(folder):
            records[folder] = read_run(folder, trait)
    skipped = [
        f"{folder} has not committed a generation yet and is left out"
        for folder, record in records.items()
        if record is None
    ]
    found = [record for record in records.values() if record is not None]
    if len(found) < 2:
        empty = f" ({skipped[0]})" if skipped else ""
        raise UserError(
            f"a comparison needs at least two runs, and {len(found)} was given{empty}; name more "
            f"run folders, or a folder around them"
        )
    return found, skipped


def _curves(records: Sequence[RunRecord], axis: str, trait: str) -> dict[Path, Curve]:
    """Return the curve of a trait along an axis, by the run's folder."""
    return {
        r.folder: Curve(r.cost[axis], r.best if trait == "fitness" else r.mean) for r in records
    }


def _axis(records: Sequence[RunRecord], given: str | None) -> str:
    if given is None:
        return "tokens" if all("tokens" in r.cost for r in records) else "generations"
    if given not in AXES:
        raise UserError(f"--align {given}: expected one of {', '.join(AXES)}")
    without = [str(r.folder) for r in records if given not in r.cost]
    if without:
        raise UserError(
            f"--align {given}: {without[0]} does not record {given}; align by generations or "
            f"evaluations"
        )
    return given


def _group_result(
    group: Group, curves: Mapping[Path, Curve], limits: tuple[float, float], settings: Settings
) -> GroupResult:
    runs = [
        _run_result(run, key, curves[run.folder], limits, settings)
        for run, key in zip(group.runs, group.replicates, strict=True)
    ]
    estimates = {}
    for quantity in QUANTITIES:
        values = [r.values[quantity] for r in runs if quantity in r.values]
        if values and quantity != "time_to_target":
            estimates[quantity] = mean_interval(values, settings.alpha)
    for term in TERMS:
        estimates[f"price/{term}"] = mean_interval(
            [r.price.terms[term] for r in runs], settings.alpha
        )
    for name in sorted({name for r in runs for name in r.price.operators}):
        estimates[f"operator/{name}"] = mean_interval(
            [r.price.operators.get(name, 0.0) for r in runs], settings.alpha
        )
    return GroupResult(group, runs, estimates)


def _run_result(
    run: RunRecord, replicate: str, curve: Curve, limits: tuple[float, float], settings: Settings
) -> RunResult:
    low, high = limits
    reached = time_to_target(curve, float(settings.target or 0.0), high)
    values = {
        "mean_height": mean_height(curve, low, high),
        "final": float(curve.at(np.array([high]))[0]),
        "time_to_target": inf if reached is None else reached,
    }
    if run.summary is not None:
        names = {
            "accuracy_before": "baseline",
            "accuracy_after": "champion",
            "accuracy_difference": "difference",
        }
        with in_form(run.folder / SUMMARY):
            test = run.summary["test"]
            values |= {quantity: float(test[part]["value"]) for quantity, part in names.items()}
    num = int(np.searchsorted(curve.x, high, side="right"))  # generations within the range
    tokens = float(run.cost["tokens"][-1]) if "tokens" in run.cost else None
    return RunResult(run, replicate, curve, values, price_totals(run.accounts[: num - 1]), tokens)


def _samples(result: GroupResult, quantities: Sequence[str]) -> dict[str, dict[str, float]]:
    return {q: {r.replicate: r.values[q] for r in result.runs if q in r.values} for q in quantities}


def _price_samples(result: GroupResult) -> dict[str, dict[str, float]]:
    return {term: {r.replicate: r.price.terms[term] for r in result.runs} for term in TERMS}


def _operator_samples(
    result: GroupResult, results: Sequence[GroupResult]
) -> dict[str, dict[str, float]]:
    """Return every operator's transmission in every run; an operator without births transmitted
    nothing.
    """
    names = sorted(
        {name for other in results for run in other.runs for name in run.price.operators}
    )
    return {
        name: {r.replicate: r.price.operators.get(name, 0.0) for r in result.runs} for name in names
    }


def _warnings(
    records: Sequence[RunRecord],
    groups: Sequence[Group],
    curves: Mapping[Path, Curve],
    limits: tuple[float, float],
    axis: str,
) -> list[str]:
    found = []
    for what, values in (
        ("tasks", {r.task for r in records}),
        ("kinds of fitness", {r.fitness_kind for r in records}),
    ):
        known = sorted(str(v) for v in values if v is not None)
        if len(known) > 1:
            found.append(
                f"the runs have different {what} ({', '.join(known)}): their fitness is not on "
                f"one scale"
            )
    for group in groups:
        if group.repeated_seeds:
            found.append(
                f"{group.name} has several runs of seed "
                f"{', '.join(map(str, group.repeated_seeds))}: they are not independent, nor paired"
            )
    longest = max(curve.x[-1] for curve in curves.values())
    if limits[1] < longest / 2:
        first = min(records, key=lambda r: float(curves[r.folder].x[-1]))
        state = "" if first.complete else ", which is unfinished"
        found.append(
            f"all runs are compared up to {limits[1]:,.0f} {axis}, where {first.name}{state} "
            f"ends; the longest has {longest:,.0f}"
        )
    return found


def _group_dict(result: GroupResult) -> dict[str, object]:
    return {
        "name": result.group.name,
        "values": dict(result.group.values),
        "estimates": {name: asdict(estimate) for name, estimate in result.estimates.items()},
        "runs": [_run_dict(run) for run in result.runs],
    }


def _run_dict(run: RunResult) -> dict[str, object]:
    record = run.record
    return {
        "folder": str(record.folder),
        "seed": record.seed,
        "complete": record.complete,
        "generations": float(record.cost["generations"][-1]),
        "mlflow_run_id": record.mlflow.get("run_id") if record.mlflow else None,
        "values": dict(run.values),
        "reached_target": isfinite(run.values["time_to_target"]),
        "tokens": run.tokens,
        "price": {
            "terms": dict(run.price.terms),
            "operators": dict(run.price.operators),
            "change": run.price.change,
            "residual": run.price.residual,
        },
        "curve": {"x": run.curve.x, "y": run.curve.y},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value
