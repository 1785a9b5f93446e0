"""How well a fleet scales: the driver's real code over workers that are simulated, in simulated
time, and what the driver itself takes, in real time.

    python -m experiments.benchmarks.fleet

A unit is a policy, of half a second on a worker of speed 1. Efficiency is the work, in seconds of
all workers, over workers times the time until the last result. The driver's time is CPU of this
process: spreading the units over the workers and sending, taking and handing on every one of them,
without Ray's own calls.
"""

from __future__ import annotations

import argparse
import heapq
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evoprompt.backends.affinity import Affinity
from evoprompt.backends.base import WorkUnit
from evoprompt.backends.dispatch import Dispatcher, Done, LostWorkerError, Task
from evoprompt.backends.ray import RayFleet
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.scoring.trie import TokenRequest

#: Policies, seconds of one on a worker of speed 1, prompts of each, and tokens of a prompt.
POPULATION, SECONDS, PROMPTS, SHARED, OWN = 1024, 0.5, 16, 120, 20
#: Seconds from a result to the next call, where none was on its way.
LATENCY = 0.005


@dataclass
class SimulatedCrew:
    """Workers of given speeds, in simulated time. Implements `dispatch.Crew`."""

    speeds: dict[int, float]
    seconds: Callable[[Any], float]  #: of a piece of work, on a worker of speed 1
    fails: dict[int, float] = field(default_factory=dict)  #: when a worker is lost, by worker
    joins: dict[int, float] = field(default_factory=dict)  #: when one joins that is not there yet
    charged: float = 0.0  #: seconds of the driver for a call, in which nothing else goes on there
    now: float = 0.0
    calls: int = 0
    done: dict[Any, int] = field(default_factory=dict)  #: how often each piece was worked on
    _free: dict[int, float] = field(default_factory=dict)
    _ends: list[tuple[float, int]] = field(default_factory=list)
    _answers: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def ready(self) -> list[int]:
        """Return who is there."""
        return [w for w in self.speeds if self.joins.get(w, 0.0) <= self.now]

    def submit(self, worker: int, works: Sequence[Any]) -> int:
        """Work on pieces after all that was sent before."""
        self.calls += 1
        self.now += self.charged / 2
        begin = max(self.now + LATENCY, self._free.get(worker, 0.0))
        busy = sum(map(self.seconds, works)) / self.speeds[worker]
        end, lost = begin + busy, self.fails.get(worker)
        answer: Any = Done(list(works), busy)
        if lost is not None and lost < end:
            end, answer = max(lost, self.now), LostWorkerError("lost")
        else:
            for work in works:
                self.done[work] = self.done.get(work, 0) + 1
        self._free[worker] = end
        self._answers[self.calls] = worker, answer
        heapq.heappush(self._ends, (end, self.calls))
        return self.calls

    def wait(self, calls: Sequence[int], timeout: float) -> list[int]:
        """Let time pass until a call comes back, or a worker joins."""
        waiting, came = set(calls), []
        last = self.now + timeout
        while self._ends and self._ends[0][0] <= (self.now if came else last):
            end, call = heapq.heappop(self._ends)
            if call in waiting:
                came.append(call)
                self.now = max(self.now, end)
        if not came:
            self.now = min([last, *(t for t in self.joins.values() if t > self.now)])
        return came

    def collect(self, calls: Sequence[int]) -> list[Done | LostWorkerError]:
        """Return what the calls gave."""
        self.now += self.charged / 2 * len(calls)
        return [self._answers.pop(call)[1] for call in calls]

    def replace(self, worker: int, error: LostWorkerError) -> None:
        """Put nobody in the place of a lost worker."""
        self.speeds.pop(worker, None)

    def look(self, busy: Sequence[int]) -> None:
        """See nothing."""

    def forget(self, calls: Sequence[int]) -> None:
        """Forget nothing."""

    def end(self, worker: int) -> None:
        """Have a worker be lost."""
        self.fails[worker] = self.now
        for call, (whose, _) in self._answers.items():
            if whose == worker:
                self._answers[call] = worker, LostWorkerError("ended")
                heapq.heappush(self._ends, (self.now, call))


def population(num: int) -> list[WorkUnit]:
    """Return units of as many policies, every eighth of a family with the same beginning."""
    return [
        WorkUnit(
            k,
            tuple(
                TokenRequest((k % 8, *range(SHARED), k, *range(j, j + OWN)), (c,))
                for j in range(PROMPTS)
                for c in range(4)
            ),
            (SHARED // 2, SHARED),
        )
        for k in range(num)
    ]


def efficiency(
    num_workers: int, units: Sequence[WorkUnit], charged: float = 0.0
) -> tuple[float, float, int]:
    """Return the efficiency of a second generation on so many workers, after one in which their
    speed was measured; the driver's CPU, seconds a unit; and the calls.

    Args:
        num_workers: whose speeds differ by up to a fifth.
        units: of the generation.
        charged: seconds of the driver for a call.
    """
    speeds = {w: 1 + 0.2 * ((w * 7) % 11) / 10 for w in range(num_workers)}
    crew = SimulatedCrew(speeds, lambda key: SECONDS, charged=charged)
    dispatcher, affinity = Dispatcher(crew), Affinity()
    spent = begun = 0.0
    for _ in range(2):
        begun, before = crew.now, crew.calls
        cpu = time.process_time()
        spread = affinity.spread(units, dispatcher.seconds_per_cost(speeds))
        queues = {w: [Task(t.work.key, t.cost) for t in tasks] for w, tasks in spread.items()}
        dispatcher.run(queues, lambda key, result: None)
        spent = time.process_time() - cpu
    work = SECONDS * len(units) / (sum(speeds.values()) / num_workers)
    return work / num_workers / (crew.now - begun), spent / len(units), crew.calls - before


class Instant:
    """A worker on Ray that answers at once with nothing."""

    def __init__(self, model: object, threads: int) -> None:
        """Load nothing."""

    def place(self) -> tuple[str, int]:
        """Return the host, and the id of this process on it."""
        return socket.gethostname(), os.getpid()

    def do(self, what: str, works: Sequence[Sequence[object]]) -> Done:
        """Return nothing for each, as if it had taken its time: so that each is a call."""
        return Done([None for _ in works], SECONDS * len(works))


class InstantFleet(RayFleet):
    """A fleet of them."""

    kind = Instant


def with_ray(units: Sequence[WorkUnit]) -> tuple[float, float]:
    """Return seconds and CPU seconds of the driver a unit, Ray's own calls included, of a second
    generation on two workers that answer at once.
    """
    fleet = InstantFleet(ModelConfig(), WorkersConfig(count=2, threads=1))
    try:
        for _ in range(2):
            begun, cpu = time.perf_counter(), time.process_time()
            fleet.score(units, lambda key, scores: None)
            spent = time.perf_counter() - begun, time.process_time() - cpu
    finally:
        fleet.close()
    return spent[0] / len(units), spent[1] / len(units)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--population", type=int, default=POPULATION)
    parser.add_argument("--charged", type=float, default=0.88, help="ms of the driver for a call")
    parser.add_argument("--ray", action="store_true", help="Ray's own calls, two workers, instead")
    given = parser.parse_args()
    units = population(given.population)
    if given.ray:
        seconds, cpu = with_ray(units)
        print(f"a policy: {1000 * seconds:.2f} ms, {1000 * cpu:.2f} ms of the driver's CPU")
        return
    print("workers  efficiency  with the driver's time  driver, ms a policy  calls")
    for num in (1, 4, 16, 64, 256):
        found, spent, calls = efficiency(num, units)
        charged, _, _ = efficiency(num, units, given.charged / 1000)
        print(f"{num:7}  {found:10.3f}  {charged:22.3f}  {1000 * spent:19.3f}  {calls:5}")


if __name__ == "__main__":
    main()
