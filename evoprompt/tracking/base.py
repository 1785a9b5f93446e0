"""What a run asks of a tracker, and the tracker that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from evoprompt.tracking.prompts import RegisteredPrompt

#: The tag that says what a run of MLflow is: `run`, `loop`, `sweep` or `comparison`.
KIND = "evoprompt.kind"
#: How many metrics are told: those that the dashboards show, or all there are.
Detail = Literal["brief", "full"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is told of a split of examples: enough to see that two runs used the same ones."""

    name: str
    digest: str
    source: str
    context: str  #: the split
    num_examples: int


@dataclass(frozen=True, slots=True)
class About:
    """What a tracker is told when a run begins."""

    name: str
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    datasets: Sequence[Dataset] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> About:
        """Return the reverse of `dataclasses.asdict`."""
        datasets = [Dataset(**row) for row in values["datasets"]]
        return cls(values["name"], values["parameters"], values["tags"], datasets)


@dataclass(frozen=True, slots=True)
class Point:
    """Metrics of one moment of a run. The same moment always has the same time, so that it can be
    told twice.
    """

    metrics: Mapping[str, float]
    step: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What a tracker is told when a run is complete."""

    description: str
    point: Point | None = None
    folder: Path | None = None
    champion: str | None = None
    files: Sequence[Path] = ()
    #: what becomes a version of a registered prompt, by those who have such a registry
    prompt: RegisteredPrompt | None = None
    #: by path below the artifacts, what makes each: it is made when it is told
    pages: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    tables: Mapping[str, Callable[[], Mapping[str, Sequence[Any]]]] = field(default_factory=dict)


class StoreDownError(Exception):
    """Whoever is told does not answer now; the same call may succeed later. The message says in
    what way.
    """


class Tracker(Protocol):
    """Tells a run's story to somebody, and waits until they know it: `courier.Courier` calls it
    from a thread of its own, one call after another, and calls again what failed.

    A call raises `StoreDownError` where nobody answers, and `UserError` where what the user gave
    cannot work; whatever else it raises is reported, and the next is told. One that has a registry
    of prompts has `register` too, which takes a `RegisteredPrompt`.
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
        """Open a run again that began earlier."""

    def log(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Record metrics; the same call again changes nothing."""

    def describe(self, text: str) -> None:
        """Set a description in Markdown."""

    def attach(self, files: Sequence[Path]) -> None:
        """Keep files as artifacts."""

    def write(self, path: str, text: str) -> None:
        """Keep a text as an artifact."""

    def tabulate(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Keep a table as an artifact; the same call again changes nothing."""

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

    def write(self, path: str, text: str) -> None:
        """Do nothing."""

    def tabulate(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Do nothing."""

    def finish(self, status: str, folder: Path | None = None, champion: str | None = None) -> None:
        """Do nothing."""

    def location(self) -> str:
        """Say that tracking is off."""
        return "off (tracking.enabled is false)"
