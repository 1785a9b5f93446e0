"""Work units -> what a server is asked, and what it says. Beginnings that are read of a unit go one
after another in the order of their tokens, so that each finds the last one's in the server's cache;
units go side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from threading import Event
from typing import TypeVar

import numpy as np

from evoprompt.backends.base import ModelInfo, WorkUnit
from evoprompt.backends.server.client import Client
from evoprompt.backends.server.dialects import Dialect, Read
from evoprompt.errors import MachineError, UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.language_model import check_window
from evoprompt.scoring.trie import TokenRequest, Tokens, count_rows

T = TypeVar("T")


class ServerExecutor:
    """Asks a server. Implements `base.Executor`.

    Args:
        client: closed with it.
        dialect: of the server.
        model: by which name the server has it.
        info: what is known of it; `num_workers` units are asked for at once.
    """

    def __init__(self, client: Client, dialect: Dialect, model: str, info: ModelInfo) -> None:
        self._client, self._dialect, self._model = client, dialect, model
        self._info = info

    def info(self) -> ModelInfo:
        """Return what is known of the model."""
        return self._info

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key. `on_result` has had those of all units that were done when an
        error is raised.

        Raises:
            UserError: a request does not fit the window, or the server's answer is no sense.
            MachineError: the server gives no answer.
        """
        for unit in units:
            check_window(self._info.window, max(len(r.fed) for r in unit.requests) + 1)
        results: dict[Hashable, TokenScores] = {}

        def done(place: int, scores: TokenScores) -> None:
            results[units[place].key] = scores
            on_result(units[place].key, scores)

        self._side_by_side([partial(self._score, unit) for unit in units], done)
        return {unit.key: results[unit.key] for unit in units}

    def score_plain(self, requests: Sequence[TokenRequest]) -> None:
        """A server has one way of scoring."""

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        """A server tells of tokens that are named only."""

    def gains(self, asked: Exchange) -> None:
        """A server gives no gradients."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order.

        Raises:
            UserError, MachineError: as `score`, or the server gives no token ids.
        """
        for request in requests:
            check_window(self._info.window, len(request.prompt) + 1)
        found: dict[int, Decoded] = {}
        works = [partial(self._write, request) for request in requests]
        self._side_by_side(works, found.__setitem__)
        return [found[place] for place in range(len(requests))]

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """The server keeps what it likes."""

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _side_by_side(
        self, works: Sequence[Callable[[Event], T]], done: Callable[[int, T], None]
    ) -> None:
        """Do pieces of work in threads; tell of each as it is done. After an error no piece begins
        anew, and what was done meanwhile is told of.
        """
        stop = Event()
        trouble: BaseException | None = None

        def begun(work: Callable[[Event], T]) -> T:
            if stop.is_set():
                raise MachineError("another request to the server failed")
            return work(stop)

        with ThreadPoolExecutor(self._info.num_workers) as pool:
            places = {pool.submit(begun, work): place for place, work in enumerate(works)}
            try:
                for future in as_completed(places):
                    error = future.exception()
                    if error is None:
                        done(places[future], future.result())
                    else:  # pieces that wait are not cancelled: nobody would hear of these
                        trouble = trouble or error
                        stop.set()
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        if trouble is not None:
            raise trouble

    def _score(self, unit: WorkUnit, stop: Event) -> TokenScores:
        by_node = self._dialect.reads_nodes
        asked = _nodes(unit) if by_node else _paths(unit.requests)
        found: dict[tuple[Tokens, int], tuple[float, bool]] = {}
        body = 0
        before: Tokens = ()
        for beginning, tokens in asked:
            if stop.is_set():
                raise MachineError("another request to the server failed")
            read = self._dialect.read(self._client, self._model, beginning, tokens)
            fed = beginning if by_node else beginning + tokens[:-1]
            body += len(fed) - _common(before, fed) if read.sent < 0 else read.sent
            before = fed
            found |= _entries(beginning, tokens, read, side_by_side=by_node)
        return _scores(unit, found, body, len(asked), features=by_node)

    def _write(self, request: Decoding, _stop: Event) -> Decoded:
        written = self._dialect.write(self._client, self._model, request)
        if written is None:
            raise UserError(
                f"the server {self._client.url} gives no token ids of what it writes "
                f"(workers.dialect: {self._dialect.name}); use vLLM, llama.cpp or SGLang, or leave "
                "out what has the model write"
            )
        tokens, values, ended = written.tokens, written.log_prob, written.is_ended
        for place, token in enumerate(tokens):
            if token in request.stop:
                tokens, values, ended = tokens[: place + 1], values[: place + 1], True
                break
        sent = len(request.prompt) if written.sent < 0 else written.sent
        count = TokenCount(
            body_tokens=sent,
            floor_body_tokens=len(request.prompt),
            head_rows=len(tokens),
            floor_head_rows=len(tokens),
            forwards=1,
            requests=1,
            generated_tokens=len(tokens) - ended,
        )
        return Decoded(tokens, values, ended, count)


def _nodes(unit: WorkUnit) -> list[tuple[Tokens, Tokens]]:
    """Return each beginning after which tokens are asked for, with these, depth first."""
    nodes: dict[Tokens, dict[int, None]] = {}
    for request in unit.requests:
        for place, token in enumerate(request.continuation):
            beginning = request.context + request.continuation[:place]
            nodes.setdefault(beginning, {})[token] = None
    if unit.features is not None:
        for index in unit.features.places:
            nodes[unit.requests[index].context] |= dict.fromkeys(unit.features.tokens)
    return [(beginning, tuple(nodes[beginning])) for beginning in sorted(nodes)]


def _paths(requests: Iterable[TokenRequest]) -> list[tuple[Tokens, Tokens]]:
    """Return the distinct requests, depth first."""
    distinct = sorted(set(requests), key=lambda r: (r.context, r.continuation))
    return [(r.context, r.continuation) for r in distinct]


def _entries(
    beginning: Tokens, tokens: Tokens, read: Read, *, side_by_side: bool
) -> dict[tuple[Tokens, int], tuple[float, bool]]:
    """Return what was read, by the tokens before and the token."""
    found = {}
    for place, (token, value, first) in enumerate(
        zip(tokens, read.log_prob, read.is_first, strict=True)
    ):
        before = beginning if side_by_side else beginning + tokens[:place]
        found[before, token] = (value, first)
    return found


def _scores(
    unit: WorkUnit,
    found: dict[tuple[Tokens, int], tuple[float, bool]],
    body: int,
    asked: int,
    *,
    features: bool,
) -> TokenScores:
    log_likelihood = np.zeros(len(unit.requests))
    is_greedy = np.zeros(len(unit.requests), dtype=bool)
    for index, request in enumerate(unit.requests):
        places = [
            found[request.context + request.continuation[:place], token]
            for place, token in enumerate(request.continuation)
        ]
        log_likelihood[index] = sum(value for value, _ in places)
        is_greedy[index] = all(first for _, first in places)
    read = None
    if unit.features is not None and features:
        contexts = [unit.requests[index].context for index in unit.features.places]
        read = np.array([[found[c, t][0] for t in unit.features.tokens] for c in contexts])
    heads = len({before for before, _ in found})
    count = TokenCount(
        body_tokens=body,
        floor_body_tokens=count_rows(unit.requests),
        head_rows=heads,
        floor_head_rows=heads,
        forwards=asked,
        requests=len(unit.requests),
    )
    return TokenScores(log_likelihood, is_greedy, count, features=read)


def _common(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two beginnings share, but for the last: that is always forwarded."""
    shared = 0
    for a, b in zip(one, other[:-1], strict=False):
        if a != b:
            break
        shared += 1
    return shared
