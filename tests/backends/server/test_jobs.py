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
