"""A fleet in this process whose workers die, hang, are stopped, cut off and join, as a seed says:
`workers.backend: toys.faulty_fleet:FaultyBackend`. The driver's code is that of the fleet on Ray.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from evoprompt.backends import dispatch
from evoprompt.backends.affinity import Affinity
from evoprompt.backends.base import ModelInfo
from evoprompt.backends.dispatch import Done, LostWorkerError
from evoprompt.backends.placement import Placement
from evoprompt.backends.ray import RayBackend, RayFleet
from evoprompt.backends.worker import Worker
from evoprompt.config.sections import ModelConfig, WorkersConfig

#: Of the faults; read when the fleet is opened.
SEED = "FAULTY_FLEET_SEED"
#: What becomes of a call, with how often it does.
FATES = {"answers": 80, "dies": 8, "hangs": 3, "is stopped": 4, "is cut off": 5}
MOST_WORKERS = 5
#: Instead of `dispatch`'s: seconds here are short.
LOOK_SECONDS, LEAST_SECONDS, TIMES_EXPECTED, UNKNOWN_SECONDS = 0.02, 0.3, 3.0, 2.0


class FaultyCrew:
    """Workers that share one model, and fail. Implements `dispatch.Crew`."""

    def __init__(self, worker: Worker, rng: random.Random) -> None:
        self._worker, self._rng, self._numbers, self._call_numbers = worker, rng, count(1), count(1)
        self.placement = Placement(3, 1, 0)
        self.what = ""
        self.gone: Any = lambda worker: None
        self.workers = [next(self._numbers) for _ in range(3)]
        self._calls: dict[int, tuple[int, Any]] = {}
        self._bad: dict[int, str] = {}  # what became of a worker that gives no answer any more

    def info(self) -> ModelInfo:
        return self._worker.info()

    def ready(self) -> list[int]:
        return list(self.workers)

    def places(self) -> dict[int, tuple[str, int]]:
        return {worker: ("here", os.getpid()) for worker in self.workers}

    def grow(self) -> None:
        """A machine may have joined."""
        if len(self.workers) < MOST_WORKERS and self._rng.random() < 0.3:
            self.workers.append(next(self._numbers))

    def submit(self, worker: int, works: Sequence[tuple[Any, tuple[Any, ...]]]) -> int:
        call = next(self._call_numbers)
        self._calls[call] = worker, [arguments for _, arguments in works]
        [fate] = self._rng.choices(list(FATES), list(FATES.values()))
        if fate != "answers":
            self._bad.setdefault(worker, fate)
        return call

    def wait(self, calls: Sequence[int], timeout: float) -> list[int]:
        """Return some of the calls, in any order; of those that give no answer, lost ones alone."""
        back = [c for c in calls if self._bad.get(self._calls[c][0]) not in ("hangs", "is stopped")]
        if not back:
            time.sleep(timeout)
        return self._rng.sample(back, self._rng.randint(1, len(back))) if back else []

    def collect(self, calls: Sequence[int]) -> list[Done | LostWorkerError]:
        return [self._collect(call) for call in calls]

    def _collect(self, call: int) -> Done | LostWorkerError:
        worker, arguments = self._calls.pop(call)
        bad = self._bad.get(worker)
        if bad == "is cut off" and self._rng.random() < 0.5:
            bad = None  # this answer was on its way already
        return LostWorkerError(bad) if bad else self._worker.do(self.what, arguments)

    def replace(self, worker: int, error: LostWorkerError) -> None:
        """Put another in its place, or nobody."""
        self.workers.remove(worker)
        self._bad.pop(worker, None)
        self.gone(worker)
        if not self.workers or self._rng.random() < 0.6:
            self.workers.append(next(self._numbers))

    def look(self, busy: Sequence[int]) -> None:
        """End those that are stopped."""
        for worker in busy:
            if self._bad.get(worker) == "is stopped":
                self.end(worker)
        self.grow()

    def end(self, worker: int) -> None:
        self._bad[worker] = "dies"

    def forget(self, calls: Sequence[int]) -> None:
        for call in calls:
            self._calls.pop(call, None)

    def tell(self, what: str, *arguments: Any) -> None:
        getattr(self._worker, what)(*arguments)

    def close(self) -> None:
        self.workers.clear()


class FaultyFleet(RayFleet):
    """Has the faulty crew."""

    def __init__(self, model: ModelConfig, workers: WorkersConfig) -> None:
        dispatch.LOOK_SECONDS = LOOK_SECONDS
        dispatch.LEAST_SECONDS, dispatch.TIMES_EXPECTED = LEAST_SECONDS, TIMES_EXPECTED
        dispatch.UNKNOWN_SECONDS = UNKNOWN_SECONDS
        from threading import Lock

        self._closing, self._owns_ray, self._ray = Lock(), False, None
        seed = int(os.environ.get(SEED, "0"))
        self._crew: Any = FaultyCrew(Worker(model, 1), random.Random(seed))
        self._affinity, self._dispatchers = Affinity(), {}
        self._crew.gone = self._affinity.forget


class FaultyBackend(RayBackend):
    """Opens it."""

    def open(self, model: ModelConfig, workers: WorkersConfig) -> RayFleet:
        return FaultyFleet(model, workers)
