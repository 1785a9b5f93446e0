"""Servers of each dialect: their scores, what they cost, and each way in which they fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.model_server import served_model

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.server import client as http
from evoprompt.backends.server.backend import ServerBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import MachineError, UserError
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.trie import Features, TokenRequest

NODES, PATHS = ("vllm", "sglang"), ("llama.cpp", "echo")
REQUESTS = (
    TokenRequest((5, 6, 7), (8, 9)),
    TokenRequest((5, 6, 7), (8, 10)),
    TokenRequest((5, 6, 7), (11,)),
    TokenRequest((5, 6), (7,)),
)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(http, "PAUSES", (0.01,))
    monkeypatch.delenv(http.KEY, raising=False)


def opened(url: str, folder: Path, **keys):
    workers = WorkersConfig(backend="server", url=url, **keys)
    return ServerBackend().at(workers).open(ModelConfig(name=str(folder)), workers)


def scored(executor, *units, on_result=lambda *_: None):
    return executor.score([WorkUnit(i, u) for i, u in enumerate(units)], on_result)


@pytest.mark.parametrize("dialect", [*NODES, *PATHS])
def test_each_dialect_gives_the_log_likelihoods_of_its_model(dialect, tiny_model):
    with served_model(dialect, tiny_model) as (url, model):
        executor = opened(url, tiny_model)
        assert executor.info().path == dialect
        scores = scored(executor, REQUESTS)[0]
        expected = [model.score(r.context, r.continuation) for r in REQUESTS]
        np.testing.assert_allclose(scores.log_likelihood, expected, atol=1e-12)
        first = int(model.row([5, 6]).argmax())
        likeliest = (TokenRequest((5, 6), (first,)), TokenRequest((5, 6), ((first + 1) % 50,)))
        assert scored(executor, likeliest)[0].is_greedy.tolist() == [True, False]
        executor.close()


@pytest.mark.parametrize(("dialect", "asked"), [("vllm", 3), ("sglang", 3), ("llama.cpp", 4)])
def test_beginnings_are_sent_once_depth_first(dialect, asked, tiny_model):
    with served_model(dialect, tiny_model) as (url, model):
        executor = opened(url, tiny_model)
        model.prompts.clear()
        scores = scored(executor, REQUESTS)[0]
        # nodes: [5 6], [5 6 7], [5 6 7 8]; paths: one for each request
        assert len(model.prompts) == scores.count.forwards == asked
        assert model.prompts == sorted(model.prompts)
        assert scores.count.floor_body_tokens == 4
        if dialect == "vllm":  # 2 of the first, 1 of the second, 1 of the third: each but the last
            assert scores.count.body_tokens == 2 + 1 + 1


@pytest.mark.parametrize(("block", "sent"), [(None, 2 + 1 + 1), (1, 2 + 1 + 1), (2, 2 + 1 + 2)])
def test_tokens_are_those_that_the_server_tells_of_and_else_that_is_said(block, sent, tiny_model):
    with served_model("vllm", tiny_model) as (url, model):
        model.block = block
        executor = opened(url, tiny_model)
        assert ("does not tell" in executor.info().reason) == (block is None)
        model.prompts.clear()
        # [5 6] is new; of [5 6 7] and of [5 6 7 8] whole blocks are kept
        assert scored(executor, REQUESTS)[0].count.body_tokens == sent


@pytest.mark.parametrize("dialect", NODES)
def test_words_are_read_where_tokens_can_be_named(dialect, tiny_model):
    words = tuple(range(12, 50)) + tuple(range(52, 101))
    with served_model(dialect, tiny_model) as (url, model):
        unit = WorkUnit("u", REQUESTS, features=Features(words * 2, (0, 3)))
        read = opened(url, tiny_model).score([unit], lambda *_: None)["u"].features
        expected = [model.row(list(c))[list(words * 2)] for c in ((5, 6, 7), (5, 6))]
        np.testing.assert_allclose(read, expected, atol=1e-12)


@pytest.mark.parametrize("dialect", ["vllm", "sglang", "llama.cpp"])
def test_what_is_written_ends_at_a_stop_token(dialect, tiny_model):
    with served_model(dialect, tiny_model) as (url, model):
        executor = opened(url, tiny_model)
        [whole] = executor.generate([Decoding((5, 6), 4)])
        assert whole.drawn == tuple(model._drawn([5, 6], 4))
        assert whole.log_likelihood == pytest.approx(model.score((5, 6), whole.drawn))
        [ended] = executor.generate([Decoding((5, 6), 4, stop=(whole.drawn[2],))])
        assert ended.is_stopped
        assert ended.tokens == whole.drawn[:2]


@pytest.mark.parametrize(
    ("dialect", "fault", "said"),
    [
        *((d, "fewer", "log-probabilities of") for d in ("vllm", "sglang", "llama.cpp", "echo")),
        *((d, "ignores", "log-probabilities of") for d in ("vllm", "sglang", "llama.cpp")),
        *((d, "tokens", "other tokens for") for d in ("vllm", "sglang", "llama.cpp", "echo")),
        *((d, "nan", "gives nan as a log-probability") for d in (*NODES, *PATHS)),
        ("vllm", "key", "wants a key, and none is in the environment variable EVOPROMPT_API_KEY"),
        ("vllm", "nonsense", "which is no answer of its kind"),
    ],
)
def test_a_server_that_cannot_score_is_refused_when_it_is_opened(dialect, fault, said, tiny_model):
    with served_model(dialect, tiny_model) as (url, model):
        model.fault = fault
        with pytest.raises(UserError, match=said):
            opened(url, tiny_model)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("down", "broke off"), ("500", "answers 500"), ("slow", "no answer within 0.1 s")],
)
def test_a_server_that_fails_loses_nothing_that_was_scored(fault, said, tiny_model, monkeypatch):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.1)
    with served_model("vllm", tiny_model) as (url, model):
        executor = opened(url, tiny_model, count=1)
        model.fault, model.after = fault, len(model.prompts) + 3
        told: list[int] = []
        with pytest.raises(MachineError, match=said):
            scored(executor, *[REQUESTS] * 4, on_result=lambda key, _: told.append(key))
        assert told == [0], "and those that waited for their turn are not waited for"
        model.fault = ""
        assert scored(executor, REQUESTS)[0].log_likelihood.shape == (4,)


def test_an_answer_of_500_is_asked_for_again(tiny_model, monkeypatch):
    with served_model("vllm", tiny_model) as (url, model):
        executor = opened(url, tiny_model)
        monkeypatch.setattr(http.time, "sleep", lambda _: setattr(model, "fault", ""))
        model.fault = "500"
        assert np.isfinite(scored(executor, REQUESTS)[0].log_likelihood).all()


def test_addresses_and_models_that_are_none_are_said(tiny_model):
    with pytest.raises(UserError, match=r"needs workers\.url"):
        ServerBackend().at(WorkersConfig(backend="server"))
    for url in ("localhost:8000", "ftp://x", "http://[x"):
        with pytest.raises(UserError, match="is no address of a server"):
            opened(url, tiny_model)
    with pytest.raises(UserError, match="has a name or a password"):
        opened("http://me:secret@127.0.0.1", tiny_model)
    with pytest.raises(MachineError, match="cannot be reached"):
        opened("http://127.0.0.1:9", tiny_model)
    with served_model("vllm", tiny_model) as (url, model):
        model.paths = ("/v1/models", "/tokenize")
        with pytest.raises(UserError, match=r"has no /completion"):
            opened(url, tiny_model, dialect="llama.cpp")
        model.paths = ("/elsewhere",)
        with pytest.raises(UserError, match=r"has no /v1/models"):
            opened(url, tiny_model)
        model.paths = ()
        with pytest.raises(UserError, match="has the models 'served', not 'mine'"):
            opened(url, tiny_model, served_model="mine")
        model.names = ["one", "two"]
        with pytest.raises(UserError, match="has the models 'one', 'two'"):
            opened(url, tiny_model)
        assert opened(f"{url}/v1/", tiny_model, served_model="two").info().window == 4096


def test_the_key_is_sent_and_written_nowhere(tiny_model, monkeypatch):
    monkeypatch.setenv(http.KEY, "sk-secret")
    with served_model("vllm", tiny_model) as (url, model):
        executor = opened(url, tiny_model)
        assert set(model.keys) == {"Bearer sk-secret"}
        assert "sk-secret" not in repr(executor.info())
        model.fault = "500"
        with pytest.raises(MachineError, match=r"Bearer \*\*\*"):
            scored(executor, REQUESTS)


def test_identity_follows_the_served_model_and_not_its_address(tiny_model):
    config = ModelConfig(name=str(tiny_model))
    found = []
    for dialect, name in (("vllm", "a"), ("vllm", "a"), ("vllm", "b"), ("sglang", "a")):
        with served_model(dialect, tiny_model) as (url, model):
            model.names = [name]
            workers = WorkersConfig(backend="server", url=url)
            found.append(ServerBackend().at(workers).identify(config).fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 3
