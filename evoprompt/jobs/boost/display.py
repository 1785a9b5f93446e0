"""What a person sees in the terminal while a loop goes on, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from evoprompt.backends.base import ModelInfo
from evoprompt.jobs.boost.conclude import advice_text
from evoprompt.jobs.boost.config import BoostConfig, LoopConfig
from evoprompt.jobs.boost.record import Ends, RoundLine
from evoprompt.jobs.held_out import HeldOut
from evoprompt.jobs.telling import model_line
from evoprompt.records import TokenCount
from evoprompt.report.table import Cell, pairs_table, to_rich
from evoprompt.report.text import interval
from evoprompt.terminal import clock, new_console, program, short_path


class BoostDisplay:
    """Follows a loop in the terminal. Implements `boost.BoostObserver`; use it as a context."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or new_console()
        self._tokens = 0
        self._loop: LoopConfig | None = None
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns, console=self.console, disable=not self.console.is_terminal, transient=True
        )
        self._task = self._progress.add_task(
            "starting the workers and the model", total=None, status=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def loaded(self, info: ModelInfo, config: BoostConfig) -> None:
        """Say what the model is and how it is scored."""
        self._loop = config.loop
        self.console.print(model_line(config.model.name, info))

    def phase(self, name: str) -> None:
        """Say what is being done."""
        self._progress.update(self._task, description=name)

    def scored(self, count: TokenCount) -> None:
        """Count on."""
        self._tokens += count.body_tokens
        self._progress.update(self._task, status=f"{self._tokens:,} tokens")

    def round(self, line: RoundLine) -> None:
        """Print the line of a round that is done."""
        self.console.print(round_text(line), soft_wrap=True)
        advice = advice_text(line, self._loop) if line.round == 0 and self._loop else None
        if advice:
            self.console.print(advice, soft_wrap=True)

    def interrupted(self, folder: Path) -> None:
        """Say how to go on."""
        self._progress.stop()
        self.console.print(
            f"interrupted; every committed round is kept. To go on: {program()} resume "
            f"{short_path(folder)}",
            soft_wrap=True,
        )


def round_text(line: RoundLine) -> str:
    """Return a round as a line of text: what was measured beside what was predicted, and what the
    loop did.
    """
    error = (
        "error not known"
        if line.error_rate is None
        else f"error {line.error_rate:.3f}  {_bounds(line.ci)}"
    )
    if line.round == 0:
        return f"before     {error}"
    parts = [f"round {line.round:>3}  {error}"]
    if line.predicted is not None:
        parts.append(f"predicted {line.predicted:.3f}  {_bounds(line.predicted_ci)}")
    if line.sensitivity is not None and line.specificity is not None:
        parts.append(f"evaluator {line.sensitivity:.2f} + {line.specificity:.2f}")
    parts.append(f"accepted {line.accepted}, buffer {line.buffer_size}")
    if line.verdict is not None:
        failed = ", ".join(line.verdict.failed)
        parts += [] if line.verdict.inside else [f"outside: {failed or 'no assumption refuted'}"]
        parts += [failed] if failed and line.verdict.inside else []
    return "  ".join(parts)


def print_result(console: Console, summary: Mapping[str, Any], folder: Path, location: str) -> None:
    """Print the table at the end of a loop; `location` is where the tracker has it."""
    pairs: list[tuple[str, Cell | str]] = []
    if summary["test"] is not None:
        test = HeldOut.from_dict(summary["test"])
        for label, name in (
            ("error before", "baseline"),
            ("error after", "champion"),
            ("difference", "difference"),
        ):
            part = interval(test.part(name), signed=name == "difference")
            pairs.append((label, "  ".join(part)))
    play = f"{program()} play {short_path(folder)}"
    pairs += [
        *(("", note) for note in summary["notes"]),
        ("rounds", str(summary["rounds"])),
        ("tokens forwarded", f"{summary['tokens']['prefill']:,}"),
        ("time", clock(summary["seconds"]["total"])),
        ("run folder", str(folder)),
        ("report", str(folder / "report.html")),
        ("MLflow", location),
        ("try it with", Cell(play, emphasis="strong")),
    ]
    console.print(to_rich(pairs_table(pairs)))


def _bounds(interval_of: Ends | None) -> str:
    return f"[{interval_of[0]:.3f}, {interval_of[1]:.3f}]" if interval_of else ""
