"""A fleet of workers on Ray that score and write, each with the model.

Workers hold no state but the model: work that was lost with its worker is given to another, and
comes back the same.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit, agreed
from evoprompt.backends.cluster import open_ray
from evoprompt.backends.local import describe, folder_identity
from evoprompt.backends.placement import place
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import MachineError, UserError, clip
from evoprompt.scoring.decoding import Decoded, Decoding, group_requests, in_order
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange, Gains, exchange_gains
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.readout import Readout, joined_readout
from evoprompt.scoring.reference import joined, score_plain, shares_by_sequence
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, Tokens

logger = logging.getLogger(__name__)

Work = TypeVar("Work")

#: Seconds that a worker may take to load its model.
LOAD_TIMEOUT = 600
#: Seconds without a result after which the workers are looked at.
LOOK_SECONDS = 10.0


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
        self._actors: list[Any] = []
        self._closing = Lock()
        self._info: ModelInfo | None = None
        self._ray, self._owns_ray = open_ray(workers)
        ray = self._ray
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
        self._places: dict[Any, Any] = {}  # by worker: its host and process id, to come
        self._actors = [self._spawn() for _ in range(self.placement.count)]

    def info(self) -> ModelInfo:
        """Wait until every worker has loaded the model; return what all of them know.

        Raises:
            UserError: they would not score alike, or the model cannot be loaded.
        """
        if self._info is None:
            try:
                told = self._ray.get([a.info.remote() for a in self._actors], timeout=LOAD_TIMEOUT)
            except self._ray.exceptions.RayError as error:
                raise _cause(error) from None
            self._info = replace(
                agreed(told), num_workers=self.placement.count, placement=str(self.placement)
            )
        return self._info

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key. The largest units go first; a unit lost with its worker is done
        again.

        Raises:
            UserError: a worker refused a unit (a prompt too long, NaN from the model).
            MachineError: more workers died than `workers.max_restarts`.
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
            UserError, MachineError: as `score`.
        """
        shares = shares_by_sequence(requests, len(self._actors))
        queues = {a: deque([s] if s else []) for a, s in zip(self._actors, shares, strict=True)}
        parts: list[tuple[list[int], TokenScores]] = []
        self._work_off(
            queues,
            lambda actor, share: actor.score_plain.remote([requests[i] for i in share]),
            lambda share, scores: parts.append((share, scores)),
        )
        return joined(parts, len(requests))

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout:
        """Return the `top` likeliest next tokens after each context, in order; every worker reads
        neighbours, which share their beginnings.

        Raises:
            UserError, MachineError: as `score`.
        """
        order = sorted(range(len(contexts)), key=contexts.__getitem__)
        shares = [part.tolist() for part in np.array_split(order, len(self._actors))]
        queues = {a: deque([s] if s else []) for a, s in zip(self._actors, shares, strict=True)}
        parts: list[tuple[list[int], Readout]] = []
        self._work_off(
            queues,
            lambda actor, share: actor.readout.remote([contexts[i] for i in share], top),
            lambda share, found: parts.append((share, found)),
        )
        return joined_readout(parts, len(contexts))

    def gains(self, asked: Exchange) -> Gains:
        """Return the first-order gains of an exchange of tokens; every worker does a part of its
        requests.

        Raises:
            UserError, MachineError: as `score`.
        """
        shares = shares_by_sequence(asked.requests, len(self._actors))
        queues = {a: deque([s] if s else []) for a, s in zip(self._actors, shares, strict=True)}
        parts: list[tuple[list[int], Gains]] = []
        self._work_off(
            queues,
            lambda actor, share: actor.gains.remote(asked.part(share)),
            lambda share, found: parts.append((share, found)),
        )
        first, *others = (found for _, found in sorted(parts, key=lambda part: part[0]))
        return sum(others, first)

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order; a group of requests lost with
        its worker is done again.

        Raises:
            UserError, MachineError: as `score`.
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
            finished, _ = self._ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
            if not finished:
                self._end_stopped(actor for actor, _ in running.values())
                continue
            actor, work = running.pop(finished[0])
            try:
                result = self._ray.get(finished[0])
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

    def _end_stopped(self, actors: Iterable[Any]) -> None:
        """End the processes of those workers on this machine that are stopped, not slow: such a
        one would be waited for without end. It is replaced as any that died.
        """
        for actor in actors:
            known, _ = self._ray.wait([self._places[actor]], timeout=0)
            host, pid = self._ray.get(known[0]) if known else ("", 0)
            if host == socket.gethostname() and is_stopped(pid):
                logger.warning("a scoring worker is stopped (process %d), so it is ended", pid)
                os.kill(pid, signal.SIGKILL)

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
        whole = [(_cost(unit), unit) for unit in units]
        for cost, unit in sorted(whole, key=lambda pair: -pair[0]):
            beginnings = unit.beginnings()
            ends = list(zip(unit.cuts, beginnings, strict=True))
            costs = {
                actor: cost - max((cut for cut, b in ends if b in known), default=0)
                for actor, known in self._known.items()
            }
            actor = min(self._actors, key=lambda a: load[a] + costs[a])
            load[actor] += costs[actor]
            self._known[actor].update(beginnings)
            queues[actor].append(unit)
        return queues

    def worker_pids(self) -> list[int]:
        """Return the process id of each worker."""
        return [pid for _, pid in self._ray.get([self._places[a] for a in self._actors])]

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
        self._places[actor] = actor.place.remote()
        return actor

    def _replace(self, actor: Any, error: Exception) -> Any:
        if self._restarts_left == 0:
            raise MachineError(
                f"a scoring worker died ({type(error).__name__}) and workers.max_restarts is used "
                f"up; look for the cause (memory?)"
            ) from None
        self._restarts_left -= 1
        logger.warning(
            "a scoring worker died (%s); it is replaced and its work is done again",
            type(error).__name__,
        )
        self._ray.kill(actor)
        self._actors[self._actors.index(actor)] = fresh = self._spawn()
        del self._known[actor], self._places[actor]
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
        return self._scorer.score(unit.requests, unit.cuts, unit.features)

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, each sequence forwarded by itself."""
        return score_plain(self._scorer.model, requests)

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout:
        """Return the likeliest next tokens after each context."""
        return self._scorer.readout(contexts, top)

    def gains(self, asked: Exchange) -> Gains:
        """Return the first-order gains of an exchange of tokens."""
        return exchange_gains(self._scorer.model, asked)

    def generate(self, group: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request of a group."""
        return self._scorer.generate(group)

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""
        if self._scorer.store is not None:
            self._scorer.store.pin(prompts)

    def place(self) -> tuple[str, int]:
        """Return the host, and the id of this process on it."""
        return socket.gethostname(), os.getpid()


def is_stopped(pid: int) -> bool:
    """Return whether a process of this machine is there and stopped."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _cost(unit: WorkUnit) -> int:
    """Return about how many tokens a unit takes where nothing of it is stored: the shared ones, and
    each example's own.
    """
    shared = unit.cuts[-1] if unit.cuts else 0
    return shared + sum(len(context) - shared for context in {r.context for r in unit.requests})


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
