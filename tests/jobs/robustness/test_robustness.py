"""A measurement under changes of a run on a tiny random model: its plan, kills and resumes, what it
shows, and what it refuses.
"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from rich.console import Console

from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start as evolve
from evoprompt.jobs.robustness import session
from evoprompt.jobs.robustness.folder import ROBUSTNESS, RobustnessFolder
from evoprompt.jobs.robustness.record import ATTACK, NONE
from evoprompt.jobs.robustness.tracked import points_of

SETTINGS = [
    *("draws=2", "sources=[label_synonyms,format,input_casing]", "attack.edits=1"),
    *("attack.candidates=2", "attack.examples=4"),
]


@pytest.fixture(scope="module")
def run(long_model: Path, task_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, calibrated, whose champion is not the starting prompt."""
    folder = tmp_path_factory.mktemp("robustness")
    (folder / "tiny.yaml").write_text(
        f"""
model: {{name: "{long_model}", chunk_tokens: 256, memo: false, prefix_store_mib: 0}}
task: {{path: "{task_file}", fitness_examples: 4, validation_examples: 4, test_examples: 12,
  label_words: {{bad: [poor, sad], good: [great, fine]}}}}
fitness: {{calibration: labelled, demonstrations_prior: 0}}
evolution: {{population: 2, children: 2, generations: 1, novelty: id, racing: {{method: "off"}},
  examples: {{first: null}}}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
    )
    evolve(load_config(folder / "tiny.yaml"), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_kill_and_a_resume_lead_to_the_same_lines(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = StringIO()
    planned = session.show_plan(run, SETTINGS, Console(file=out, width=120))
    assert f"{planned:,} tokens" in out.getvalue()
    session.start(run, SETTINGS, tmp_path / "whole")
    whole = RobustnessFolder.open(tmp_path / "whole").read("summary.json")
    shown, said = [0], session._line

    def stop(*told: Any) -> str:
        shown[0] += 1
        if shown[0] in (3, 11):
            raise KeyboardInterrupt
        return said(*told)

    monkeypatch.setattr(session, "_line", stop)
    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        session.start(run, SETTINGS, parts)
    assert "has not ended" in job_of(parts).report(parts).read_text()
    with pytest.raises(KeyboardInterrupt):
        job_of(parts).resume(parts)
    job_of(parts).resume(parts)
    lines = [(tmp_path / name / ROBUSTNESS).read_bytes() for name in ("whole", "parts")]
    assert lines[0] == lines[1]
    again = RobustnessFolder.open(parts).read("summary.json")
    assert again["findings"] == whole["findings"]
    assert again["tokens"]["prefill"] == whole["tokens"]["prefill"]
    work = whole["tokens"]
    assert work["prefill"] - work["by_phase"]["check"] <= planned
    with pytest.raises(UserError, match="is complete"):
        job_of(parts).resume(parts)
    with pytest.raises(UserError, match="has none of its own"):
        job_of(parts).champion(parts)
    _check_cells(run, tmp_path / "whole")
    _check_page(tmp_path / "whole")


def _check_cells(run: Path, folder: Path) -> None:
    """Prompts as they are answer as the run's own test did, each with its calibration."""
    test = json.loads((run / "summary.json").read_text())["test"]
    cells = RobustnessFolder.open(folder).cells()
    plain = {cell.subject: cell for cell in cells if cell.source == NONE}
    assert list(plain) == ["baseline", "champion"]
    for name, cell in plain.items():
        assert sum(cell.right) / len(cell.right) == pytest.approx(test[name]["value"])
    assert [len(cell.edits) <= 1 for cell in cells if cell.source == ATTACK] == [True, True]
    for source in ("label_synonyms", "format", "input_casing"):
        draws = [(c.subject, c.draw) for c in cells if c.source == source]
        assert [subject for subject, _ in draws] == ["baseline"] * 2 + ["champion"] * 2
        assert draws == sorted(set(draws))


def _check_page(folder: Path) -> None:
    (folder / "report.html").unlink()
    text = job_of(folder).report(folder).read_text()
    assert text.count("<svg") == 1
    for words in ("The attack", "worst of m", "same wrong answer", "share left"):
        assert words in text
    [point] = points_of(RobustnessFolder.open(folder))
    assert "robust/flip_rate/champion format" in point.metrics
    assert "robust/worst_of_2/baseline input_casing" in point.metrics


def test_bad_input_is_refused_before_a_folder_is_made(run: Path, tmp_path: Path):
    for setting, words in {
        "sources=[typo]": "sources has 'typo'; did you mean 'typos'",
        "sources=[typos,typos]": "sources has a name twice",
        "attack.sources=[label_synonyms]": "attack.sources has 'label_synonyms'",
        "label_synonyms={god: [fine]}": "label_synonyms names 'god', which is no choice of task",
        "draw=3": "draw",
    }.items():
        with pytest.raises(UserError, match=words.replace("[", r"\[")):
            session.start(run, [setting], tmp_path / "new")
    with pytest.raises(UserError, match="no run in"):
        session.start(tmp_path / "nowhere", [], tmp_path / "new")
    free = tmp_path / "free"
    copytree(run, free)
    with pytest.raises(UserError, match="answers in free form"):
        session.start(free, ["task.written=true", "task.label_words={}"], tmp_path / "new")
    (free / "summary.json").unlink()
    with pytest.raises(UserError, match="is not complete, so it has no champion yet"):
        session.start(free, [], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_champion_that_is_the_starting_prompt_is_measured_once(run: Path, tmp_path: Path):
    same = tmp_path / "same"
    copytree(run, same)
    summary = json.loads((same / "summary.json").read_text())
    summary["champion"] = {**summary["champion"], "policy": summary["baseline"]["policy"]}
    summary.pop("checksum")
    (same / "summary.json").write_text(json.dumps(summary))
    found = session.start(same, [*SETTINGS, "sources=[format]"], tmp_path / "out")
    assert any("the champion is the starting prompt" in note for note in found["notes"])
    assert [p["subject"] for p in found["findings"]["plain"]] == ["champion"]
    assert not found["findings"]["gains"]


@pytest.mark.slow
def test_wrong_scores_are_measured_again_each_sequence_by_itself(run: Path, tmp_path: Path):
    settings = [*SETTINGS[:1], "sources=[input_distractor]", "attack.edits=0"]
    wrong = ["workers.backend=toys.inexact:InexactBackend"]
    session.start(run, [*settings, *wrong], tmp_path / "wrong")
    session.start(run, [*settings, "model.scoring=plain"], tmp_path / "plain")
    folders = [RobustnessFolder.open(tmp_path / name) for name in ("wrong", "plain")]
    assert folders[0].config().model.scoring == "plain"
    assert "begun_again" in folders[0].read("provenance.json")
    for one, other in zip(*(folder.cells() for folder in folders), strict=True):
        assert (one.policy, one.answers) == (other.policy, other.answers)
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-4)
