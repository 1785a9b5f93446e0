"""A real server of llama.cpp, held against the engine of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.gguf_file import write_gguf
from toys.llama_server import llama_server

import evoprompt as ep
from evoprompt.backends.base import WorkUnit
from evoprompt.backends.local import LocalBackend
from evoprompt.backends.server.backend import ServerBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.trie import TokenRequest
from evoprompt.testing.backends import check_backend

pytest.importorskip("xllamacpp", reason="the wheel xllamacpp (extra dev) is not installed")

#: Requests as a policy has them: a long beginning, examples, choices of one to three tokens.
ANSWERS = ((12,), (13, 14), (15, 16, 17), (18,))


def requests() -> tuple[TokenRequest, ...]:
    draw = np.random.default_rng(0).integers(20, 90, size=(9, 24)).tolist()
    contexts = [(*draw[0], *draw[0][::-1], *row) for row in draw[1:]]
    return tuple(TokenRequest(context, answer) for context in contexts for answer in ANSWERS)


def assert_alike(url: str, name: str, tokens_at_most: float) -> None:
    """The server's log-likelihoods are this engine's within a thousandth of a nat a token."""
    workers, model = WorkersConfig(backend="server", url=url), ModelConfig(name=name)
    executor = ServerBackend().at(workers).open(model, workers)
    unit = WorkUnit("unit", requests())
    there = executor.score([unit], lambda *_: None)["unit"]
    executor.close()
    here = LocalBackend().open(model, WorkersConfig(backend="local"))
    expected = here.score([unit], lambda *_: None)["unit"]
    nats = np.abs(there.log_likelihood - expected.log_likelihood)
    assert (nats / [len(r.continuation) for r in unit.requests]).max() < 1e-3
    assert there.count.floor_body_tokens == expected.count.floor_body_tokens
    assert there.count.body_tokens <= tokens_at_most * there.count.floor_body_tokens


@pytest.mark.slow
def test_a_server_of_llama_cpp_scores_as_this_engine_does(tiny_model: Path, tmp_path: Path):
    write_gguf(tiny_model, tmp_path / "tiny.gguf")
    with llama_server(tmp_path / "tiny.gguf") as url:
        assert_alike(url, str(tiny_model), tokens_at_most=1.3)
        workers = WorkersConfig(backend="server", url=url)
        check_backend(ServerBackend().at(workers), ModelConfig(name=str(tiny_model)), workers)


@pytest.mark.slow
def test_commands_ask_a_server_of_llama_cpp(tiny_model: Path, config_file: Path, tmp_path: Path):
    write_gguf(tiny_model, tmp_path / "tiny.gguf")
    keys = ["workers.backend=server", "evolution.generations=1", "evolution.children=2"]
    with llama_server(tmp_path / "tiny.gguf") as url:
        start(load_config(config_file, [*keys, f"workers.url={url}"]), tmp_path / "run")
        workers = WorkersConfig(backend="server", url=url)
        first, again = (
            ServerBackend().at(workers).open(ModelConfig(name=str(tiny_model)), workers)
            for _ in range(2)
        )
        assert first.info() == again.info(), "the same weights are known again"
        pairs = [("a good", " film"), ("a bad", " meal")]
        there = [s.log_likelihood for s in ep.score(pairs, model=str(tiny_model), backend=url)]
        run = ep.load(tmp_path / "run")
        answers = run.predict(["a good film", "a bad meal"])
        run.close()
    here = [s.log_likelihood for s in ep.score(pairs, model=str(tiny_model))]
    np.testing.assert_allclose(there, here, atol=1e-2)
    assert set(answers) <= {"good", "bad"}


@pytest.mark.slow
@pytest.mark.real_model
def test_smollm2_behind_llama_cpp_scores_as_this_engine_does(tmp_path: Path):
    write_gguf(resolve_model("smollm2-135m"), tmp_path / "smollm2.gguf")
    with llama_server(tmp_path / "smollm2.gguf") as url:
        assert_alike(url, "smollm2-135m", tokens_at_most=1.3)
        workers = WorkersConfig(backend="server", url=url)
        with pytest.raises(UserError, match="no model 'nothing'"):
            ServerBackend().at(workers).open(ModelConfig(name="nothing"), workers)
