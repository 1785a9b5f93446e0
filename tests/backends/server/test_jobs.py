"""Jobs whose model is behind a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.model_server import served_model

from evoprompt.backends.server import client as http
from evoprompt.errors import MachineError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.evolve.writers import writer_config


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "way"), [("sglang", "head"), ("llama.cpp", "labelled")])
def test_a_run_that_a_server_ended_goes_on_at_another_address(
    dialect: str, way: str, config_file: Path, tmp_path: Path, tiny_model: Path, monkeypatch
):
    monkeypatch.setattr(http, "PAUSES", ())
    monkeypatch.delenv(http.KEY, raising=False)
    with served_model(dialect, tiny_model) as (url, model):
        sets = ["workers.backend=server", "fitness.calibration=head", "evolution.generations=2"]
        config = load_config(config_file, [*sets, f"workers.url={url}", "workers.count=1"])
        whole = start(config, tmp_path / "whole")
        asked = len(model.prompts)
        provenance = json.loads((tmp_path / "whole" / "provenance.json").read_text())
        assert provenance["calibration"]["way"] == way
        model.fault, model.after = "down", asked + asked // 2
        with pytest.raises(MachineError, match="broke off the connection"):
            start(config, tmp_path / "broken")
    with served_model(dialect, tiny_model) as (url, _):
        went_on = resume(tmp_path / "broken", [f"workers.url={url}"])
    assert went_on["champion"] == whole["champion"]
    lineages = [(tmp_path / n / "lineage.jsonl").read_text() for n in ("whole", "broken")]
    assert lineages[0] == lineages[1]


def test_a_writer_may_be_on_a_server_or_beside_one(config_file: Path):
    sets = ["evolution.operators={instruction_paraphrase: 1.0}"]
    own = load_config(config_file, [*sets, "workers.backend=server", "workers.url=http://a"])
    assert writer_config(own) is None
    there = load_config(config_file, [*sets, "writer.url=http://b"])
    other = writer_config(there)
    assert other is not None
    assert (other.workers.backend, other.workers.url) == ("server", "http://b")
    assert other.model.name == there.model.name
    with_model = own.model_copy(update={"writer": own.writer.model_copy(update={"model": "m"})})
    beside = writer_config(with_model)
    assert beside is not None
    assert (beside.workers.backend, beside.model.name) == ("local", "m")
