"""`evoprompt scaling fit`: read the table, print what it says, write the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evoprompt.errors import UserError
from evoprompt.jobs.scaling.analysis import DOLLARS_PER_FLOP, analyse, models_of
from evoprompt.jobs.scaling.own import are_folders, fit_lines, read_losses, read_series
from evoprompt.jobs.scaling.page import write_scaling
from evoprompt.jobs.scaling.table import GPT3, Row, read_table
from evoprompt.jobs.scaling.tables import curve_table, reach_table, sentences, verdict_table
from evoprompt.report.table import to_rich
from evoprompt.stats.curves import LEAST_POINTS
from evoprompt.store.folder import RunFolder
from evoprompt.terminal import new_console

DIGITISED = (
    "the losses were read off a figure of Brown et al. 2020, to about .015 nats; the verdict "
    "between curves hangs on them (--loss loss_of_line takes those of its line)"
)


def fit_scaling(
    tables: Sequence[str] = (GPT3,),
    out: Path | None = None,
    *,
    losses: Path | None = None,
    setting: str | None = None,
    loss: str = "loss",
    best: float = 100.0,
    target: float = 0.9,
    dollars_per_flop: float = DOLLARS_PER_FLOP,
    console: Console | None = None,
) -> Path:
    """Fit curves to a table of results; print what was found, write page and numbers into a new
    folder, and return it.

    Args:
        tables: a CSV file, or `gpt3`; or folders as `own.read_series` takes them.
        out: the folder; by default runs/scaling/<table>, numbered where it exists.
        losses: of folders, a CSV file with the loss of each model; see `own.fit_lines`.
        setting: which rows are taken; see `read_table`. Of folders of shots, the context.
        loss: the column of the loss.
        best: the most that can be scored, where the table does not say it.
        target: the performance whose cost is asked for, between chance, 0, and the best, 1.
        dollars_per_flop: the price.
        console: where to print.

    Raises:
        UserError: the table is not as it has to be, or `out` is in use.
    """
    if not 0 < target < 1:
        raise UserError(f"--target is {target:g}; it is between 0 (chance) and 1 (the best)")
    if not dollars_per_flop > 0:
        raise UserError(f"--price is {dollars_per_flop:g}; dollars per FLOP are above 0")
    table = ", ".join(tables)
    if are_folders(tables):
        series, told = read_series(tables, setting)
        lines = fit_lines(series, {} if losses is None else read_losses(losses))
        rows, notes = read_table(table, None, "loss", 100.0, lines)
        notes = [*told, *notes]
    elif losses is not None:
        raise UserError(f"--losses goes with folders; {table} has a column of losses")
    else:
        rows, notes = read_table(table, setting, loss, best)
    _check(rows, table)
    notes = [*notes, *([DIGITISED] if table == GPT3 and loss == "loss" else [])]
    found = analyse(rows, target, dollars_per_flop)
    console = console or new_console()
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
    shown = [curve_table(found, brief=True), *([reach_table(found)] if found.reaches else [])]
    strange = verdict_table(found)
    for each in [*shown, *([strange] if strange.rows else [])]:
        console.print(to_rich(each, padding=1))
    for sentence in sentences(found):
        console.print(sentence)
    made = RunFolder.create(out, Path(tables[0]).stem, Path("runs/scaling"))
    made.ownership.leave()
    page = write_scaling(found, made.path, notes, dollars_per_flop)
    console.print(f"page {page}", soft_wrap=True)
    return made.path


def _check(rows: list[Row], table: str) -> None:
    """Refuse what no curve can be fitted to."""
    losses: dict[str, set[float]] = {}
    for row in rows:
        losses.setdefault(row.model, set()).add(row.loss)
    changed = next((name for name, known in losses.items() if len(known) > 1), None)
    if changed is not None:
        raise UserError(f"{table} has several losses of {changed}; a model has one")
    models = models_of(rows)
    if len(set(models.loss.tolist())) < LEAST_POINTS:
        raise UserError(
            f"{table} has {len(models.names)} models with {len(set(models.loss.tolist()))} "
            f"different losses; a curve takes {LEAST_POINTS} at least"
        )
    if float(models.loss.min()) <= 0:
        raise UserError(f"{table} has a loss of {models.loss.min():g}; losses are above 0")
    names = set(models.names)
    benchmarks: dict[str, set[str]] = {}
    for row in rows:
        benchmarks.setdefault(row.benchmark, set()).add(row.model)
    if all(own != names for own in benchmarks.values()):
        raise UserError(f"no benchmark of {table} has a score of every model; add what lacks")
