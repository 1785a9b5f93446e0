"""What a person sees while a sweep goes on: a table that fills. A line for each run where there is
no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evoprompt.backends.base import ModelInfo
from evoprompt.backends.doing import WorkerPace
from evoprompt.errors import StoppedError, printable
from evoprompt.jobs.base import begun_again
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.changes import STOPPING
from evoprompt.jobs.sweep.config import short_names
from evoprompt.jobs.sweep.page import COLUMNS, cells, runs_table
from evoprompt.jobs.sweep.record import SweepRow, SweepState
from evoprompt.jobs.sweep.tables import REPLICATES, best_group, mean_of, mean_text
from evoprompt.policy import Policy
from evoprompt.records import TokenCount
from evoprompt.report.table import Cell, pairs_table, to_rich
from evoprompt.terminal import new_console, program, short_path


class SweepDisplay:
    """Follows a sweep and the run that is going on. Implements `run.Observer`; use it as a
    context.
    """

    def __init__(
        self,
        axes: Sequence[str],
        rows: Sequence[SweepRow],
        total: int,
        console: Console | None = None,
    ) -> None:
        self.console = console or new_console()
        self._axes = axes
        self._rows = rows  #: the sweep's own list, in which rows are replaced
        self._total = total
        self._now = "starting the workers and the model"
        #: says why a run is stopped after a generation; None where it goes on
        self.judge: Callable[[GenerationLine], str | None] = lambda line: None
        self._live = Live(
            console=self.console, get_renderable=self._view, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        else:
            self.console.print(self._now)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def changed(self, row: SweepRow) -> None:
        """Take note that a run began, ended or failed."""
        self._now = f"run {row.number} of {self._total}"
        if not self.console.is_terminal:
            names = short_names(self._axes)
            pairs = zip(
                [*(names[a] for a in self._axes), *(head for _, head, _ in COLUMNS)],
                cells(row, self._axes),
                strict=True,
            )
            words = "  ".join(f"{name} {text}" for name, text in pairs if text)
            reason = f"  {row.reason}" if row.reason else ""
            self.console.print(f"{self._now}  {row.status}  {words}{reason}", soft_wrap=True)

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """Nothing: it is the same for every run."""

    def forecast(self, tokens: int) -> None:
        """Nothing: a budget that is too small is said of the run."""

    def phase(self, name: str, num_policies: int) -> None:
        """Show how far the run is."""
        self._now = f"{self._now.split(':')[0]}: {name}, {num_policies} policies to score"

    def scored(self, count: TokenCount) -> None:
        """Nothing: a generation is news enough."""

    def best(self, policy: Policy) -> None:
        """Nothing: a table has no room for prompts."""

    def workers(self, paces: Sequence[WorkerPace]) -> None:
        """Nothing: workers are of all runs."""

    def generation(self, line: GenerationLine) -> None:
        """Show the best of the run so far.

        Raises:
            StoppedError: the run is not to go on.
        """
        self.told(self._now.split(":")[0], line)
        if reason := self.judge(line):
            raise StoppedError(reason)

    def told(self, run: str, line: GenerationLine) -> None:
        """Show what was told of a run."""
        best = line.account.fitness.best
        self._now = f"{run}: generation {line.generation} done, best {best:.4f}"

    def inexact(self, found: Exception) -> None:
        """Say that the run begins again."""
        self.console.print(Text(begun_again(found)))

    def interrupted(self, folder: Path) -> None:
        """Say how to go on."""
        self._live.stop()
        self.console.print(
            "interrupted; finished runs and every committed generation are kept. To go on: "
            f"{program()} resume {short_path(folder)}",
            soft_wrap=True,
        )

    def _view(self) -> Group:
        room = max(5, self.console.size.height - 8)
        latest = max((i for i, row in enumerate(self._rows) if row.status != "waiting"), default=0)
        start = min(max(0, latest - room + 3), max(0, len(self._rows) - room))
        now = Text(printable(self._now))
        return Group(rows_table(self._rows[start : start + room], self._axes), now)


def rows_table(
    rows: Sequence[SweepRow], axes: Sequence[str], extra: Mapping[int, str] | None = None
) -> Table:
    """Return the runs as a terminal shows them, by number; `extra` is a forecast by it, in the
    place of results.
    """
    numbers = {row.number: f"{row.number:03d}" for row in rows}
    return to_rich(runs_table(rows, axes, numbers, extra))


def print_end(console: Console, state: SweepState, folder: Path, runs: Path) -> None:
    """Print what a sweep came to; `runs` is the folder with the MLflow store."""
    rows, axes = state.rows, state.axes
    console.print()
    console.print(rows_table(rows, axes))
    console.print()
    for row in rows:
        if row.status in ("failed", "stopped"):
            console.print(f"{row.folder} {row.status}: {row.reason}", soft_wrap=True)
    if any(row.status == "stopped" for row in rows):
        on = f"{program()} resume {short_path(folder)} --set {STOPPING}=off"
        console.print(f"to go on with those that were stopped: {on}", soft_wrap=True)
    console.print(to_rich(pairs_table([*_best(state, folder), *_places(folder, runs)])))


def _best(state: SweepState, folder: Path) -> Iterator[tuple[str, Cell | str]]:
    """Yield what the best settings are and what they reached, where a run ended well."""
    best = best_group(state.rows)
    if best is None:
        return
    texts = zip(state.axes, cells(best[0], state.axes), strict=False)
    settings = ", ".join(f"{axis} {text}" for axis, text in texts if axis != REPLICATES)
    chosen = state.objective.startswith("test.")
    note = ", which chose them, so not held out" if chosen else ""
    yield "best settings", Cell(settings or "as the base", emphasis="strong")
    yield f"mean {state.objective}", mean_text(mean_of(best, "objective"))
    accuracy = mean_text(mean_of(best, "accuracy_after"))
    yield "accuracy after", f"{accuracy}  (test examples{note}; {len(best)} runs)"
    yield "run it with", f"{program()} run {short_path(folder / 'best.yaml')}"


def _places(folder: Path, runs: Path) -> Iterator[tuple[str, Cell | str]]:
    """Yield where everything is."""
    files = f"{short_path(folder / 'sweep.csv')}, {short_path(folder / 'sweep.html')}"
    yield "table and page", files
    see = f"{program()} ui --runs {short_path(runs)}"
    yield "see the charts with", Cell(see, emphasis="strong")
