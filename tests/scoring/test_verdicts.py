"""Verdicts on disk: a model is probed once, and a file that is damaged is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evoprompt.config.sections import ModelConfig
from evoprompt.scoring import probe
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.probe import Verdict
from evoprompt.scoring.trie import TokenRequest
from evoprompt.scoring.verdicts import keep_verdict, read_verdict, verdict_file

VERDICT = Verdict("packed", "because", packed_length=100, chunk_tokens=64)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOPROMPT_MEMO", str(tmp_path / "cache" / "memo.sqlite"))


def test_what_is_kept_is_read_again_and_nothing_else_lies_about():
    file = verdict_file(("a", "b"))
    assert read_verdict(file) is None
    keep_verdict(file, VERDICT)
    assert read_verdict(file) == VERDICT
    assert [f.name for f in file.parent.iterdir()] == [file.name]
    assert verdict_file(("a", "c")) != file != verdict_file(("ab",))


def test_a_damaged_file_is_no_verdict():
    file = verdict_file(("a",))
    keep_verdict(file, VERDICT)
    whole = file.read_bytes()
    damaged = [whole[:n] for n in range(len(whole) - 2)]
    damaged += [whole.replace(b"100", b"900"), whole.replace(b"packed", b"plain_"), b"[1]", b"\xff"]
    kept = json.loads(whole)
    damaged += [json.dumps(kept | {"verdict": wrong}).encode() for wrong in ({}, None, "x")]
    for content in damaged:
        file.write_bytes(content)
        assert read_verdict(file) is None, content


def test_a_cache_that_cannot_be_written_costs_nothing_but_another_probe(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    keep_verdict(verdict_file(("a",)), VERDICT)
    assert read_verdict(verdict_file(("a",))) is None


def test_a_second_load_does_not_probe_and_gives_the_same_bits(tiny_model: Path, monkeypatch):
    config = ModelConfig(name=str(tiny_model), chunk_tokens=64)
    first = load_scorer(config, 1)
    monkeypatch.setattr(probe, "probe_requests", None)  # calling it would be an error
    second = load_scorer(config, 1)
    assert (second.path, second.reason) == (first.path, first.reason)
    requests = [TokenRequest((1, 5, n), (7, 8)) for n in range(9)]
    assert (
        first.score(requests).log_likelihood.tolist()
        == second.score(requests).log_likelihood.tolist()
    )
    with pytest.raises(TypeError):  # other passes are probed by themselves
        load_scorer(config.model_copy(update={"chunk_tokens": 32}), 1)


def test_other_weights_are_probed_anew(tiny_model: Path, tmp_path: Path, monkeypatch):
    load_scorer(ModelConfig(name=str(tiny_model)), 1)
    other = shutil.copytree(tiny_model, tmp_path / "other")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-2] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(probe, "probe_requests", None)
    load_scorer(ModelConfig(name=str(tiny_model)), 1)
    with pytest.raises(TypeError):
        load_scorer(ModelConfig(name=str(other)), 1)
