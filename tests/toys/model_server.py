"""Servers of a random model in a thread, one for each dialect, that can also fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zlib import crc32

import numpy as np

from evoprompt.scoring.tokenizer import Tokenizer

OWNERS = {"vllm": "vllm", "llama.cpp": "llamacpp", "sglang": "sglang", "echo": "someone"}


class ModelServer:
    """A model with its own random distribution after each context.

    `fault` is what goes wrong from the request number `after` on: `down`, `500`, `nonsense`,
    `slow`, `ignores` (log-probabilities of other tokens), `fewer`, `nan`, `tokens` (another
    tokenizer), `key` (wants one).
    """

    def __init__(self, dialect: str, folder: Path) -> None:
        self.dialect, self.tokenizer = dialect, Tokenizer(folder)
        self.size = json.loads((folder / "config.json").read_text())["vocab_size"]
        self.names = ["served"]
        self.paths: tuple[str, ...] = ()  #: the only ones that there are, if any are given
        self.fault, self.after = "", 0
        self.weights = 0  #: another number, other weights
        self.noise = 0.0  #: nats that are added to every log-probability
        self.block: int | None = None  #: tokens that its cache keeps together; None tells nothing
        self.prompts: list[list[int]] = []  #: that were read, in order
        self._rows: dict[int, np.ndarray] = {}
        self.messages: list[list[dict[str, str]]] = []  #: of chats, in order
        self.said, self.finish = "Sort the mail by {} rules.\nAs you asked.", "stop"
        self.keys: list[str | None] = []

    def row(self, context: list[int]) -> np.ndarray:
        """Log-probabilities of the next token."""
        seed = crc32(repr(list(context)).encode()) + self.weights
        if seed not in self._rows:
            logits = np.random.default_rng(seed).normal(size=self.size)
            self._rows[seed] = logits - np.logaddexp.reduce(logits)
        return self._rows[seed]

    def score(self, context: tuple[int, ...], continuation: tuple[int, ...]) -> float:
        whole = list(context + continuation)
        places = range(len(context), len(whole))
        return sum(float(self.row(whole[:i])[whole[i]]) for i in places)

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/models":
            listed = {"owned_by": OWNERS[self.dialect], "max_model_len": 4096}
            return {"data": [{"id": name, **listed} for name in self.names]}
        if path == "/props":
            return {"default_generation_settings": {"n_ctx": 4096}}
        if path == "/tokenize":
            [tokens] = self.tokenizer.encode(
                [body.get("content") or body["prompt"]], add_special_tokens=False
            )
            return {"tokens": [*tokens, 1] if self.fault == "tokens" else list(tokens)}
        if path == "/v1/chat/completions":
            return self._chat(body)
        prompt = body.get("prompt") or body.get("input_ids") or []
        self.prompts.append(list(prompt))
        by_path = {"/completion": self._llama, "/generate": self._sglang}
        return by_path.get(path, self._echo if body.get("echo") else self._vllm)(prompt, body)

    def _chat(self, body: dict[str, Any]) -> Any:
        """Write an instruction with the seed in it; all messages are kept."""
        self.messages.append(body["messages"])
        self.prompts.append([])
        message = {"role": "assistant", "content": self.said.format(body["seed"] % 1000)}
        usage = {"prompt_tokens": 50, "completion_tokens": 7}
        choice = {"message": message, "finish_reason": self.finish}
        return {"choices": [choice], "usage": usage}

    def _asked(self, tokens: list[int]) -> list[int]:
        """The tokens that the answer is of."""
        if self.fault == "ignores":
            return [(token + 1) % self.size for token in tokens]
        return tokens[:-1] if self.fault == "fewer" else tokens

    def _drawn(self, prompt: list[int], num: int) -> list[int]:
        tokens: list[int] = []
        for _ in range(num):
            tokens.append(int(self.row([*prompt, *tokens]).argmax()))
        return tokens

    def _value(self, context: list[int], token: int) -> float:
        return float("nan") if self.fault == "nan" else self.row(context)[token] - self.noise

    def _vllm(self, prompt: list[int], body: dict[str, Any]) -> Any:
        tokens = self._drawn(prompt, body["max_tokens"])
        named = self._asked(body.get("logprob_token_ids", []))
        assert len(named) <= 128
        logprobs = {
            "tokens": [f"token_id:{t}" for t in tokens],
            "token_logprobs": [
                self._value([*prompt, *tokens[:i]], t) for i, t in enumerate(tokens)
            ],
            "top_logprobs": [{f"token_id:{t}": self._value(prompt, t) for t in named}],
        }
        choice = {"text": "", "logprobs": logprobs, "finish_reason": "length"}
        return {"choices": [choice], **self._usage(prompt)}

    def _usage(self, prompt: list[int]) -> dict[str, Any]:
        """What vLLM tells with --enable-prompt-tokens-details."""
        if self.block is None:
            return {}
        kept = [0]
        for before in self.prompts[:-1]:
            alike = [a == b for a, b in zip(before, prompt[:-1], strict=False)]
            num = alike.index(False) if False in alike else len(alike)
            kept.append(num // self.block * self.block)
        return {"usage": {"prompt_tokens_details": {"cached_tokens": max(kept)}}}

    def _sglang(self, prompt: list[int], body: dict[str, Any]) -> Any:
        if "text" in body:
            [read] = self.tokenizer.encode([body["text"]], add_special_tokens=False)
            other = [*read, 1] if self.fault == "tokens" else read
            return {"meta_info": {"input_token_logprobs": [[0.0, t, None] for t in other]}}
        tokens = self._drawn(prompt, body["sampling_params"]["max_new_tokens"])
        named = self._asked(body.get("token_ids_logprob", []))
        return {
            "meta_info": {
                "finish_reason": {"type": "length"},
                "output_token_logprobs": [
                    [self._value([*prompt, *tokens[:i]], t), t, None] for i, t in enumerate(tokens)
                ],
                "output_token_ids_logprobs": [[[self._value(prompt, t), t, None] for t in named]],
            }
        }

    def _llama(self, prompt: list[int], body: dict[str, Any]) -> Any:
        forced = [int(t.strip("<[]>")) for t in body.get("grammar", "").split()[2:]]
        tokens = self._asked(forced) if forced else self._drawn(prompt, body["n_predict"])
        places = []
        for place, token in enumerate(tokens):
            before = [*prompt, *tokens[:place]]
            first = {"id": int(self.row(before).argmax())}
            value = self._value(before, token)
            places.append({"id": token, "logprob": value, "top_logprobs": [first]})
        return {
            "completion_probabilities": places,
            "timings": {"prompt_n": len(prompt)},
            "stop_type": "limit",
        }

    def _echo(self, prompt: list[int], body: dict[str, Any]) -> Any:
        read = self._asked(prompt)
        rows = [self.row(read[:i]) for i in range(1, len(read))]
        values = [None, *(self._value(read[:i], read[i]) for i in range(1, len(read)))]
        tops = [None, *({"best": float(row.max())} for row in rows)]
        text = "other" if self.fault == "tokens" else self.tokenizer.decode(prompt)
        logprobs = {"token_logprobs": values, "top_logprobs": tops}
        return {"choices": [{"text": text, "logprobs": logprobs}]}


@contextmanager
def served_model(dialect: str, folder: Path) -> Iterator[tuple[str, ModelServer]]:
    """Serve on this machine alone; yield the address and the server's model."""
    model = ModelServer(dialect, folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            model.keys.append(self.headers["Authorization"])
            fault = model.fault if len(model.prompts) >= model.after else ""
            if fault == "down":
                self.connection.close()
                return
            if fault == "slow":
                time.sleep(0.3)
            status = {"500": 500, "key": 401}.get(fault, 200)
            if model.paths and self.path not in model.paths:
                status = 404
            if fault == "nonsense":
                text = "<html>It works!</html>"
            elif status != 200:
                text = "no " + str(self.headers["Authorization"])
            else:
                text = json.dumps(model.answer(self.path, body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that went away, or a connection that was broken off on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
