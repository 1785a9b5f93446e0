"""The contract of backends over those of the package, and broken ones that it must catch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toys.model_server import served_model

from evoprompt.backends.local import LocalBackend, LocalExecutor
from evoprompt.backends.ray import RayBackend
from evoprompt.backends.server.backend import ServerBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.testing.backends import check_backend


def test_the_model_in_this_process_holds_the_contract(tiny_model: Path):
    check_backend(LocalBackend(), ModelConfig(name=str(tiny_model), chunk_tokens=64))


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_on_ray_hold_the_contract(tiny_model: Path, ray_session):
    model = ModelConfig(name=str(tiny_model), chunk_tokens=64)
    check_backend(RayBackend(), model, WorkersConfig(count=2, gpus_per_worker=0))


class Longer(LocalExecutor):
    """Adds a nat for each request in its company."""

    def score(self, units, on_result):
        scores = super().score(units, on_result)
        return {
            key: replace(s, log_likelihood=s.log_likelihood - len(s.log_likelihood))
            for key, s in scores.items()
        }


def test_a_backend_whose_scores_depend_on_their_company_is_caught(tiny_model: Path, monkeypatch):
    model = ModelConfig(name=str(tiny_model), chunk_tokens=64)
    backend = LocalBackend()
    opened = backend.open(model, WorkersConfig(backend="local"))
    monkeypatch.setattr(LocalBackend, "open", lambda *_: Longer(opened._scorer))
    with pytest.raises(AssertionError):
        check_backend(backend, model)


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp", "sglang"])
def test_a_model_behind_a_server_holds_the_contract(dialect: str, tiny_model: Path):
    with served_model(dialect, tiny_model) as (url, _):
        workers = WorkersConfig(backend="server", url=url)
        check_backend(ServerBackend().at(workers), ModelConfig(name=str(tiny_model)), workers)
