"""A fleet of workers on Ray that score and write, each with the model.

Workers hold no state but the model: work that was lost with its worker is given to another, and
comes back the same. Who does what next, `dispatch` knows; who has which beginnings, `affinity`; the
workers themselves, `crew`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from evoprompt.backends.affinity import Affinity
from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.backends.cluster import open_ray
from evoprompt.backends.crew import RayCrew
from evoprompt.backends.dispatch import Dispatcher, Task
from evoprompt.backends.doing import Work
from evoprompt.backends.local import folder_identity
from evoprompt.backends.placement import Placement
from evoprompt.backends.worker import Worker
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError
from evoprompt.scoring.decoding import Decoded, Decoding, group_requests, in_order
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange, Gains
from evoprompt.scoring.readout import Readout, joined_readout
from evoprompt.scoring.reference import joined, shares_by_sequence
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, Tokens

#: A piece of work: what it is for here, and what a worker's method gets.
Piece = tuple[Any, tuple[Any, ...]]


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
    """Scores units and continues prompts on Ray actors. Implements `base.Executor`.
    Loading begins at once; `info` waits for it.
    """

    #: What runs in the workers' processes.
    kind: type = Worker

    def __init__(self, model: ModelConfig, workers: WorkersConfig) -> None:
        self._closing = Lock()
        self._crew: RayCrew | None = None
        self._ray, self._owns_ray = open_ray(workers)

        # other machines may have other weights under the same name
        fingerprint = folder_identity(model).fingerprint if workers.ray_address else None

        def arguments(placement: Placement) -> tuple[ModelConfig, int, str | None]:
            device = model.device if placement.gpus or model.device != "auto" else "cpu"
            return model.model_copy(update={"device": device}), placement.cpus, fingerprint

        try:
            self._crew = RayCrew(self._ray, workers, self.kind, arguments)
        except UserError:
            self.close()
            raise
        self._affinity = Affinity()
        self._crew.gone = self._affinity.forget
        # by method: a token takes another time to score, to write and to go back from
        self._dispatchers: dict[str, Dispatcher] = {}

    @property
    def crew(self) -> RayCrew:
        """The workers.

        Raises:
            ValueError: they were given back.
        """
        if self._crew is None:
            raise ValueError("the fleet is closed")
        return self._crew

    @property
    def placement(self) -> Placement:
        """How many workers it began with, and what each is given."""
        return self.crew.placement

    def info(self) -> ModelInfo:
        """Wait until every worker has loaded the model; return what all of them know.

        Raises:
            UserError: they would not score alike, or the model cannot be loaded.
        """
        return self.crew.info()

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

        def on_done(key: Hashable, scores: TokenScores) -> None:
            results[key] = scores
            on_result(key, scores)

        self.crew.grow()
        seconds = self._dispatcher("score").seconds_per_cost(self.crew.workers)
        spread = self._affinity.spread(units, seconds)
        queues = {
            w: [_task(t.work.key, t.cost, t.work) for t in queue] for w, queue in spread.items()
        }
        self._work_off("score", queues, on_done)
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return the scores of requests, in order, each sequence forwarded by itself; every worker
        does a part.

        Raises:
            UserError, MachineError: as `score`.
        """
        shares = shares_by_sequence(requests, len(self.crew.workers))
        sizes = [len(r.fed) for r in requests]
        done = self._shared("score_plain", shares, sizes, lambda s: ([requests[i] for i in s],))
        return joined(done, len(requests))

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout:
        """Return the `top` likeliest next tokens after each context, in order; every worker reads
        neighbours, which share their beginnings.

        Raises:
            UserError, MachineError: as `score`.
        """
        order = sorted(range(len(contexts)), key=contexts.__getitem__)
        shares = [part.tolist() for part in np.array_split(order, len(self.crew.workers))]
        sizes = [len(context) for context in contexts]
        done = self._shared("readout", shares, sizes, lambda s: ([contexts[i] for i in s], top))
        return joined_readout(done, len(contexts))

    def gains(self, asked: Exchange) -> Gains:
        """Return the first-order gains of an exchange of tokens; every worker does a part of its
        requests.

        Raises:
            UserError, MachineError: as `score`.
        """
        shares = shares_by_sequence(asked.requests, len(self.crew.workers))
        sizes = [len(r.fed) for r in asked.requests]
        done = self._shared("gains", shares, sizes, lambda share: (asked.part(share),))
        first, *others = (found for _, found in sorted(done, key=lambda part: part[0]))
        total: Gains = sum(others, first)
        return total

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order; a group of requests lost with
        its worker is done again.

        Raises:
            UserError, MachineError: as `score`.
        """
        costs = {g: sum(len(r.prompt) + r.max_tokens for r in g) for g in group_requests(requests)}
        groups = sorted(costs, key=costs.__getitem__, reverse=True)
        workers = self.crew.workers
        queues = {
            worker: [_task(group, costs[group], group) for group in groups[first :: len(workers)]]
            for first, worker in enumerate(workers)
        }
        decoded: dict[Decoding, Decoded] = {}
        self._work_off(
            "generate",
            queues,
            lambda group, written: decoded.update(zip(group, written, strict=True)),
        )
        return in_order(requests, decoded)

    def _shared(
        self,
        what: str,
        shares: Sequence[list[int]],
        sizes: Sequence[int],
        arguments: Callable[[list[int]], tuple[Any, ...]],
    ) -> list[tuple[list[int], Any]]:
        """Have each worker do a share; return the shares with what they gave, as they came. `sizes`
        has the tokens of what the shares are of.
        """
        done: list[tuple[list[int], Any]] = []
        queues = {
            worker: [_task(share, sum(sizes[i] for i in share), *arguments(share))] if share else []
            for worker, share in zip(self.crew.workers, shares, strict=True)
        }
        self._work_off(what, queues, lambda share, found: done.append((share, found)))
        return done

    def _work_off(
        self,
        what: str,
        queues: Mapping[Any, Sequence[Task[Piece]]],
        on_done: Callable[[Any, Any], None],
    ) -> None:
        self.crew.what = what
        self._dispatcher(what).run(queues, lambda piece, result: on_done(piece[0], result))

    def _dispatcher(self, what: str) -> Dispatcher:
        return self._dispatchers.setdefault(what, Dispatcher(self.crew))

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts; nobody waits for
        it.
        """
        self.crew.tell("pin", list(prompts))

    def work_done(self) -> list[Work]:
        """Return what each worker that is there has done so far."""
        found = []
        for worker, (host, pid) in self.crew.places().items():
            known = [d.paces[worker] for d in self._dispatchers.values() if worker in d.paces]
            busy, cost = sum(p.busy for p in known), sum(p.cost for p in known)
            found.append(Work(worker, f"{host}:{pid}", busy, cost))
        return found

    def worker_pids(self) -> list[int]:
        """Return the process id of each worker."""
        return self.crew.pids()

    def close(self) -> None:
        """End the workers, and Ray where it was started here. A second call waits for the first and
        does nothing.
        """
        with self._closing:
            if self._crew is not None:
                self._crew.close()
            if self._owns_ray:
                self._owns_ray = False
                self._ray.shutdown()


def _task(key: Any, cost: float, *arguments: Any) -> Task[Piece]:
    return Task((key, arguments), cost)
