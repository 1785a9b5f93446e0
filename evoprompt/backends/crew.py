"""The actors of a fleet on Ray: started, called, looked after and replaced; those of a cluster come
and go with its machines.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from evoprompt.backends.base import ModelInfo, agreed
from evoprompt.backends.dispatch import Done, LostWorkerError
from evoprompt.backends.placement import Placement, place
from evoprompt.config.sections import WorkersConfig
from evoprompt.errors import MachineError, UserError, clip

logger = logging.getLogger(__name__)

#: Seconds that a worker may take to load its model.
LOAD_TIMEOUT = 600


class RayCrew:
    """Ray actors, by number. Implements `dispatch.Crew`."""

    def __init__(
        self, ray: Any, workers: WorkersConfig, kind: type, arguments: Callable[[Placement], Any]
    ) -> None:
        self._ray, self._config = ray, workers
        self.placement = self._fitting()
        self._remote = ray.remote(
            num_cpus=self.placement.cpus, num_gpus=self.placement.gpus, max_restarts=0
        )(kind)
        self._arguments = arguments(self.placement)
        self._restarts_left = workers.max_restarts
        self._info: ModelInfo | None = None
        self._actors: dict[int, Any] = {}
        self._joining: dict[int, tuple[Any, float]] = {}  # its place to come, and since when
        self._places: dict[int, tuple[str, int]] = {}  # host and process, of those that are there
        self._ready: list[int] = []
        self._numbers = count(1)
        self.gone: Callable[[int], None] = lambda worker: None  #: is told of each that is lost
        self.what = ""  #: the method of the workers that is called
        for _ in range(self.placement.count):
            self._spawn()

    @property
    def workers(self) -> list[int]:
        """All workers, those that still load their model too."""
        return list(self._actors)

    def _fitting(self) -> Placement:
        total = self._ray.cluster_resources()
        return place(self._config, total.get("CPU", 0), total.get("GPU", 0))

    def _spawn(self) -> None:
        worker, actor = next(self._numbers), self._remote.remote(*self._arguments)
        self._actors[worker] = actor
        self._joining[worker] = actor.place.remote(), time.monotonic()

    def info(self) -> ModelInfo:
        """Wait until every worker has loaded the model; return what all of them know.

        Raises:
            UserError: they would not score alike, or the model cannot be loaded.
        """
        if self._info is None:
            asked = [actor.info.remote() for actor in self._actors.values()]
            try:
                told = self._ray.get(asked, timeout=LOAD_TIMEOUT)
            except self._ray.exceptions.RayError as error:
                raise _cause(error) from None
            self._info = replace(
                agreed(told), num_workers=self.placement.count, placement=str(self.placement)
            )
        return self._info

    def ready(self) -> list[int]:
        """Return the workers that have loaded the model."""
        for worker, (place_to_come, _) in list(self._joining.items()):
            if self._ray.wait([place_to_come], timeout=0)[0]:
                self._join(worker, place_to_come)
        return self._ready

    def _join(self, worker: int, place_to_come: Any) -> None:
        """Take a worker that has loaded the model, if it scores as the others do."""
        del self._joining[worker]
        try:
            found = self._ray.get(place_to_come)
            if self._info is not None:
                agreed([self._info, self._ray.get(self._actors[worker].info.remote())])
        except self._ray.exceptions.RayError as error:
            cause = _cause(error)
            if isinstance(cause, UserError):
                raise cause from None
            self.replace(worker, LostWorkerError(type(error).__name__))
        except UserError as error:
            logger.warning("a worker that has joined is not used: %s", error)
            self._drop(worker)
        else:
            self._places[worker] = found
            self._ready = [w for w in self._actors if w in self._places]

    def places(self) -> dict[int, tuple[str, int]]:
        """Return host and process of each worker that has loaded the model."""
        return dict(self._places)

    def submit(self, worker: int, works: Sequence[tuple[Any, tuple[Any, ...]]]) -> Any:
        """Send work to a worker; it gets the arguments alone."""
        return self._actors[worker].do.remote(self.what, [arguments for _, arguments in works])

    def tell(self, what: str, *arguments: Any) -> None:
        """Call a method of every worker that is there, and wait for none."""
        for worker in self._ready:
            getattr(self._actors[worker], what).remote(*arguments)

    def wait(self, calls: Sequence[Any], timeout: float) -> list[Any]:
        """Return the calls that have come back; without any, wait for a worker that joins."""
        if not calls:
            self._wait_for_one(timeout)
            return []
        first, others = self._ray.wait(calls, num_returns=1, timeout=timeout, fetch_local=False)
        if first and others:  # what came meanwhile, at the price of one question
            more = self._ray.wait(others, num_returns=len(others), timeout=0, fetch_local=False)
            first = [*first, *more[0]]
        return list(first)

    def _wait_for_one(self, timeout: float) -> None:
        if self._ready:
            return
        if not self._joining:
            raise MachineError("all scoring workers are lost; look for the cause (memory?)")
        since = min(since for _, since in self._joining.values())
        self._ray.wait([place for place, _ in self._joining.values()], timeout=timeout)
        if time.monotonic() - since > LOAD_TIMEOUT:
            raise MachineError(f"no worker has loaded the model within {LOAD_TIMEOUT} s")

    def collect(self, calls: Sequence[Any]) -> list[Done | LostWorkerError]:
        """Return what calls that came back gave.

        Raises:
            UserError: a worker refused its work.
        """
        try:
            return list(self._ray.get(list(calls)))
        except self._ray.exceptions.RayError:
            return [self._collect_one(call) for call in calls]

    def _collect_one(self, call: Any) -> Done | LostWorkerError:
        try:
            done: Done = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from None  # the code raised; another worker would raise too
        except self._ray.exceptions.RayError as error:
            return LostWorkerError(type(error).__name__)
        return done

    def replace(self, worker: int, error: LostWorkerError) -> None:
        """Put another in the place of a worker that was lost, where there is room for one.

        Raises:
            MachineError: more were lost than `workers.max_restarts`.
        """
        self._drop(worker)
        if self._config.count is None and self._room() <= len(self._actors):
            logger.warning("a scoring worker is gone with its machine (%s); others go on", error)
            return
        if self._restarts_left == 0:
            raise MachineError(
                f"a scoring worker died ({error}) and workers.max_restarts is used up; look for "
                f"the cause (memory?)"
            )
        self._restarts_left -= 1
        logger.warning(
            "a scoring worker died (%s); it is replaced and its work is done again", error
        )
        self._spawn()

    def _drop(self, worker: int) -> None:
        self._ray.kill(self._actors.pop(worker))
        self._joining.pop(worker, None)
        self._places.pop(worker, None)
        self._ready = [w for w in self._ready if w != worker]
        self.gone(worker)

    def _room(self) -> int:
        """Return how many workers fit now; 0 where none does."""
        try:
            return self._fitting().count
        except UserError:
            return 0

    def look(self, busy: Sequence[int]) -> None:
        """End the workers on this machine that are stopped, not slow, and start more where machines
        have joined the cluster.
        """
        for worker in busy:
            host, pid = self._places.get(worker, ("", 0))
            if host == socket.gethostname() and is_stopped(pid):
                logger.warning("a scoring worker is stopped (process %d), so it is ended", pid)
                os.kill(pid, signal.SIGKILL)
        self.grow()

    def grow(self) -> None:
        """Start workers on machines that have joined a cluster, unless their number was given."""
        if self._config.count is not None or not self._config.ray_address:
            return
        for _ in range(self._room() - len(self._actors)):
            logger.warning("a machine has joined the cluster: one more worker is started")
            self._spawn()

    def end(self, worker: int) -> None:
        """End a worker that does not come back."""
        logger.warning("a worker does not come back (%s), so it is ended", self.name(worker))
        self._ray.kill(self._actors[worker])

    def name(self, worker: int) -> str:
        """Return a worker's host and process, for people."""
        host, pid = self._places.get(worker, ("?", 0))
        return f"{host}:{pid}"

    def forget(self, calls: Iterable[Any]) -> None:
        """Cancel calls that nobody waits for."""
        for call in calls:
            self._ray.cancel(call)

    def pids(self) -> list[int]:
        """Return the process id of each worker, once it has loaded the model."""
        return [p for _, p in self._ray.get([a.place.remote() for a in self._actors.values()])]

    def close(self) -> None:
        """End the workers."""
        actors, self._actors, self._ready = self._actors, {}, []
        for actor in actors.values():
            self._ray.kill(actor)


def is_stopped(pid: int) -> bool:
    """Return whether a process of this machine is there and stopped."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _cause(error: Exception) -> Exception:
    """Return the user's mistake behind an error of Ray, if there is one, else the error itself."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return UserError(str(cause))
    # An exception in a worker's constructor arrives as text only.
    marker = "evoprompt.errors.UserError: "
    text = str(error)
    if marker in text:
        return UserError(text.split(marker, 1)[1].splitlines()[0])
    if isinstance(error, TimeoutError):
        return MachineError(f"no worker has loaded the model within {LOAD_TIMEOUT} s")
    if cause is None:
        reason = clip(next((x for x in reversed(text.splitlines()) if x.strip()), ""))
        return MachineError(f"a scoring worker died while it loaded the model: {reason}")
    return error
