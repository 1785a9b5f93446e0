"""`evoprompt scaling samples`: read curves, print what they say, write page and numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path

import numpy as np
from rich.console import Console

from evoprompt.errors import UserError
from evoprompt.jobs.scaling.own import are_folders, read_series, sample_lines
from evoprompt.jobs.scaling.samples import (
    BestSize,
    Needed,
    SampleCurve,
    best_sizes,
    common_targets,
    frontier,
    needed,
)
from evoprompt.report.markup import page, paragraph, section
from evoprompt.report.plots import legend_above, new_axes, plain, svg
from evoprompt.report.table import Table, new_table, to_html, to_rich
from evoprompt.store.folder import RunFolder
from evoprompt.terminal import new_console

PAGE, NUMBERS = "samples.html", "samples.json"
NEEDED = ("model", "samples")
NOTE = (
    "Samples to a target are straight in ln(1 + samples) between measurements, of the best so far. "
    "The exponent is that of samples in parameters over the models that reach the target; a model "
    "counts once, so its interval knows nothing of other seeds or learning rates."
)


def read_lines(path: str) -> list[dict[str, str]]:
    """Return the lines of a CSV file.

    Raises:
        UserError: it cannot be read, or has none.
    """
    try:
        lines = list(csv.DictReader(Path(path).read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV in UTF-8 that can be read ({error})") from None
    if not lines:
        raise UserError(f"{path} has no row below its header; a row is a model after some samples")
    return lines


def curves_in(
    lines: Sequence[dict[str, str]], performance: str, path: str = "the table"
) -> list[SampleCurve]:
    """Return the curves of lines with the columns model, samples and a performance, where known
    parameters, flop and seed: a curve for each model, the mean over its seeds, by size.

    Args:
        lines: of a table.
        performance: its column; one named loss is better where it is lower, any other where it is
            higher.
        path: where they are from.

    Raises:
        UserError: a column or a number is not as it has to be.
    """
    missing = [c for c in (*NEEDED, performance) if c not in lines[0]]
    if missing:
        raise UserError(
            f"{path} has no column {' or '.join(missing)}; it has {', '.join(lines[0])}; "
            "--performance names the column of loss or score"
        )
    sign = 1.0 if performance == "loss" else -1.0
    points: dict[str, dict[float, list[tuple[float, float | None]]]] = {}
    sizes: dict[str, float | None] = {}
    for number, line in enumerate(lines, 2):
        place = f"{path}:{number}"
        size = _number(line, "parameters", place) if line.get("parameters") else None
        if sizes.setdefault(line["model"], size) != size or (size is not None and size <= 0):
            raise UserError(f"{place}: parameters of {line['model']}: give one number above 0")
        samples = _number(line, "samples", place)
        if samples < 0:
            raise UserError(f"{place}: samples is {samples:g}; give 0 or more")
        flop = _number(line, "flop", place) if line.get("flop") else None
        own = points.setdefault(line["model"], {}).setdefault(samples, [])
        own.append((sign * _number(line, performance, place), flop))
    curves = [_curve(model, sizes[model], found) for model, found in points.items()]
    return sorted(curves, key=lambda curve: curve.parameters or 0.0)


def _curve(
    model: str, size: float | None, found: dict[float, list[tuple[float, float | None]]]
) -> SampleCurve:
    samples = sorted(found)
    loss = [float(np.mean([value for value, _ in found[s]])) for s in samples]
    flops = [flop for s in samples for _, flop in found[s][:1]]
    known = [f for f in flops if f is not None and f > 0]
    flop = np.array(known) if len(known) == len(samples) else None
    return SampleCurve(model, size, np.array(samples), np.array(loss), flop)


def _number(line: dict[str, str], column: str, place: str) -> float:
    try:
        value = float(line[column])
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise UserError(f"{place}: {column} is {line[column]!r}, and a number is needed")
    return value


def compare_samples(
    paths: Sequence[str],
    out: Path | None = None,
    *,
    performance: str = "loss",
    targets: Sequence[float] = (),
    context: str | None = None,
    console: Console | None = None,
) -> Path:
    """Tell how many samples each model needs for the same performance; print it, write page and
    numbers into a new folder, and return it.

    Args:
        paths: a table, or folders as `own.read_series` takes them.
        out: the folder; by default runs/scaling/samples-<table>, numbered where it exists.
        performance: as of `curves_in`.
        targets: performances that are asked for; by default those of `common_targets`.
        context: of folders of shots, as of `own.read_series`.
        console: where to print.

    Raises:
        UserError: what is given is not as it has to be, or no target is reached by all.
    """
    console, path, notes = console or new_console(), ", ".join(paths), list[str]()
    if are_folders(paths):
        series, notes = read_series(paths, context)
        lines = sample_lines(series)
    else:
        lines = read_lines(path)
    curves = curves_in(lines, performance, path)
    sign = 1.0 if performance == "loss" else -1.0
    asked = [sign * target for target in targets] or common_targets(curves)
    if len(curves) < 2 or not asked:
        raise UserError(
            f"{path} has {len(curves)} models, and no performance that all reach after their first "
            "point; give two models or more, or targets by --target"
        )
    found, sizes = [needed(curves, target) for target in asked], best_sizes(curves)
    tables = [needed_table(curves, found, sign), *([size_table(sizes)] if sizes else [])]
    told = list(sentences(found, sizes, sign))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
    for table in tables:
        console.print(to_rich(table, padding=1))
    for sentence in told:
        console.print(sentence)
    made = RunFolder.create(out, f"samples-{Path(paths[0]).stem}", Path("runs/scaling"))
    made.ownership.leave()
    law = frontier(sizes)
    content = {
        "performance": performance,
        "needed": [{**asdict(f), "target": sign * f.target, "verdict": f.verdict} for f in found],
        "best_sizes": [asdict(s) for s in sizes],
        "frontier": None if law is None else asdict(law),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (made.path / NUMBERS).write_text(text + "\n", encoding="utf-8")
    sections = ["<h1>Samples by model size</h1>", *map(paragraph, (*notes, *told))]
    sections.append(section("Curves", _figure(curves, sign, performance)))
    sections += [section(t.title, to_html(t), NOTE if t is tables[0] else "") for t in tables]
    file = made.path / PAGE
    file.write_text(page(made.path.name, sections), encoding="utf-8")
    console.print(f"page {file}", soft_wrap=True)
    return made.path


def needed_table(curves: Sequence[SampleCurve], found: Sequence[Needed], sign: float) -> Table:
    """Return the samples that each model needs for each target."""
    heads = ("model", "parameters", *(f"{sign * each.target:.3g}" for each in found))
    rows = [
        [
            curve.model,
            "" if curve.parameters is None else f"{curve.parameters:,.0f}",
            *("never" if (s := f.samples[curve.model]) is None else f"{s:,.0f}" for f in found),
        ]
        for curve in curves
    ]
    laws = [each.power for each in found]
    told = ("" if p is None else f"{p.exponent:+.2f}" for p in laws)
    rows.append(["exponent of size", "", *told])
    ends = [None if p is None else p.ci for p in laws]
    rows.append(["95 %", "", *("" if e is None else f"{e[0]:+.2f} to {e[1]:+.2f}" for e in ends)])
    return new_table(heads, rows, align="l", title="Samples to reach")


def size_table(sizes: Sequence[BestSize]) -> Table:
    """Return the best size at each compute."""
    rows = [
        (
            f"{s.flop:.2e}",
            f"{s.parameters:,.0f}",
            "not found" if s.between is None else f"{s.between:,.0f}",
            f"{s.loss:.3f}",
        )
        for s in sizes
    ]
    heads = ("FLOP", "best model's parameters", "between sizes", "loss")
    return new_table(heads, rows, align="r", title="The best size for a compute")


def sentences(found: Sequence[Needed], sizes: Sequence[BestSize], sign: float) -> list[str]:
    """Return what the curves say, a sentence each."""
    told = []
    for each in found:
        if each.power is not None and each.power.ci is None:
            told.append(f"Two models show no law of the samples for {sign * each.target:.3g}.")
        elif each.power is not None:
            words = {"fewer": "need fewer samples", "more": "need more samples"}
            said = words.get(each.verdict, "are not shown to need fewer samples")
            told.append(
                f"To reach {sign * each.target:.3g} larger models {said}: ten times the parameters "
                f"take {10**each.power.exponent:.2f} times the samples."
            )
    if (law := frontier(sizes)) is not None:
        ends = "" if law.ci is None else f" [{law.ci[0]:.2f}, {law.ci[1]:.2f}]"
        told.append(
            f"The best size grows as compute to the power {law.exponent:.2f}{ends}, over {law.num} "
            f"of {len(sizes)} computes where it is between the sizes that were measured."
        )
    return told


def _figure(curves: Sequence[SampleCurve], sign: float, performance: str) -> str:
    figure, axes = new_axes(3.6)
    for curve in curves:
        axes.plot(1 + curve.samples, sign * curve.loss, "o-", markersize=3, label=curve.model)
    plain(axes)
    axes.set_xscale("log")
    axes.set_xlabel("1 + samples")
    axes.set_ylabel(performance)
    legend_above(figure, axes, 5)
    return svg(figure)
