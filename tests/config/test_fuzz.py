"""Configurations with mistakes, by the dozen: each is read, or refused with a sentence."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "fuzz_configs.py"
spec = spec_from_file_location("fuzz_configs", SCRIPT)
assert spec is not None
assert spec.loader is not None
fuzz_configs = module_from_spec(spec)
sys.modules["fuzz_configs"] = fuzz_configs
spec.loader.exec_module(fuzz_configs)


@pytest.mark.parametrize("kind", list(fuzz_configs.KINDS))
def test_a_file_with_mistakes_is_read_or_refused(tmp_path: Path, kind: str):
    counts, faults = fuzz_configs.fuzz(kind, 60, 2, tmp_path)
    assert faults == []
    assert counts["read"] > 0 < counts["refused"]


def test_what_is_no_sentence_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Power twin: a check with a fault is told, with the number by which it is made again."""
    monkeypatch.setitem(fuzz_configs.KINDS, "broken", (fuzz_configs.KINDS["run"][0], None, len))
    counts, faults = fuzz_configs.fuzz("broken", 3, 2, tmp_path)
    assert counts == {"fault": 3}
    assert faults[0].startswith("broken 0: ")
    assert "TypeError" in faults[0]
