"""What is missing is told with its cure, and a look leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.jobs import doctor
from evoprompt.jobs.doctor import examine


def found(runs: Path) -> dict[str, tuple[str, str]]:
    return {f.what: (f.mark, f.text) for f in examine(runs)}


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_whole_machine_has_nothing_that_fails_and_stays_as_it_was(tmp_path: Path):
    told = found(tmp_path / "runs")
    assert [what for what, (mark, _) in told.items() if mark == "fails"] == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_fails_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no_such_package"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    told = found(tmp_path)
    assert told["packages"][0] == "fails"
    assert "no_such_package; pip install" in told["packages"][1]
    assert told["MLflow"][0] == "fails"
    assert "tracking.enabled=false" in told["MLflow"][1]
    assert "secret" not in told["MLflow"][1]


def test_a_look_that_the_machine_refuses_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused() -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(doctor, "cache_folder", refused)
    assert found(tmp_path)["disk"] == ("fails", "not permitted")


def test_a_look_says_what_the_machine_computes_with_and_fits_a_screen(tmp_path: Path):
    told = found(tmp_path)
    assert "bf16" in told["numbers"][1]
    assert "OMP_NUM_THREADS" in told["threads"][1]
    assert str(doctor.UI_PORT) in told["port"][1]
    assert "GB are free" in told["runs"][1]
    # two columns before it: 80 columns leave 54 for the text
    assert sum(-(-len(text) // 54) for _, text in told.values()) <= 30
