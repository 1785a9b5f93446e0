"""Which worker gets which unit: where the beginning of its prompts is likely to be stored, and who
would be done first.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.dispatch import Task

#: Beginnings that are remembered; stores hold fewer.
REMEMBERED = 50_000
#: Workers with the same beginning that are weighed against each other.
WEIGHED = 8


class Affinity:
    """Remembers who was given which beginnings of prompts, so that their stores may have them."""

    def __init__(self) -> None:
        self._holders: OrderedDict[int, dict[Any, None]] = OrderedDict()

    def spread(
        self, units: Sequence[WorkUnit], seconds: Mapping[Any, float]
    ) -> dict[Any, deque[Task[WorkUnit]]]:
        """Return a queue for each worker: the largest units first, each to where it would be done
        first, given what the worker's store has and how fast it is. O(units log workers).

        Scores do not depend on it. Where two workers' stores hold the same segment, it was
        forwarded twice.

        Args:
            units: any.
            seconds: of each worker, for a token.
        """
        queues: dict[Any, deque[Task[WorkUnit]]] = {worker: deque() for worker in seconds}
        load = dict.fromkeys(seconds, 0.0)
        numbers = {worker: number for number, worker in enumerate(seconds)}
        workers = list(seconds)
        idlest = [(0.0, number) for number in range(len(workers))]  # a heap; some are outdated
        costs = [cost_of(unit) for unit in units]
        for at in sorted(range(len(units)), key=costs.__getitem__, reverse=True):
            unit, cost = units[at], costs[at]
            while idlest[0][0] != load[workers[idlest[0][1]]]:
                heapq.heappop(idlest)
            ends = list(zip(unit.cuts, unit.beginnings(), strict=True))
            best = min(
                (
                    (load[worker] + (cost - saved) * seconds[worker], numbers[worker])
                    for worker, saved in self._weighed(ends, workers[idlest[0][1]])
                    if worker in load
                ),
            )
            worker = workers[best[1]]
            load[worker] = best[0]
            heapq.heappush(idlest, best)
            queues[worker].append(Task(unit, cost))
            self._remember((b for _, b in ends), worker)
        return queues

    def _weighed(self, ends: Sequence[tuple[int, int]], idlest: Any) -> Iterable[tuple[Any, int]]:
        """Return workers that may do a unit, each with the tokens that its store spares: the idlest
        and those with the longest beginnings.
        """
        saved: dict[Any, int] = {}
        for cut, beginning in reversed(ends):
            holders = self._holders.get(beginning, {})
            for worker in islice(holders, WEIGHED):
                saved.setdefault(worker, cut)
            if idlest in holders:
                saved.setdefault(idlest, cut)
        saved.setdefault(idlest, 0)
        return saved.items()

    def _remember(self, beginnings: Iterable[int], worker: Any) -> None:
        for beginning in beginnings:
            holders = self._holders.setdefault(beginning, {})
            holders.pop(worker, None)
            holders[worker] = None
            self._holders.move_to_end(beginning)
        while len(self._holders) > REMEMBERED:
            self._holders.popitem(last=False)

    def forget(self, worker: Any) -> None:
        """Forget a worker that is gone: what it had is gone with it."""
        for holders in self._holders.values():
            holders.pop(worker, None)


def cost_of(unit: WorkUnit) -> int:
    """Return about how many tokens a unit takes where nothing of it is stored: the shared ones, and
    each prompt's own.
    """
    shared = unit.cuts[-1] if unit.cuts else 0
    own = {request.context[shared:] for request in unit.requests}
    return shared + sum(map(len, own))
