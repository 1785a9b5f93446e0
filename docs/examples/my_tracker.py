"""A tracker: a file of lines in the folder of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprompt.tracking.base import Dataset, NullTracker


class Lines(NullTracker):
    """Writes what it is told; what it does not override tells nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: Sequence[Dataset],
    ) -> dict[str, str]:
        """Tell the name, by which a later `resume` finds the run again."""
        self._tell(f"begin {name}")
        return {"run_id": name}

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Tell how many metrics there are."""
        self._tell(f"step {step}: {len(metrics)} metrics")

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Tell how it ended."""
        self._tell(f"finish {status}")

    def location(self) -> str:
        """Return the file."""
        return str(self._file)

    def _tell(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")


def open_lines(runs: Path, experiment: str, parent: str | None) -> Lines:
    """Return a tracker that writes into the folder of the runs."""
    return Lines(runs / f"{experiment}.txt")
