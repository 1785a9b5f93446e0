"""A model behind HTTP: the address is the model's name, tokens are bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest, Tokens, count_rows

END = 0  #: the token that ends a text


class ByteTokenizer:
    """Text -> UTF-8 bytes, each plus one. Implements `backends.base.TextTokenizer`."""

    begin_token = END
    break_tokens = frozenset({ord("\n") + 1})
    special_tokens = frozenset({END})

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the token ids of each text."""
        return [tuple(byte + 1 for byte in text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return bytes(token - 1 for token in tokens if token != END).decode(errors="replace")

    def tokens_with(self, text: str) -> frozenset[int]:
        """Return the tokens in whose own text this text stands."""
        return frozenset(byte + 1 for byte in text.encode()) if len(text) == 1 else frozenset()


class HttpExecutor:
    """Asks a server. Implements `backends.base.Executor`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def info(self) -> ModelInfo:
        """Return what the server says of its model."""
        return ModelInfo(
            window=int(ask(self._address, "about", {})["window"]),
            dtype="float64",
            path="http",
            reason="the server scores",
            num_workers=1,
            placement=self._address,
            device="server",
            chunk_tokens=1,
            arithmetic="exact",
        )

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key, unit after unit."""
        results: dict[Hashable, TokenScores] = {}
        for unit in units:
            rows = [[r.context, r.continuation] for r in unit.requests]
            answer = ask(self._address, "score", {"requests": rows})
            count = TokenCount(
                body_tokens=sum(len(r.context) + len(r.continuation) for r in unit.requests),
                floor_body_tokens=count_rows(unit.requests),
                requests=len(unit.requests),
            )
            results[unit.key] = TokenScores(
                np.array(answer["log_likelihood"]), np.array(answer["is_greedy"]), count
            )
            on_result(unit.key, results[unit.key])
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> None:
        """The server has one way of scoring."""

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        """This model cannot be asked for all that it might say next."""

    def gains(self, asked: Exchange) -> None:
        """Nor for its gradient."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order."""
        found = []
        for request in requests:
            body = {"prompt": request.prompt, "max_tokens": request.max_tokens}
            answer = ask(self._address, "generate", body)
            drawn = tuple(answer["tokens"])
            count = TokenCount(body_tokens=len(request.prompt), generated_tokens=len(drawn))
            found.append(Decoded(drawn, tuple(answer["token_logprobs"]), False, count))
        return found

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


class HttpBackend:
    """A model behind HTTP. Implements `backends.base.Backend`."""

    def identify(self, model: ModelConfig) -> Identity:
        """Return the address, and what the server says of its weights."""
        return Identity(model.name, model.name, str(ask(model.name, "about", {})["fingerprint"]))

    def tokenizer(self, identity: Identity) -> ByteTokenizer:
        """Return a tokenizer of bytes."""
        return ByteTokenizer()

    def open(self, model: ModelConfig, workers: WorkersConfig) -> HttpExecutor:
        """Return what asks the server."""
        return HttpExecutor(model.name)


def ask(address: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the server's answer."""
    request = Request(f"{address}/{what}", json.dumps(body).encode(), {"Content-Type": "x/json"})
    with urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found
