"""A champion behind the interface that servers of models have, to try it from other tools: an input
comes in, the answer with its probabilities goes out.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion, identify, job_of
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.predict import examples_of
from evoprompt.measurement.asker import Asker
from evoprompt.tasks.fields import Filled
from evoprompt.terminal import PlainConsole

#: Only programs of this machine reach it.
HOST = "127.0.0.1"
#: Bytes of a request's body, at most.
MOST_BYTES = 2**20
#: Seconds that a request has to arrive.
PATIENCE = 30.0
CHAT, COMPLETIONS, MODELS = "/v1/chat/completions", "/v1/completions", "/v1/models"


class RefusedError(Exception):
    """A request that cannot be answered: its HTTP status, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Desk:
    """Answers as a champion does, one input after another."""

    champion: Champion
    asker: Asker
    name: str
    _lock: Lock = field(default_factory=Lock)

    def answer(self, text: str) -> dict[str, Any]:
        """Return the answer to an input: `text`, `probability`, `probabilities` of each choice.

        Raises:
            RefusedError: there is none.
        """
        row = Filled("the input", text, None, None, None, "")
        try:
            with self._lock:
                [asked] = examples_of(self.champion, [row])
                [found] = self.asker.answers(self.champion.policy, [asked], "predict")
        except UserError as error:
            raise RefusedError(400, str(error)) from None
        shares = dict(zip(asked.choices or (found.text,), found.probabilities, strict=True))
        return {"text": found.text, "probability": found.probability, "probabilities": shares}

    def reply(self, path: str, body: bytes) -> dict[str, Any]:
        """Return the answer to a request, as JSON has it.

        Raises:
            RefusedError: the request is none of those that are answered.
        """
        if path not in (CHAT, COMPLETIONS):
            raise RefusedError(404, f"there is no {path}; POST to {CHAT} or {COMPLETIONS}")
        values = _values(body)
        text = _last_message(values) if path == CHAT else _prompt(values)
        found = self.answer(text)
        answer = found.pop("text")
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": answer}}
            if path == CHAT
            else {"text": answer}
        )
        return {
            "id": f"evoprompt-{time.time_ns()}",
            "object": "chat.completion" if path == CHAT else "text_completion",
            "created": int(time.time()),
            "model": self.name,
            "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": "stop", **found}],
        }


def serve(run: Path, port: int, show: Callable[[str], None], url: str | None = None) -> None:
    """Answer requests as the champion of a complete run or loop until interrupted.

    Args:
        run: the folder.
        port: of this machine alone; 0 takes a free one.
        show: is given the lines for people.
        url: of a server that holds the run's model; None is who scored in the run.

    Raises:
        UserError: there is no complete run, its choices differ by input, or the port is in use.
    """
    champion = job_of(run).champion(run).at(url)
    examples_of(champion, [Filled("a request, which has none", "?", None, None, None, "")])
    with listening(port) as server:
        identify(champion.config, PlainConsole(stderr=True, soft_wrap=True))
        desk = Desk(champion, asker_of(champion), run.resolve().name)
        server.RequestHandlerClass = partial(Handler, desk)
        address = f"http://{HOST}:{server.server_address[1]}/v1"
        show(f"the champion of {run} answers at {address}; Ctrl-C ends it")
        try:
            server.serve_forever()
        finally:
            desk.asker.measurer.close()


def listening(port: int) -> ThreadingHTTPServer:
    """Return a server that has its port and answers nothing yet.

    Raises:
        UserError: the port cannot be had.
    """
    try:
        return ThreadingHTTPServer((HOST, port), BaseHTTPRequestHandler)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {HOST} is in use; give another with --port") from None
        raise UserError(
            f"port {port} of {HOST} cannot be had ({error}); give one from 1024 to 65535 with "
            "--port"
        ) from None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = PATIENCE
    server_version = "evoprompt"

    def __init__(self, desk: Desk, *args: Any) -> None:
        self._desk = desk
        super().__init__(*args)

    def do_GET(self) -> None:
        """Name the champion as the only model."""
        if self.path != MODELS:
            self._send(404, _error(404, f"there is no {self.path}; GET {MODELS}, or POST"))
            return
        model = {"id": self._desk.name, "object": "model", "owned_by": "evoprompt"}
        self._send(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        """Answer an input."""
        try:
            self._send(200, self._desk.reply(self.path, self._body()))
        except RefusedError as error:
            self._send(error.status, _error(error.status, str(error)))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if length is None or not length.isdecimal():
            self.close_connection = True
            raise RefusedError(411, "the request does not say how long it is (Content-Length)")
        if int(length) > MOST_BYTES:
            self.close_connection = True
            raise RefusedError(
                413, f"the body has {length} bytes, and {MOST_BYTES} are the most that are read"
            )
        return self.rfile.read(int(length))

    def _send(self, status: int, values: Mapping[str, Any]) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": status}}


def _values(body: bytes) -> Mapping[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    if not isinstance(values, dict):
        raise RefusedError(400, "the body is no JSON object with the input")
    if values.get("stream"):
        raise RefusedError(400, "an answer comes whole: leave stream out")
    if values.get("n") not in (None, 1):
        raise RefusedError(400, "there is one answer to an input: leave n out")
    return values


def _prompt(values: Mapping[str, Any]) -> str:
    text = values.get("prompt")
    text = text[0] if isinstance(text, list) and len(text) == 1 else text
    return _text(text, "prompt is not a text; it is the input, without the champion's prompt")


def _last_message(values: Mapping[str, Any]) -> str:
    messages = values.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        raise RefusedError(400, "messages do not end with one of the user, which is the input")
    content = last.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "".join(map(str, parts)) if None not in parts else None
    return _text(content, "the last message is not a text; it is the input")


def _text(value: object, otherwise: str) -> str:
    if not isinstance(value, str):
        raise RefusedError(400, otherwise)
    return value
