"""Servers that are no MLflow server: silent, guarded, failing, speaking HTML."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import SystemRandom


@contextmanager
def answering(status: int, body: str, kind: str = "application/json") -> Iterator[str]:
    """Answer every request alike; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 (names that http.server looks for)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """Take connections and say nothing; yield the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


#: Sockets that hold a port and never listen, so that nobody else comes to listen there.
_HELD: list[socket.socket] = []


def nobody() -> str:
    """Return an address where nobody listens."""
    _HELD.append(socket.socket())
    _HELD[-1].bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{_HELD[-1].getsockname()[1]}"


def free_port() -> int:
    """Return a port for a server to come, from below those that the system gives out by itself."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = SystemRandom().randrange(10_000, 30_000)
            listener.bind(("127.0.0.1", port))
            return port


def error_body(code: str, message: str) -> str:
    """Return what MLflow's server answers with an error."""
    return json.dumps({"error_code": code, "message": message})
