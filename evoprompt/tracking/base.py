"""What a run asks of a tracker, and the tracker that does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is told of a split of examples: enough to see that two runs used the same ones."""

    name: str
    digest: str
    source: str
    context: str  #: the split
    num_examples: int


class Tracker(Protocol):
    """Tells a run's story to somebody. No call waits for the outside world but `begin` and
    `finish`.
    """

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        """Open the run; return what identifies it: a later `resume` is given the same."""

    def resume(self, identity: Mapping[str, str]) -> None:
        """Open a run again that did not end."""

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Record metrics; the same call again changes nothing."""

    def describe(self, text: str) -> None:
        """Set a description in Markdown."""

    def attach(self, files: Sequence[Path]) -> None:
        """Keep files as artifacts."""

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED, with its folder and champion as
        artifacts.
        """

    def location(self) -> str:
        """Return where people find the run."""


class NullTracker:
    """Tells nobody."""

    def begin(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: list[Dataset],
    ) -> dict[str, str]:
        """Identify nothing."""
        return {}

    def resume(self, identity: Mapping[str, str]) -> None:
        """Do nothing."""

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Do nothing."""

    def describe(self, text: str) -> None:
        """Do nothing."""

    def attach(self, files: Sequence[Path]) -> None:
        """Do nothing."""

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Do nothing."""

    def location(self) -> str:
        """Say that tracking is off."""
        return "off (tracking.enabled is false)"
