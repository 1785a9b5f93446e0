"""Norms and gates are compiled where that changes nothing, and left alone where it does or cannot
be done.
"""

from __future__ import annotations

import pytest
import torch
from toys.tiny_models import architectures

from evoprompt.scoring import fusion
from evoprompt.scoring.fusion import fuse_modules


def compile_as(monkeypatch: pytest.MonkeyPatch, change) -> None:
    """Let a compiled module compute `change` of what it computed."""

    def compile_(module: torch.nn.Module, *, dynamic: bool) -> None:
        module._compiled_call_impl = lambda *inputs: change(module.forward(*inputs))

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)


@pytest.mark.parametrize(
    ("name", "count"), [("llama", 3 * 3 + 1), ("gemma3", 3 * 7 + 1), ("gpt2", 3), ("opt", 0)]
)
def test_norms_and_gates_are_compiled(name: str, count: int, monkeypatch: pytest.MonkeyPatch):
    compile_as(monkeypatch, lambda values: values)
    network = architectures()[name]()
    assert fuse_modules(network) == count
    assert sum(m._compiled_call_impl is not None for m in network.modules()) == count


def test_only_calls_of_many_rows_are_compiled(monkeypatch: pytest.MonkeyPatch):
    compiled: list[torch.Size] = []
    compile_as(monkeypatch, lambda values: compiled.append(values.shape) or values)
    network = architectures()["llama"]()
    fuse_modules(network)
    compiled.clear()
    with torch.inference_mode():
        network(input_ids=torch.arange(fusion.LEAST_ROWS)[None] % 101)
        assert len(compiled) == 10
        network(input_ids=torch.arange(fusion.LEAST_ROWS - 1)[None] % 101)
    assert len(compiled) == 10


@pytest.mark.parametrize("fault", ["wrong", "refused"])
def test_modules_that_change_the_logits_or_do_not_compile_stay_plain(
    fault: str, monkeypatch: pytest.MonkeyPatch
):
    def change(values: torch.Tensor) -> torch.Tensor:
        if fault == "refused":
            raise RuntimeError("no compiler")
        return values * 1.01

    compile_as(monkeypatch, change)
    network = architectures()["llama"]()
    tokens = torch.arange(20)[None]
    plain = network(input_ids=tokens).logits
    assert fuse_modules(network) == 0
    assert torch.equal(network(input_ids=tokens).logits, plain)
