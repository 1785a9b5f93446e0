"""What each worker of a fleet does: tokens a second while it works, and which part of the time that
is; of many workers the spread and the slowest few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

#: Workers that are told by themselves, those with the fewest tokens a second.
SLOWEST = 3


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker has done since it was started."""

    worker: int  #: its number
    place: str  #: its host and process
    seconds: float  #: that it worked
    tokens: float  #: that its work was taken to cost


@dataclass(frozen=True, slots=True)
class WorkerPace:
    """How a worker worked over a time."""

    worker: int
    place: str
    tokens_per_second: float  #: while it worked; 0 where it had no work
    utilisation: float  #: the share of the time that it worked


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the median and the most of a number over all workers."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Doing:
    """How the workers of a fleet worked over a time."""

    count: int
    tokens_per_second: Spread
    utilisation: Spread
    slowest: Sequence[WorkerPace]  #: the slowest first; all where they are few

    def metrics(self) -> dict[str, float]:
        """Return it by name, as many names however many workers there are."""
        found: dict[str, float] = {"count": self.count}
        for name in ("tokens_per_second", "utilisation"):
            spread: Spread = getattr(self, name)
            found |= {f"{name}_{end}": getattr(spread, end) for end in ("least", "median", "most")}
        for place, pace in enumerate(self.slowest, 1):
            found[f"slowest_{place}_number"] = pace.worker
            found[f"slowest_{place}_tokens_per_second"] = pace.tokens_per_second
            found[f"slowest_{place}_utilisation"] = pace.utilisation
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the reverse of `dataclasses.asdict`."""
        return cls(
            values["count"],
            Spread(**values["tokens_per_second"]),
            Spread(**values["utilisation"]),
            tuple(WorkerPace(**pace) for pace in values["slowest"]),
        )


def paces_of(before: Sequence[Work], after: Sequence[Work], seconds: float) -> list[WorkerPace]:
    """Return how each worker that is there worked between two moments, the slowest first.

    Args:
        before: of each worker at the first moment; those that are missing began since.
        after: at the second.
        seconds: between them.
    """
    then = {work.worker: work for work in before}
    paces = []
    for work in after:
        old = then.get(work.worker)
        busy = work.seconds - (old.seconds if old else 0.0)
        tokens = work.tokens - (old.tokens if old else 0.0)
        speed = tokens / busy if busy > 0 else 0.0
        share = min(1.0, busy / seconds) if seconds > 0 else 0.0
        paces.append(WorkerPace(work.worker, work.place, round(speed, 3), round(share, 4)))
    return sorted(paces, key=lambda pace: (pace.tokens_per_second, pace.worker))


def doing_of(paces: Sequence[WorkerPace]) -> Doing | None:
    """Return what is kept of the paces of all workers, the slowest first; None without workers."""
    if not paces:
        return None

    def spread(values: Sequence[float]) -> Spread:
        return Spread(min(values), median(values), max(values))

    return Doing(
        len(paces),
        spread([pace.tokens_per_second for pace in paces]),
        spread([pace.utilisation for pace in paces]),
        tuple(paces[:SLOWEST]),
    )
