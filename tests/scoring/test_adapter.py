"""PEFT adapters: scores are those of the adapted model, the adapter is part of the fingerprint, and
one of another model is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.local import LocalBackend
from evoprompt.backends.server.backend import ServerBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import with_absolute_model
from evoprompt.scoring import adapter
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.trie import TokenRequest

REQUEST = TokenRequest((5, 17, 40), (33, 8))


@pytest.fixture(scope="module")
def lora(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of rank 2 of the tiny model, with random weights that are not small."""
    import peft
    import torch
    import transformers

    torch.manual_seed(3)
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    peft.get_peft_model(network, config).save_pretrained(str(folder))
    return folder


def score(model: ModelConfig) -> float:
    executor = LocalBackend().open(model, WorkersConfig(backend="local", threads=1))
    found = executor.score([WorkUnit(0, (REQUEST,))], lambda *_: None)[0]
    return float(found.log_likelihood[0])


def test_a_score_with_an_adapter_is_that_of_the_adapted_network(tiny_model: Path, lora: Path):
    import peft
    import torch
    import transformers

    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    adapted = peft.PeftModel.from_pretrained(network, str(lora)).eval()
    tokens = torch.tensor([[*REQUEST.context, *REQUEST.continuation]])
    with torch.inference_mode():
        rows = adapted(input_ids=tokens).logits[0].log_softmax(-1)
    # the answer's tokens 33 and 8 are predicted after the third and the fourth token
    want = float(rows[2, 33] + rows[3, 8])
    found = score(ModelConfig(name=str(tiny_model), adapter=str(lora), memo=False))
    assert found == pytest.approx(want, abs=1e-4)
    assert abs(found - score(ModelConfig(name=str(tiny_model), memo=False))) > 0.1


def test_the_fingerprint_is_of_the_model_and_of_the_adapters_weights_and_settings(
    tiny_model: Path, lora: Path, tmp_path: Path
):
    def fingerprint(folder: Path | None) -> str:
        name = None if folder is None else str(folder)
        return LocalBackend().identify(ModelConfig(name=str(tiny_model), adapter=name)).fingerprint

    other = shutil.copytree(lora, tmp_path / "other")
    assert fingerprint(other) == fingerprint(lora) != fingerprint(None)
    settings = json.loads((other / adapter.CONFIG).read_text())
    (other / adapter.CONFIG).write_text(json.dumps(settings | {"lora_alpha": 64}))
    changed = fingerprint(other)
    assert changed != fingerprint(lora)
    change(other, lambda weights: {k: v + 1 for k, v in weights.items()})
    assert fingerprint(other) not in (changed, fingerprint(lora))


def change(folder: Path, changed: Any) -> None:
    from safetensors.numpy import load_file, save_file

    file = folder / adapter.WEIGHTS[0]
    save_file(changed(load_file(file)), file)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda w: dict(list(w.items())[1:]), "it lacks base_model.model.model.layers.0"),
        (
            lambda w: w | {next(iter(w)).replace("layers.0", "layers.7"): next(iter(w.values()))},
            "the model has no layer for base_model.model.model.layers.7",
        ),
        (lambda w: {k: np.vstack([v, v]) for k, v in w.items()}, "has the shape"),
    ],
    ids=["a weight too few", "a layer too many", "another width"],
)
def test_an_adapter_of_another_model_is_refused_with_what_it_was_made_for(
    tiny_model: Path, lora: Path, tmp_path: Path, changed: Any, told: str
):
    other = shutil.copytree(lora, tmp_path / "other")
    settings = json.loads((other / adapter.CONFIG).read_text())
    made_for = settings | {"base_model_name_or_path": "lab/larger"}
    (other / adapter.CONFIG).write_text(json.dumps(made_for))
    change(other, changed)
    with pytest.raises(UserError, match="cannot be merged into this model") as caught:
        TransformersLM(tiny_model, adapter=other)
    assert told in str(caught.value)
    assert "it was made for 'lab/larger'" in str(caught.value)


def test_an_adapter_for_layers_that_the_model_has_not_is_refused(
    tiny_model: Path, lora: Path, tmp_path: Path
):
    other = shutil.copytree(lora, tmp_path / "other")
    settings = json.loads((other / adapter.CONFIG).read_text())
    (other / adapter.CONFIG).write_text(json.dumps(settings | {"target_modules": ["c_attn"]}))
    with pytest.raises(UserError, match="cannot be merged into this model.*c_attn"):
        TransformersLM(tiny_model, adapter=other)


def test_what_is_no_adapter_is_told_with_its_cure(
    tiny_model: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UserError, match=r"is no PEFT adapter: it needs adapter_config.json"):
        adapter.resolve_adapter(str(tiny_model))
    with pytest.raises(UserError, match="there is no adapter 'lora/x/y'"):
        adapter.resolve_adapter("lora/x/y")
    with pytest.raises(UserError, match=r"set model.adapter to it, and model.name to"):
        resolve_model(str(lora))
    here = ModelConfig(adapter=lora.name)
    assert with_absolute_model(here, lora.parent).adapter == str(lora)
    server = ServerBackend().at(WorkersConfig(backend="server", url="http://127.0.0.1:9"))
    with pytest.raises(UserError, match="start the server with the merged weights"):
        server.identify(ModelConfig(name=str(tiny_model), adapter=str(lora)))
    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'evoprompt\[peft\]'"):
        adapter.resolve_adapter(str(lora))
