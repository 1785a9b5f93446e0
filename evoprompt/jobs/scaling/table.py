"""Rows of a table of results by model, and their reader."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from statistics import fmean

from evoprompt.errors import UserError

#: Columns that a table must have, and those that it may have.
NEEDED = ("benchmark", "model", "score")
OPTIONAL = ("category", "metric", "setting", "chance", "best", "error", "parameters", "pfdays")
#: The package's own table: Table H.1 of Brown et al. 2020, with the validation losses that were
#: read off its Figure 3.1 (to about .015 nats; they are not published as numbers), those of the
#: line in that figure (`loss_of_line`), and what the models cost beside their embeddings.
GPT3 = "gpt3"

Line = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """What one model scores in one benchmark."""

    benchmark: str
    category: str
    setting: str
    model: str
    loss: float  #: nats per token
    score: float  #: in the table's unit
    chance: float  #: what guessing scores, same unit
    best: float  #: the most that can be scored, same unit
    error: float | None  #: standard error of the score, same unit
    parameters: float | None  #: without embeddings
    pfdays: float | None  #: of training compute, 8.64e19 FLOP each

    @property
    def performance(self) -> float:
        """The score between chance, 0, and the best possible, 1."""
        return (self.score - self.chance) / (self.best - self.chance)


def read_table(
    name: str, setting: str | None, loss: str, best: float, lines: list[Line] | None = None
) -> tuple[list[Row], list[str]]:
    """Return the rows of one setting, and what is worth knowing of the others.

    Args:
        name: of a CSV file with the columns `NEEDED`, a loss, and any of `OPTIONAL`; or `GPT3`.
        setting: which rows are taken; None takes the only one there is, and `few-shot` of the
            package's table.
        loss: the column of the loss.
        best: the most that can be scored, where no column says it.
        lines: in place of the file's.

    Raises:
        UserError: the file, a column or a number is not as it has to be.
    """
    lines = as_benchmark(_lines(name), Path(name).stem) if lines is None else lines
    missing = [c for c in (*NEEDED, loss) if c not in lines[0]]
    if missing:
        raise UserError(
            f"{name} has no column {' or '.join(missing)}; it has {', '.join(lines[0])}"
            + ("; say which one is the loss by --loss" if loss in missing else "")
        )
    setting = "few-shot" if setting is None and name == GPT3 else setting
    there = list(dict.fromkeys(line.get("setting", "") for line in lines))
    if setting is None and len(there) > 1:
        raise UserError(f"{name} has settings {', '.join(there)}; take one by --setting")
    if setting is not None and setting not in there:
        raise UserError(f"{name} has no setting '{setting}'; it has {', '.join(there)}")
    taken = [(i, e) for i, e in enumerate(lines, 2) if setting in (None, e.get("setting", ""))]
    rows = [_row(line, f"{name}:{i}", loss, best) for i, line in taken if _has_chance(line)]
    without = len(taken) - len(rows)
    notes = [f"{without} rows have no chance level, and are left out"] if without else []
    if not rows:
        raise UserError(f"no row of {name} has a chance level; give each one in the column chance")
    return rows, notes


def as_benchmark(lines: list[Line], name: str) -> list[Line]:
    """Return lines of a table of samples, as `scaling samples` reads them, as one benchmark: each
    model after so many samples counts as a model, accuracy in percent is its score, and both are
    means over its seeds. Any other lines as they are.
    """
    if "benchmark" in lines[0] or not {"model", "samples", "loss", "accuracy"} <= set(lines[0]):
        return lines
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["model"], line["samples"]), []).append(line)

    def mean(own: list[Line], column: str) -> float:
        return fmean(_number(line, column, f"{name}, {line['model']}") for line in own)

    return [
        {
            "benchmark": name,
            "model": f"{model} {samples}",
            "loss": repr(mean(own, "loss")),
            "score": repr(100 * mean(own, "accuracy")),
        }
        for (model, samples), own in groups.items()
    ]


def _lines(name: str) -> list[Line]:
    if name == GPT3:
        text = (files("evoprompt.jobs.scaling") / "gpt3.csv").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except OSError as e:
            raise UserError(
                f"{name} cannot be read ({e.strerror}); give a CSV file, or {GPT3} for the table "
                "that the package has"
            ) from None
        except UnicodeDecodeError:
            raise UserError(f"{name} is no text in UTF-8; save it as CSV in UTF-8") from None
    lines = list(csv.DictReader(text.splitlines()))
    if not lines:
        raise UserError(f"{name} has no row below its header; a row is a model in a benchmark")
    return [{str(k): v or "" for k, v in line.items()} for line in lines]


def _has_chance(line: Mapping[str, str]) -> bool:
    """Return whether a row's performance is known; a table without that column is from 0 on."""
    return "chance" not in line or line["chance"].strip() != ""


def _row(line: Mapping[str, str], place: str, loss: str, best: float) -> Row:
    metric = line.get("metric", "")
    benchmark = line["benchmark"] + (f" ({metric})" if metric else "")
    row = Row(
        benchmark,
        line.get("category") or line["benchmark"],
        line.get("setting", ""),
        line["model"],
        _number(line, loss, place),
        _number(line, "score", place),
        _optional(line, "chance", place) or 0.0,
        best if (own := _optional(line, "best", place)) is None else own,
        *(_positive(line, column, place) for column in ("error", "parameters", "pfdays")),
    )
    if row.best <= row.chance:
        raise UserError(
            f"{place}: the best possible score, {row.best:g}, is not above chance, {row.chance:g}; "
            "give the unit's best by --best, or in a column best"
        )
    return row


def _optional(line: Mapping[str, str], column: str, place: str) -> float | None:
    return _number(line, column, place) if line.get(column, "").strip() else None


def _positive(line: Mapping[str, str], column: str, place: str) -> float | None:
    value = _optional(line, column, place)
    if value is not None and value <= 0:
        raise UserError(f"{place}: {column} is {value:g}; it is above 0, or empty if not known")
    return value


def _number(line: Mapping[str, str], column: str, place: str) -> float:
    try:
        value = float(line[column])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UserError(f"{place}: {column} is {line[column]!r}, and a number is needed")
    return value


def by_benchmark(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Return the rows by benchmark and model, in the table's order.

    Raises:
        UserError: a model has two scores in one benchmark.
    """
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        models = found.setdefault(row.benchmark, {})
        if row.model in models:
            raise UserError(
                f"{row.benchmark} has two scores of {row.model}; tell metrics and settings apart "
                "by columns metric and setting"
            )
        models[row.model] = row
    return found
