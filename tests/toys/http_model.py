"""A language model of bytes behind HTTP: each context has its own random distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from zlib import crc32

import numpy as np

VOCABULARY, NUM_ROWS, WINDOW = 257, 997, 4096


class ByteModel:
    """log p(next token | context), from one of 997 rows of random logits that the context picks."""

    def __init__(self, seed: int = 0) -> None:
        logits = np.random.default_rng(seed).normal(size=(NUM_ROWS, VOCABULARY))
        logits[:, 0] = -20.0  # a text does not end by itself
        self.rows = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    def next(self, context: list[int]) -> np.ndarray:
        return self.rows[crc32(bytes(t % 256 for t in context)) % NUM_ROWS]

    def score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        total, greedy = 0.0, True
        for place, token in enumerate(continuation):
            row = self.next([*context, *continuation[:place]])
            total, greedy = total + float(row[token]), greedy and int(row.argmax()) == token
        return total, greedy

    def generate(self, prompt: list[int], max_tokens: int) -> tuple[list[int], list[float]]:
        tokens: list[int] = []
        logprobs: list[float] = []
        for _ in range(max_tokens):
            row = self.next([*prompt, *tokens])
            tokens.append(int(row.argmax()))
            logprobs.append(float(row.max()))
        return tokens, logprobs


@contextmanager
def served(model: ByteModel) -> Iterator[str]:
    """Serve a model on this machine alone; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(answers(model, self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answers(model: ByteModel, path: str, body: dict[str, Any]) -> dict[str, Any]:
    if path == "/about":
        return {"fingerprint": "bytes-0", "window": WINDOW}
    if path == "/generate":
        tokens, logprobs = model.generate(body["prompt"], body["max_tokens"])
        return {"tokens": tokens, "token_logprobs": logprobs}
    scored = [model.score(*request) for request in body["requests"]]
    return {"log_likelihood": [s for s, _ in scored], "is_greedy": [g for _, g in scored]}
