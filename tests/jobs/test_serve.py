"""A champion behind HTTP answers as it did in the run, and says what it does not take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

import evoprompt as ep
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.serve import CHAT, COMPLETIONS, MODELS, MOST_BYTES, Desk, Handler, listening

pytestmark = pytest.mark.usefixtures("no_pages")


@pytest.fixture
def run(config_file: Path, tmp_path: Path) -> Path:
    settings = ["fitness.calibration=labelled", "evolution.generations=1"]
    start(load_config(config_file, settings), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    champion = job_of(run).champion(run)
    desk = Desk(champion, asker_of(champion), "run")
    with listening(0) as server:
        server.RequestHandlerClass = partial(Handler, desk)
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
    desk.asker.measurer.close()


def ask(port: int, path: str, body: object = None, **headers: str):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST" if body is not None else "GET", path, text, headers)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def test_the_answer_and_its_probabilities_are_the_champions(run: Path, port: int):
    with_result = ep.load(run)
    [expected] = with_result.probabilities(["a good film"])
    with_result.close()
    messages = [{"role": "user", "content": "a good film"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a good film"}]}]
    for path, body in (
        (CHAT, {"messages": messages}),
        (CHAT, {"messages": parts}),
        (COMPLETIONS, {"prompt": "a good film"}),
    ):
        status, found = ask(port, path, body)
        [choice] = found["choices"]
        answer = choice["message"]["content"] if path == CHAT else choice["text"]
        assert (status, answer) == (200, max(expected, key=lambda a: expected[a]))
        assert choice["probabilities"] == pytest.approx(expected, abs=1e-4)
        assert choice["probability"] == pytest.approx(max(expected.values()), abs=1e-4)
    assert ask(port, MODELS)[1]["data"][0]["id"] == "run"
    for path, body, status, said in (
        (CHAT, b"{no", 400, "no JSON"),
        (CHAT, [1], 400, "no JSON object"),
        (CHAT, {"messages": []}, 400, "do not end with one of the user"),
        (CHAT, {"messages": messages, "stream": True}, 400, "leave stream out"),
        (COMPLETIONS, {"prompt": 3}, 400, "prompt is not a text"),
        (COMPLETIONS, {"prompt": "a " * 4000}, 400, "window"),
        ("/v1/embeddings", {}, 404, "there is no /v1/embeddings"),
    ):
        found = ask(port, path, body)
        assert found[0] == status
        assert said in found[1]["error"]["message"]
    too_large = {"Content-Length": str(MOST_BYTES + 1)}
    assert ask(port, CHAT, b"{}", **too_large)[0] == 413
    assert ask(port, CHAT, {"messages": messages})[0] == 200  # it goes on
    with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is in use"):
        listening(port)
    with pytest.raises(UserError, match="port 70000 of 127.0.0.1 cannot be had"):
        listening(70000)
