"""Who does which work next, and what becomes of the work of those who are lost.

Knows queues, times and costs. Does not know Ray: a `Crew` has the workers.

Each worker has its queue, and at most `AHEAD` calls on their way to it, so that it never waits for
this process and nothing piles up before it. Small pieces of work go together, as many as the
worker's measured speed does in `CALL_SECONDS`. Who has nothing left takes from whom the most time
is left to, by its speed. Results are handed on as they come.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

Work = TypeVar("Work")

#: Calls that are on their way to a worker at once, where there is enough for all.
AHEAD = 2
#: Seconds of work that a call has at most, where one piece takes less.
CALL_SECONDS = 0.25
#: Seconds without a result after which the workers are looked at.
LOOK_SECONDS = 10.0
#: A call that takes so many times what it should, by the measured speed, and at least so many
#: seconds, will not come back.
TIMES_EXPECTED, LEAST_SECONDS = 30.0, 120.0
#: Seconds after which a call will not come back where nobody has done anything yet.
UNKNOWN_SECONDS = 14_400.0


class LostWorkerError(Exception):
    """A worker died or was ended before it gave back its work."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a call gave back."""

    results: Sequence[Any]
    seconds: float  #: that the worker took


class Crew(Protocol):
    """Has workers, and calls them."""

    def ready(self) -> Sequence[Any]:
        """Return the workers that can be given work now; some may still load their model."""

    def submit(self, worker: Any, works: Sequence[Any]) -> Any:
        """Send work to a worker; return what stands for its answer."""

    def wait(self, calls: Sequence[Any], timeout: float) -> Sequence[Any]:
        """Return the calls that have come back, after at most so many seconds; where there are
        none, wait for a worker to become ready.
        """

    def collect(self, calls: Sequence[Any]) -> Sequence[Done | LostWorkerError]:
        """Return what calls that came back gave; what the work itself raised is raised."""

    def replace(self, worker: Any, error: LostWorkerError) -> None:
        """Begin to put another in the place of a worker that was lost."""

    def look(self, busy: Sequence[Any]) -> None:
        """Look at the workers after a time without a result: end those that are stopped."""

    def forget(self, calls: Sequence[Any]) -> None:
        """Cancel calls that nobody waits for."""

    def end(self, worker: Any) -> None:
        """End a worker that does not come back; its calls are lost then."""


@dataclass(slots=True)
class Pace:
    """What a worker has done so far."""

    busy: float = 0.0  #: seconds that it worked
    cost: float = 0.0  #: what its work was taken to cost


@dataclass(slots=True)
class Task(Generic[Work]):
    """A piece of work, and about what it costs, in tokens."""

    work: Work
    cost: float


@dataclass(slots=True)
class _Call(Generic[Work]):
    worker: Any
    tasks: list[Task[Work]]


@dataclass(slots=True)
class _Job(Generic[Work]):
    """What is left of one list of work."""

    queues: dict[Any, deque[Task[Work]]]
    left: int
    returned: deque[Task[Work]] = field(default_factory=deque)
    calls: dict[Any, _Call[Work]] = field(default_factory=dict)
    ahead: dict[Any, int] = field(default_factory=dict)  # calls on their way, by worker
    since: dict[Any, float] = field(default_factory=dict)  # when its first call became its first


class Dispatcher:
    """Has lists of work done by a crew, and remembers how fast each worker is."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.paces: dict[Any, Pace] = {}
        self._lost = Pace()  # of all that were lost

    def seconds_per_cost(self, workers: Iterable[Any]) -> dict[Any, float]:
        """Return how long each worker takes for a cost of 1, as measured; for those that have done
        nothing yet, the mean of the others, the lost ones among them, and 1 where nothing was
        measured.
        """
        known = self._known()
        usual = sum(p.busy for p in known) / sum(p.cost for p in known) if known else 1.0
        own = {w: self.paces[w] for w in workers if w in self.paces and self.paces[w].cost}
        return {w: own[w].busy / own[w].cost if w in own else usual for w in workers}

    def _known(self) -> list[Pace]:
        return [pace for pace in (*self.paces.values(), self._lost) if pace.cost]

    def run(
        self,
        queues: Mapping[Any, Iterable[Task[Work]]],
        on_done: Callable[[Work, Any], None],
    ) -> None:
        """Have all work done; `on_done` is given each piece with its result, as it comes. Work that
        was lost with its worker is done again by another.
        """
        kept = {worker: deque(tasks) for worker, tasks in queues.items()}
        job = _Job(kept, sum(map(len, kept.values())))
        try:
            self._run(job, on_done)
        except BaseException:
            self._crew.forget(list(job.calls))
            raise

    def _run(self, job: _Job[Work], on_done: Callable[[Work, Any], None]) -> None:
        looked = time.monotonic()
        while job.left or job.calls:
            self._fill(job, self._crew.ready())
            came = self._crew.wait(list(job.calls), LOOK_SECONDS)
            for call, done in zip(came, self._crew.collect(came) if came else (), strict=True):
                self._take(job, call, done, on_done)
            if not came or time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                self._crew.look(list({call.worker for call in job.calls.values()}))
                self._end_late(job)

    def _fill(self, job: _Job[Work], workers: Sequence[Any]) -> None:
        """Give each worker calls, the first before anybody's second."""
        for depth in range(AHEAD):
            if depth and job.left <= len(workers):
                return  # what is left is for those who have nothing
            for worker in workers:
                if job.left and job.ahead.get(worker, 0) == depth:
                    self._send(job, worker, is_idle=depth == 0)

    def _send(self, job: _Job[Work], worker: Any, *, is_idle: bool) -> None:
        source, from_end = job.returned or job.queues.get(worker), False
        if not source and is_idle:
            source, from_end = self._most_left(job), True
        if not source:
            return
        tasks = self._portion(source, worker, from_end=from_end)
        job.left -= len(tasks)
        call = self._crew.submit(worker, [task.work for task in tasks])
        job.calls[call] = _Call(worker, tasks)
        job.ahead[worker] = job.ahead.get(worker, 0) + 1
        if is_idle:
            job.since[worker] = time.monotonic()

    def _portion(
        self, source: deque[Task[Work]], worker: Any, *, from_end: bool
    ) -> list[Task[Work]]:
        """Take from a queue what a worker does in `CALL_SECONDS`, at most a quarter of it and at
        least one piece.
        """
        pace = self.paces.get(worker)
        most = max(1, len(source) // 4) if pace is not None and pace.cost else 1
        tasks: list[Task[Work]] = []
        seconds = 0.0
        while source and len(tasks) < most:
            tasks.append(source.pop() if from_end else source.popleft())
            seconds += tasks[-1].cost * pace.busy / pace.cost if pace and pace.cost else 0.0
            if seconds >= CALL_SECONDS:
                break
        return tasks

    def _most_left(self, job: _Job[Work]) -> deque[Task[Work]] | None:
        """Return the queue that its worker would take longest for."""
        full = {worker: queue for worker, queue in job.queues.items() if queue}
        each = self.seconds_per_cost(full)
        last = max(full, key=lambda w: len(full[w]) * full[w][-1].cost * each[w], default=None)
        return None if last is None else full[last]

    def _take(
        self,
        job: _Job[Work],
        call: Any,
        done: Done | LostWorkerError,
        on_done: Callable[[Work, Any], None],
    ) -> None:
        flown = job.calls.pop(call, None)
        if flown is None:  # given back with its worker, which was lost
            return
        worker = flown.worker
        job.ahead[worker] -= 1
        job.since[worker] = time.monotonic()
        if isinstance(done, LostWorkerError):
            self._give_back(job, worker, flown)
            self._crew.replace(worker, done)
            return
        pace = self.paces.setdefault(worker, Pace())
        pace.busy += done.seconds
        pace.cost += sum(task.cost for task in flown.tasks)
        for task, result in zip(flown.tasks, done.results, strict=True):
            on_done(task.work, result)

    def _give_back(self, job: _Job[Work], worker: Any, flown: _Call[Work]) -> None:
        """Have others do what a lost worker was given; its queue is anybody's too."""
        others = [call for call, other in job.calls.items() if other.worker == worker]
        lost = [*flown.tasks, *(task for call in others for task in job.calls.pop(call).tasks)]
        job.left += len(lost)
        job.returned.extendleft(reversed(lost))
        job.returned.extend(job.queues.pop(worker, ()))
        job.ahead.pop(worker, None)
        job.since.pop(worker, None)
        if (pace := self.paces.pop(worker, None)) is not None:
            self._lost.busy += pace.busy
            self._lost.cost += pace.cost

    def _end_late(self, job: _Job[Work]) -> None:
        """End the workers whose first call should have come back long ago."""
        is_known = bool(self._known())
        first = {call.worker: call for call in reversed(job.calls.values())}
        each = self.seconds_per_cost(first)
        for worker, call in first.items():
            expected = sum(task.cost for task in call.tasks) * each[worker]
            limit = max(LEAST_SECONDS, TIMES_EXPECTED * expected) if is_known else UNKNOWN_SECONDS
            if time.monotonic() - job.since[worker] > limit:
                self._crew.end(worker)
