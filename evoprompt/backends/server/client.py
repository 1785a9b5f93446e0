"""Asks a server for JSON: with time limits, and once more where it may be a passing trouble. The
key comes from the environment, and is written nowhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from evoprompt.errors import MachineError, UserError, clip, quoted
from evoprompt.interrupt import raise_if_interrupted

#: The environment variable with the server's key. One of its own: a key of another service is sent
#: to nobody else.
KEY = "EVOPROMPT_API_KEY"
#: Seconds until a server is connected to, and until it answers.
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 120.0
#: Seconds before each further try; the server has restarted by the last, or it is lost.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Answers that may be others the next time.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Client:
    """Asks one server. May be used by several threads.

    Args:
        url: of the server, without the path of what is asked; a last `/v1` is left out.
        where: the address stands in a configuration, for errors.

    Raises:
        UserError: it is no address of HTTP, or has a password in it.
    """

    def __init__(self, url: str, where: str = "workers.url") -> None:
        self._where = where
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            raise _no_address(url, where) from None
        if parts.username or parts.password:
            raise UserError(
                f"{where} has a name or a password in it; leave them out, and give the key in "
                f"the environment variable {KEY}"
            )
        if not known or parts.query or parts.fragment:
            raise _no_address(url, where)
        self.url = url.rstrip("/").removesuffix("/v1")
        self._session = requests.Session()

    def get(self, path: str) -> Any:
        """Return the answer to a question without a body, None where there is no such path.

        Raises:
            UserError: the server refuses the question.
            MachineError: it gives no answer.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to a question; otherwise as `get`."""
        return self._ask("POST", path, body)

    def close(self) -> None:
        """End the connections."""
        self._session.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        trouble = ""
        for pause in (*PAUSES, None):
            raise_if_interrupted()
            try:
                answer = self._session.request(
                    method,
                    self.url + path,
                    json=body,
                    headers=_authorization(),
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,  # a key goes to no other address
                )
            except requests.Timeout:
                trouble = f"gave no answer within {ANSWER_SECONDS:g} s"
            except requests.ConnectionError:
                trouble = "cannot be reached or broke off the connection"
            except requests.RequestException as error:
                trouble = f"gave no answer ({type(error).__name__})"
            else:
                if answer.status_code not in PASSING:
                    return self._read(answer, path)
                trouble = f"answers {answer.status_code} ({_said(answer)})"
            if pause is not None:
                time.sleep(pause)
        raise MachineError(
            f"the server {self.url} {trouble}, after {len(PAUSES) + 1} tries; look whether it runs "
            f"and whether {self._where} is its address; what was scored is kept"
        )

    def _read(self, answer: requests.Response, path: str) -> Any:
        status = answer.status_code
        if status in (401, 403):
            state = "does not accept" if os.environ.get(KEY) else "wants a key, and none is in"
            raise UserError(
                f"the server {self.url} {state} the environment variable {KEY} (HTTP {status}); "
                "set it to the server's key"
            )
        if status in (404, 405):
            return None
        if status != 200:
            raise UserError(
                f"the server {self.url} refuses {path} (HTTP {status}: {_said(answer)}); look at "
                f"{self._where}, the server's dialect, and the length that it allows"
            )
        try:
            return answer.json()
        except ValueError:
            raise nonsense(self.url, path, answer.text) from None


def nonsense(url: str, path: str, answer: object) -> UserError:
    """Return what is said of an answer that cannot be read."""
    return UserError(
        f"the server {url} answers {path} with {quoted(answer)}, which is no answer of its kind; "
        "set workers.dialect to what it is (vllm, llama.cpp, sglang or echo), or workers.url to "
        "the address of a server of models"
    )


def _authorization() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _said(answer: requests.Response) -> str:
    key = os.environ.get(KEY)
    text = " ".join(answer.text.split())
    return clip(text.replace(key, "***") if key else text) or "nothing more"


def _no_address(url: str, where: str) -> UserError:
    return UserError(
        f"{where}={quoted(url)} is no address of a server; give one like http://127.0.0.1:8000"
    )
