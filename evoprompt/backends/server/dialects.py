"""What each kind of server is asked for log-probabilities, and how its answers are read.

A dialect reads nodes or paths. A *node* is a beginning with any tokens that may follow: vLLM and
SGLang give the log-probabilities of tokens that are named. A *path* is a beginning with one
continuation: llama.cpp is made to write it by a grammar of token ids, and gives the
log-probabilities from before the grammar; a server that echoes gives those of what it is sent.
Prompts are sent as token ids. An answer of other tokens, or of fewer, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from evoprompt.backends.server.client import Client, nonsense
from evoprompt.errors import UserError, quoted
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.trie import Tokens

#: Token ids that vLLM gives the log-probabilities of in one answer.
VLLM_TOKENS = 128
#: The least that a log-probability is read as: below it is what servers write for minus infinity.
LEAST = -1e4
#: How far rounding may lift a log-probability above 0.
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Read:
    """What a server said of some tokens."""

    log_prob: tuple[float, ...]  #: nats, of each token that was asked for
    is_first: tuple[bool, ...]  #: whether it is the model's first choice there
    sent: int  #: tokens of the prompt and of what was written that had to be forwarded; -1: unsaid


@dataclass(frozen=True, slots=True)
class Written:
    """What a server wrote."""

    tokens: Tokens
    log_prob: tuple[float, ...]  #: nats
    is_ended: bool  #: by a stop token, which may be the last of them or not among them
    sent: int  #: of the prompt; -1: unsaid


class Dialect(Protocol):
    """A kind of server."""

    name: str
    reads_nodes: bool  #: `read` takes tokens side by side, else one after another

    def read(self, client: Client, model: str, beginning: Tokens, tokens: Tokens) -> Read:
        """Return what the server says of tokens after a beginning, in order.

        Raises:
            UserError, MachineError: it says nothing of them, or no sense.
        """

    def write(self, client: Client, model: str, asked: Decoding) -> Written | None:
        """Return what the server writes, or None where it gives no token ids."""

    def window(self, client: Client, listed: Mapping[str, Any]) -> int | None:
        """Return the tokens that fit into a prompt, where the server says so; `listed` is how it
        lists its model.
        """

    def is_read_as(self, client: Client, model: str, text: str, tokens: Tokens) -> bool:
        """Return whether the server's model has these tokens for a text."""


class Vllm:
    """vLLM, from 0.32: `logprob_token_ids`. Its prefix cache is used."""

    name, reads_nodes = "vllm", True

    def read(self, client: Client, model: str, beginning: Tokens, tokens: Tokens) -> Read:
        """As `Dialect.read`."""
        found: dict[int, float] = {}
        first, sent = -1, 0
        for start in range(0, len(tokens), VLLM_TOKENS):
            part = list(tokens[start : start + VLLM_TOKENS])
            body = _completion(model, beginning, 1) | {"logprob_token_ids": part}
            with _Answer(client, "/v1/completions", body) as answer:
                logprobs = answer["choices"][0]["logprobs"]
                found |= {_token(k): float(v) for k, v in logprobs["top_logprobs"][0].items()}
                first = _token(logprobs["tokens"][0])
                sent += _vllm_sent(answer, beginning)
        return _node(client, tokens, found, first, sent)

    def write(self, client: Client, model: str, asked: Decoding) -> Written:
        """As `Dialect.write`."""
        body = _completion(model, asked.prompt, asked.max_tokens) | {
            "temperature": asked.temperature,
            "seed": asked.seed,
            "stop_token_ids": list(asked.stop),
        }
        with _Answer(client, "/v1/completions", body) as answer:
            choice = answer["choices"][0]
            tokens = tuple(_token(t) for t in choice["logprobs"]["tokens"])
            values = tuple(float(v) for v in choice["logprobs"]["token_logprobs"])
            ended = choice["finish_reason"] == "stop"
            return Written(tokens, values, ended, _vllm_sent(answer, asked.prompt))

    def window(self, client: Client, listed: Mapping[str, Any]) -> int | None:
        """As `Dialect.window`."""
        found = listed.get("max_model_len")
        return int(found) if found else None

    def is_read_as(self, client: Client, model: str, text: str, tokens: Tokens) -> bool:
        """As `Dialect.is_read_as`."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        with _Answer(client, "/tokenize", body) as answer:
            return tuple(answer["tokens"]) == tokens


class LlamaCpp:
    """A server of llama.cpp: its own `/completion`. Its prompt cache is used."""

    name, reads_nodes = "llama.cpp", False

    def read(self, client: Client, model: str, beginning: Tokens, tokens: Tokens) -> Read:
        """As `Dialect.read`."""
        body = _llama(beginning, len(tokens)) | {
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in tokens),
        }
        with _Answer(client, "/completion", body) as answer:
            read = answer["completion_probabilities"][: len(tokens)]
            _same(client, [int(place["id"]) for place in read], tokens)
            return Read(
                _checked(client, [float(place["logprob"]) for place in read]),
                tuple(place["id"] == place["top_logprobs"][0]["id"] for place in read),
                int(answer["timings"]["prompt_n"]) + len(tokens) - 1,
            )

    def write(self, client: Client, model: str, asked: Decoding) -> Written:
        """As `Dialect.write`."""
        body = _llama(asked.prompt, asked.max_tokens) | {
            "temperature": asked.temperature,
            "seed": asked.seed % 2**32,
            "samplers": ["temperature"],
        }
        with _Answer(client, "/completion", body) as answer:
            read = answer.get("completion_probabilities") or []
            tokens = tuple(int(place["id"]) for place in read)
            values = tuple(float(place["logprob"]) for place in read)
            ended = answer["stop_type"] == "eos"
            return Written(tokens, values, ended, int(answer["timings"]["prompt_n"]))

    def window(self, client: Client, listed: Mapping[str, Any]) -> int | None:
        """As `Dialect.window`: what each of its slots has."""
        settings = (client.get("/props") or {}).get("default_generation_settings") or {}
        return int(settings["n_ctx"]) if settings.get("n_ctx") else None

    def is_read_as(self, client: Client, model: str, text: str, tokens: Tokens) -> bool:
        """As `Dialect.is_read_as`."""
        with _Answer(client, "/tokenize", {"content": text}) as answer:
            return tuple(answer["tokens"]) == tokens


class Sglang:
    """SGLang: its own `/generate` with `token_ids_logprob`. Its prefix cache is used."""

    name, reads_nodes = "sglang", True

    def read(self, client: Client, model: str, beginning: Tokens, tokens: Tokens) -> Read:
        """As `Dialect.read`."""
        body = _sglang(beginning, 1, 0.0) | {"token_ids_logprob": list(tokens)}
        with _Answer(client, "/generate", body) as answer:
            about = answer["meta_info"]
            found = {int(t): float(v) for v, t, *_ in about["output_token_ids_logprobs"][0]}
            first = int(about["output_token_logprobs"][0][1])
            return _node(client, tokens, found, first, _sglang_sent(about, beginning))

    def write(self, client: Client, model: str, asked: Decoding) -> Written:
        """As `Dialect.write`."""
        body = _sglang(asked.prompt, asked.max_tokens, asked.temperature)
        body["sampling_params"] |= {
            "stop_token_ids": list(asked.stop),
            "sampling_seed": asked.seed % 2**31,
        }
        with _Answer(client, "/generate", body) as answer:
            about = answer["meta_info"]
            read = about["output_token_logprobs"]
            ended = about["finish_reason"]["type"] == "stop"
            tokens, values = (tuple(row[i] for row in read) for i in (1, 0))
            return Written(tokens, values, ended, _sglang_sent(about, asked.prompt))

    def window(self, client: Client, listed: Mapping[str, Any]) -> int | None:
        """As `Dialect.window`."""
        found = listed.get("max_model_len")
        return int(found) if found else None

    def is_read_as(self, client: Client, model: str, text: str, tokens: Tokens) -> bool:
        """As `Dialect.is_read_as`: a begin token that it puts before the text is passed over."""
        body = _sglang((), 1, 0.0) | {"text": text, "logprob_start_len": 0}
        del body["input_ids"]
        with _Answer(client, "/generate", body) as answer:
            found = [int(row[1]) for row in answer["meta_info"]["input_token_logprobs"]]
            return tuple(found[-len(tokens) :]) == tokens


class Echo:
    """Any server of OpenAI's Completions that echoes the prompt with its log-probabilities. The
    whole prompt is forwarded each time.
    """

    name, reads_nodes = "echo", False

    def read(self, client: Client, model: str, beginning: Tokens, tokens: Tokens) -> Read:
        """As `Dialect.read`."""
        whole = beginning + tokens
        body = {"model": model, "prompt": list(whole), "max_tokens": 1, "temperature": 0}
        with _Answer(client, "/v1/completions", body | {"logprobs": 1, "echo": True}) as answer:
            said = answer["choices"][0]["logprobs"]
            # the prompt's and the one that was written, or the prompt's alone
            if len(said["token_logprobs"]) not in (len(whole), len(whole) + 1):
                raise _unread(client, len(whole), len(said["token_logprobs"]))
            places = slice(len(beginning), len(whole))
            values = _checked(client, [float(v) for v in said["token_logprobs"][places]])
            best = [max(map(float, top.values())) for top in said["top_logprobs"][places]]
            is_first = tuple(v >= b for v, b in zip(values, best, strict=True))
            return Read(values, is_first, len(whole))

    def write(self, client: Client, model: str, asked: Decoding) -> None:
        """As `Dialect.write`: it gives texts only."""

    def window(self, client: Client, listed: Mapping[str, Any]) -> int | None:
        """As `Dialect.window`."""
        found = listed.get("max_model_len")
        return int(found) if found else None

    def is_read_as(self, client: Client, model: str, text: str, tokens: Tokens) -> bool:
        """As `Dialect.is_read_as`: the text comes back."""
        body = {"model": model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0}
        with _Answer(client, "/v1/completions", body | {"logprobs": 1, "echo": True}) as answer:
            return str(answer["choices"][0]["text"]).lstrip().startswith(text)


#: By name.
DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (LlamaCpp(), Sglang(), Vllm(), Echo())}


#: Who a server says its models are owned by -> its dialect.
OWNERS = {"vllm": "vllm", "llamacpp": "llama.cpp", "sglang": "sglang"}


class _Answer:
    """The answer to a question; what in it is missing or of another kind is said."""

    def __init__(self, client: Client, path: str, body: Mapping[str, Any]) -> None:
        self._client, self._path, self._body = client, path, body
        self._found: Any = None

    def __enter__(self) -> Any:
        self._found = self._client.post(self._path, self._body)
        if self._found is None:
            raise UserError(
                f"the server {self._client.url} has no {self._path}, or not the model "
                f"{quoted(self._body.get('model'))}; look at workers.url, workers.dialect and "
                "workers.served_model"
            )
        if not isinstance(self._found, dict):
            raise nonsense(self._client.url, self._path, self._found)
        return self._found

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        mistakes = (KeyError, IndexError, TypeError, ValueError, AttributeError)
        if isinstance(error, mistakes) and not isinstance(error, UserError):
            raise nonsense(self._client.url, self._path, self._found) from None


def _completion(model: str, prompt: Tokens, max_tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": max_tokens,
        "temperature": 0,
        "top_k": 0,
        "min_p": 0,
        "logprobs": 1,
        "return_tokens_as_token_ids": True,
        "add_special_tokens": False,
    }


def _llama(prompt: Tokens, max_tokens: int) -> dict[str, Any]:
    return {
        "prompt": list(prompt),
        "n_predict": max_tokens,
        "n_probs": 1,
        "temperature": 0,
        "cache_prompt": True,
        "samplers": [],
    }


def _sglang(prompt: Tokens, max_tokens: int, temperature: float) -> dict[str, Any]:
    sampling = {"max_new_tokens": max_tokens, "temperature": temperature}
    return {"input_ids": list(prompt), "sampling_params": sampling, "return_logprob": True}


def _vllm_sent(answer: Mapping[str, Any], prompt: Tokens) -> int:
    cached = ((answer.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens")
    return -1 if cached is None else len(prompt) - int(cached)


def _sglang_sent(about: Mapping[str, Any], prompt: Tokens) -> int:
    return len(prompt) - int(about["cached_tokens"]) if "cached_tokens" in about else -1


def _token(named: str) -> int:
    return int(named.removeprefix("token_id:"))


def _node(
    client: Client, tokens: Tokens, found: Mapping[int, float], first: int, sent: int
) -> Read:
    lacking = [token for token in tokens if token not in found]
    if lacking:
        raise _unread(client, len(tokens), len(tokens) - len(lacking))
    values = _checked(client, [found[token] for token in tokens])
    return Read(values, tuple(token == first for token in tokens), sent)


def _checked(client: Client, values: Sequence[float]) -> tuple[float, ...]:
    for value in values:
        if value != value or value > ROUNDING:
            raise UserError(
                f"the server {client.url} gives {value} as a log-probability; give one with a "
                "model whose numbers are sound, or another workers.dialect"
            )
    return tuple(max(v, LEAST) if isfinite(v) else LEAST for v in values)


def _same(client: Client, found: Sequence[int], asked: Tokens) -> None:
    if tuple(found) != asked:
        num = sum(1 for _ in _alike(found, asked))
        raise _unread(client, len(asked), num)


def _alike(found: Sequence[int], asked: Tokens) -> Iterator[int]:
    for one, other in zip(found, asked, strict=False):
        if one != other:
            return
        yield one


def _unread(client: Client, asked: int, given: int) -> UserError:
    return UserError(
        f"the server {client.url} gives log-probabilities of {given} of the {asked} tokens that it "
        "was asked for: it does not read those of given tokens; use vLLM 0.32 or later, llama.cpp, "
        "SGLang or one that echoes, and workers.dialect to match"
    )
