"""A fleet of workers on Ray that score and write, each with the model. The only file that imports
ray.

Workers hold no state but the model: work that was lost with its worker is given to another, and
comes back the same. Ray starts here by itself, bound to this machine, or is joined at an address.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.backends.local import describe, folder_identity
from evoprompt.backends.placement import place
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError
from evoprompt.scoring.decoding import Decoded, Decoding, group_requests, in_order
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.reference import joined, score_plain
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, Tokens

logger = logging.getLogger(__name__)

Work = TypeVar("Work")

#: Seconds that a worker may take to load its model.
LOAD_TIMEOUT = 600
#: Bytes for objects in shared memory; units and scores are small, and Ray's own choice is 30 % of
#: the memory.
OBJECT_STORE_BYTES = 128 * 2**20


class RayBackend:
    """Workers on Ray, each with the model. Implements `base.Backend`."""

    def identify(self, model: ModelConfig) -> Identity:
        """Return the folder with the weights, and their fingerprint."""
        return folder_identity(model)

    def tokenizer(self, identity: Identity) -> Tokenizer:
        """Return the tokenizer in the folder of the weights."""
        return Tokenizer(Path(identity.place))

    def open(self, model: ModelConfig, workers: WorkersConfig) -> RayFleet:
        """Start Ray and the workers, which load the model while the caller goes on."""
        return RayFleet(model, workers)


class RayFleet:
    """Scores units and continues prompts on Ray actors. Implements `executor.Executor`. Loading
    begins at once; `info` waits for it.
    """

    def __init__(self, model: ModelConfig, workers: WorkersConfig) -> None:
        import ray

        self._ray = ray
        self._actors: list[Any] = []
        self._closing = Lock()
        self._info: ModelInfo | None = None
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            _start_ray(ray, workers)
        total = ray.cluster_resources()
        try:
            self.placement = place(workers, total.get("CPU", 0), total.get("GPU", 0))
        except UserError:
            self.close()
            raise
        device = model.device if self.placement.gpus or model.device != "auto" else "cpu"
        self._arguments = (model.model_copy(update={"device": device}), self.placement.cpus)
        self._worker = ray.remote(
            num_cpus=self.placement.cpus, num_gpus=self.placement.gpus, max_restarts=0
        )(Worker)
        self._restarts_left = workers.max_restarts
        # by worker: hashes of the beginnings that it was given, so that its store may have them
        self._known: dict[Any, set[int]] = {}
        self._actors = [self._spawn() for _ in range(self.placement.count)]

    def info(self) -> ModelInfo:
        """Wait until a worker has loaded the model; return what it knows."""
        if self._info is None:
            try:
                known: ModelInfo = self._ray.get(
                    self._actors[0].info.remote(), timeout=LOAD_TIMEOUT
                )
            except self._ray.exceptions.RayError as error:
                raise _cause(error) from None
            self._info = replace(
                known, num_workers=self.placement.count, placement=str(self.placement)
            )
        return self._info

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key. The largest units go first; a unit lost with its worker is done
        again.

        Raises:
            UserError: a worker refused a unit (a prompt too long, NaN from the model).
            RuntimeError: more workers died than `workers.max_restarts`.
        """
        results: dict[Hashable, TokenScores] = {}

        def on_done(unit: WorkUnit, scores: TokenScores) -> None:
            results[unit.key] = scores
            on_result(unit.key, scores)

        self._work_off(self._spread(units), lambda actor, unit: actor.score.remote(unit), on_done)
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, in order, each sequence forwarded by itself; every worker
        does a part.

        Raises:
            UserError, RuntimeError: as `score`.
        """
        shares = [range(w, len(requests), len(self._actors)) for w in range(len(self._actors))]
        queues = {a: deque([s] if s else []) for a, s in zip(self._actors, shares, strict=True)}
        parts: list[tuple[range, TokenScores]] = []
        self._work_off(
            queues,
            lambda actor, share: actor.score_plain.remote([requests[i] for i in share]),
            lambda share, scores: parts.append((share, scores)),
        )
        return joined(parts, len(requests))

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order; a group of requests lost with
        its worker is done again.

        Raises:
            UserError, RuntimeError: as `score`.
        """
        groups = sorted(
            group_requests(requests),
            key=lambda group: -sum(len(r.prompt) + r.max_tokens for r in group),
        )
        queues = {
            actor: deque(groups[first :: len(self._actors)])
            for first, actor in enumerate(self._actors)
        }
        decoded: dict[Decoding, Decoded] = {}
        self._work_off(
            queues,
            lambda actor, group: actor.generate.remote(group),
            lambda group, written: decoded.update(zip(group, written, strict=True)),
        )
        return in_order(requests, decoded)

    def _work_off(
        self,
        queues: dict[Any, deque[Work]],
        submit: Callable[[Any, Work], Any],
        on_done: Callable[[Work, Any], None],
    ) -> None:
        """Have each worker do its queue, then what others have left; a dead worker is replaced and
        its work done again.
        """
        idle = list(self._actors)
        running: dict[Any, tuple[Any, Work]] = {}
        while running or any(queues.values()):
            while idle and any(queues.values()):
                actor = idle.pop()
                # who is done takes from who has most left
                own = queues[actor] or max(queues.values(), key=len)
                work = own.popleft() if own is queues[actor] else own.pop()
                running[submit(actor, work)] = (actor, work)
            [done], _ = self._ray.wait(list(running), num_returns=1)
            actor, work = running.pop(done)
            try:
                result = self._ray.get(done)
            except self._ray.exceptions.RayError as error:
                if isinstance(
                    error, self._ray.exceptions.RayTaskError
                ):  # the code raised; another worker would raise too
                    self._forget(running)
                    raise _cause(error) from None
                fresh = self._replace(actor, error)
                queues[fresh] = queues.pop(actor)
                queues[fresh].appendleft(work)
                actor = fresh
            else:
                on_done(work, result)
            idle.append(actor)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts; nobody waits for
        it.
        """
        for actor in self._actors:
            actor.pin.remote(list(prompts))

    def _spread(self, units: Sequence[WorkUnit]) -> dict[Any, deque[WorkUnit]]:
        """Return a queue for each worker: the largest units first, each to where it would be done
        first, given what a worker's store has.

        Scores do not depend on it. Where two workers' stores hold the same segment, it was
        forwarded twice.
        """
        queues: dict[Any, deque[WorkUnit]] = {actor: deque() for actor in self._actors}
        load = dict.fromkeys(self._actors, 0)
        for unit in sorted(units, key=lambda u: -_cost(u, 0)):
            beginnings = unit.beginnings()
            costs = {}
            for actor, known in self._known.items():
                costs[actor] = _cost(
                    unit,
                    max(
                        (c for c, b in zip(unit.cuts, beginnings, strict=True) if b in known),
                        default=0,
                    ),
                )
            actor = min(self._actors, key=lambda a: load[a] + costs[a])
            load[actor] += costs[actor]
            self._known[actor].update(beginnings)
            queues[actor].append(unit)
        return queues

    def worker_pids(self) -> list[int]:
        """Return the process id of each worker."""
        return list(self._ray.get([a.pid.remote() for a in self._actors]))

    def close(self) -> None:
        """End the workers, and Ray where it was started here. A second call waits for the first and
        does nothing.
        """
        with self._closing:
            actors, self._actors = self._actors, []
            for actor in actors:
                self._ray.kill(actor)
            if self._owns_ray:
                self._owns_ray = False
                self._ray.shutdown()

    def _spawn(self) -> Any:
        actor = self._worker.remote(*self._arguments)
        self._known[actor] = set()
        return actor

    def _replace(self, actor: Any, error: Exception) -> Any:
        if self._restarts_left == 0:
            raise RuntimeError(
                f"a scoring worker died ({type(error).__name__}) and workers.max_restarts is "
                f"used up; the checkpoint is saved: "
                "look for the cause (memory?), then resume"
            ) from None
        self._restarts_left -= 1
        logger.warning(
            "a scoring worker died (%s); it is replaced and its work is done again",
            type(error).__name__,
        )
        self._ray.kill(actor)
        self._actors[self._actors.index(actor)] = fresh = self._spawn()
        del self._known[actor]
        return fresh

    def _forget(self, running: dict[Any, Any]) -> None:
        for reference in running:
            self._ray.cancel(reference)


class Worker:
    """What runs in a worker's process: one loaded model."""

    def __init__(self, model: ModelConfig, threads: int) -> None:
        self._scorer = load_scorer(model, threads)

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return describe(self._scorer, num_workers=1, placement="")

    def score(self, unit: WorkUnit) -> TokenScores:
        """Return the scores of one unit."""
        return self._scorer.score(unit.requests, unit.cuts)

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, each sequence forwarded by itself."""
        return score_plain(self._scorer.model, requests)

    def generate(self, group: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request of a group."""
        return self._scorer.generate(group)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""
        if self._scorer.store is not None:
            self._scorer.store.pin(prompts)

    def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()


def _cost(unit: WorkUnit, stored: int) -> int:
    """Return about how many tokens a unit takes: the shared ones that are not stored, and each
    example's own.
    """
    shared = unit.cuts[-1] if unit.cuts else 0
    return (
        shared
        - stored
        + sum(len(context) - shared for context in {r.context for r in unit.requests})
    )


def _start_ray(ray: Any, workers: WorkersConfig) -> None:
    """Start Ray or join a cluster. Ray takes SIGTERM for itself, and its handler would end the
    process in the middle of a write.
    """
    polite = signal.getsignal(signal.SIGTERM)
    try:
        _open_ray(ray, workers)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, polite)


def _open_ray(ray: Any, workers: WorkersConfig) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if workers.ray_address:
        check_reachable(workers.ray_address)
        if (Path.home() / ".ray" / "auth_token").exists():
            # a cluster started where a token exists asks for it; Ray alone would not send it
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        try:
            ray.init(address=workers.ray_address, **quiet)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {workers.ray_address} "
                f"({str(error).splitlines()[0][:150]})"
            ) from None
        return
    # Without this Ray listens on every interface of the machine, even for a run of one process.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # `local`, or Ray would join any cluster that it finds running on this machine.
    ray.init(
        address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet
    )


def check_reachable(address: str) -> None:
    """Raise UserError where nobody listens at a host:port address; Ray itself takes more than a
    minute to say so.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # `auto` and the like are Ray's to resolve
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with: "
            f"ray start --head"
        ) from None


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
    return error
