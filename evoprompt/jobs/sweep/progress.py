"""A sweep that is going on: its rows, here and on disk, and which of its runs are stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprompt.jobs.base import SWEEP
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.config import Sweep, settle
from evoprompt.jobs.sweep.record import SweepRow, SweepState
from evoprompt.jobs.sweep.tables import REPLICATES
from evoprompt.store.folder import RunFolder

if TYPE_CHECKING:
    from evoprompt.jobs.sweep.halving import Halving


@dataclass(slots=True)
class Progress:
    """A sweep that is going on, and its folder."""

    path: Path
    sweep: Sweep
    rows: list[SweepRow]  #: by number, from 1
    accepts_changes: bool = False  #: of what the results of its runs depend on
    _halving: Halving | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Remember how good runs were where others are stopped by it."""
        stopping = self.sweep.config.stopping
        if stopping.method != "off":
            from evoprompt.jobs.sweep.halving import Halving

            self._halving = Halving(stopping, self.rows)

    def state(self) -> SweepState:
        """Return the content of `sweep.json`."""
        config = self.sweep.config
        return SweepState(
            config.name, config.method, config.objective, list(config.axes), self.rows
        )

    def save(self) -> None:
        """Replace the state on disk."""
        RunFolder(self.path).write(SWEEP, self.state().to_dict())

    def put(self, number: int, **changed: Any) -> SweepRow:
        """Change the row of this number, here and on disk; return it."""
        self.rows[number - 1] = replace(self.rows[number - 1], **changed)
        self.save()
        return self.rows[number - 1]

    @property
    def total(self) -> int:
        """How many runs the sweep has in the end."""
        return self.sweep.config.runs or len(self.rows)

    def order(self) -> list[SweepRow]:
        """Return the rows as they are to be done: where settings are compared by their first seed,
        that comes first.
        """
        if self._halving is None:
            return list(self.rows)
        return sorted(self.rows, key=lambda row: self._first(row) is not row)

    def passes_over(self, row: SweepRow) -> bool:
        """Return whether a run is not begun, because its settings were stopped with another seed;
        that is noted.
        """
        first = self._first(row)
        if self._halving is None or first.status != "stopped" or not row.is_left:
            return False
        self.put(row.number, status="stopped", reason=f"its settings were, in {first.folder}")
        return True

    def _first(self, row: SweepRow) -> SweepRow:
        """Return the run of the same settings with their first seed."""
        return next(other for other in self.rows if _settings(other) == _settings(row))

    def judge(self, number: int, line: GenerationLine) -> str | None:
        """Return why a run is stopped after a generation; None where it goes on."""
        row = self.rows[number - 1]
        if self._halving is None or self._first(row) is not row:
            return None
        config = settle(self.sweep, row.settings, row.folder)
        judged, falls = self._halving.judge(row, line, config)
        if len(judged.rungs) > len(row.rungs):
            self.put(number, rungs=judged.rungs)
        if not falls:
            return None
        share = self.sweep.config.stopping.rungs()[len(judged.rungs) - 1]
        return (
            f"after {share:.0%} of it, its best fitness {judged.rungs[-1][1]:.4f} was not among "
            f"the best 1 in {self.sweep.config.stopping.keep}"
        )


def _settings(row: SweepRow) -> dict[str, Any]:
    return {key: value for key, value in row.settings.items() if key != REPLICATES}
