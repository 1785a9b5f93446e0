"""A tracker of the plug-in: a file of lines in the folder of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprompt.tracking.base import Dataset


class LinesTracker:
    """Writes what it is told. Implements `tracking.base.Tracker`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        """Tell the name."""
        self._tell(f"begin {name}")
        return {"run_id": name}

    def resume(self, identity: Mapping[str, str]) -> None:
        """Tell that it goes on."""
        self._tell(f"resume {identity['run_id']}")

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Tell how many metrics there are."""
        self._tell(f"step {step}: {len(metrics)} metrics")

    def describe(self, text: str) -> None:
        """Tell nothing."""

    def attach(self, files: Sequence[Path]) -> None:
        """Tell nothing."""

    def write(self, path: str, text: str) -> None:
        """Tell nothing."""

    def tabulate(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Tell nothing."""

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Tell how it ended."""
        self._tell(f"finish {status}")

    def location(self) -> str:
        """Return the file."""
        return str(self._file)

    def _tell(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")


def open_lines(runs: Path, experiment: str, parent: str | None) -> LinesTracker:
    """Return a tracker that writes into the folder of the runs."""
    return LinesTracker(runs / f"{experiment}.txt")
