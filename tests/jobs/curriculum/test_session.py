"""A curriculum on a tiny random model: its scores, kills and resumes, and what it shows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evoprompt.backends.local import LocalExecutor
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.curriculum import session
from evoprompt.jobs.curriculum.config import load_curriculum
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.regions import load_regions
from evoprompt.jobs.curriculum.tracked import ending_of, point_of
from evoprompt.jobs.export.forms import export
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Policy
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.folder import SUMMARY
from evoprompt.tasks.render import render_queries


@pytest.fixture
def curriculum_file(tmp_path: Path, long_model: Path, task_file: Path) -> Path:
    path = tmp_path / "levels.yaml"
    task = f'{{path: "{task_file}", validation_examples: 4, test_examples: 6}}'
    path.write_text(
        f"""
model: {{name: "{long_model}", chunk_tokens: 256, memo: false}}
regions:
  own: {{task: {task}}}
  shown: {{task: {task}, answers: shown}}
  drawn: {{task: {task}, answers: drawn}}
rounds: 3
examples: 9
population: 2
children: 2
max_demonstrations: 2
tracking: {{enabled: false}}
"""
    )
    return path


def test_regions_have_their_answers_and_share_no_example(curriculum_file: Path):
    own, shown, drawn = load_regions(load_curriculum(curriculum_file)).tasks
    for a, b, c in zip(own.test, shown.test, drawn.test, strict=True):
        assert b.input == f"{a.input} ({a.target})"
        assert (c.input, c.choices) == (a.input, a.choices)
        assert len({a.example_id, b.example_id, c.example_id}) == 3
    # the targets that are drawn belong to the region, and agree with the others half of the time
    agree = np.mean([a.target == c.target for a, c in zip(own.fitness, drawn.fitness, strict=True)])
    assert 0.25 < agree < 0.75
    again = load_regions(load_curriculum(curriculum_file, ["seed=7"])).tasks[2]
    assert again.test == drawn.test
    splits = [{e.example_id for e in s} for s in (own.fitness, own.validation, own.test, own.pool)]
    assert sum(map(len, splits)) == len(set.union(*splits))


@pytest.mark.slow
def test_a_kill_and_a_resume_lead_to_the_same_lines(
    curriculum_file: Path, tmp_path: Path, long_model: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_curriculum(curriculum_file)
    session.start(config, tmp_path / "whole")
    said, shown = session._line, [0]

    def stop(*told: Any) -> str:
        shown[0] += 1
        if shown[0] == 2:
            raise KeyboardInterrupt
        return said(*told)

    monkeypatch.setattr(session, "_line", stop)
    with pytest.raises(KeyboardInterrupt):
        session.start(config, tmp_path / "parts")
    with pytest.raises(UserError, match="is not complete"):
        job_of(tmp_path / "parts").champion(tmp_path / "parts")
    assert "has not ended" in job_of(tmp_path / "parts").report(tmp_path / "parts").read_text()
    job_of(tmp_path / "parts").resume(tmp_path / "parts")
    whole, parts = (CurriculumFolder.open(tmp_path / name) for name in ("whole", "parts"))
    lines = [[line.to_dict() | {"time_ms": 0} for line in f.rounds()] for f in (whole, parts)]
    # the prefix store of a killed run is empty again, so more may be forwarded
    for own in lines:
        for line in own:
            del line["prefill_tokens"]
    assert lines[0] == lines[1]
    lineage = [(f.path / "lineage.jsonl").read_bytes() for f in (whole, parts)]
    assert lineage[0] == lineage[1]
    summaries = [f.read(SUMMARY) for f in (whole, parts)]
    for key in ("champion", "test", "game", "weights", "validation"):
        assert summaries[0][key] == summaries[1][key]
    with pytest.raises(UserError, match="is complete"):
        job_of(tmp_path / "parts").resume(tmp_path / "parts")
    _check_test(whole, long_model)
    _check_shown(whole)


def _check_test(folder: CurriculumFolder, model: Path) -> None:
    """What the summary says of the champion, by the plain forward."""
    summary = folder.read(SUMMARY)
    policy = Policy.from_dict(summary["champion"]["policy"])
    tokenizer = Tokenizer(model)
    executor = LocalExecutor(Scorer(TransformersLM(model, threads=1)))
    values = []
    for task, row in zip(
        load_regions(folder.config()).tasks, summary["test"]["regions"], strict=True
    ):
        queries = render_queries(policy, task.test)
        asked = [request for _, request in requests_of(tokenizer, queries)]
        nats = executor.score_plain(asked).log_likelihood.reshape(len(task.test), 2)
        shares = np.exp(nats - nats.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        own = shares[np.arange(len(task.test)), [e.gold for e in task.test]]
        assert row["champion"]["value"] == pytest.approx(own.mean(), abs=1e-4)
        assert row["num_examples"] == 6
        values.append(own)
    assert summary["test"]["champion"]["value"] == pytest.approx(np.mean(values), abs=1e-4)


def _check_shown(folder: CurriculumFolder) -> None:
    text = job_of(folder.path).report(folder.path).read_text()
    assert text.count("<svg") == 4
    names = list(folder.config().regions)
    first, *_, last = folder.rounds()
    point = point_of(names, last)
    assert point.step == 3
    assert point.metrics["curriculum/regret/drawn"] == last.regret[2]
    assert point.metrics["curriculum/duality_gap"] == last.duality_gap
    assert "curriculum/duality_gap" not in point_of(names, first).metrics
    ending = ending_of(folder)
    assert ending is not None
    assert "| drawn |" in ending.description
    champion = job_of(folder.path).champion(folder.path)
    assert champion.policy.policy_id == folder.read(SUMMARY)["champion"]["policy_id"]
    for form in ("text", "json", "python"):
        assert export(folder.path, form)
    assert champion.config.task == folder.config().regions["own"].task


def test_a_page_tells_what_its_sampling_does(
    curriculum_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Adversarial sampling has one population: no regret, and weight where nobody gets on."""
    values = ["sampling=minimax", "rounds=9", "tokens=20000"]
    summary = session.start(load_curriculum(curriculum_file, values), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "nobody can solve gains the most" in page
    assert "Regret" not in page
    assert "regret: " not in page
    assert 0 < summary["rounds"] < 9
    assert f"of 9 rounds, the tokens sufficed for {summary['rounds']}" in capsys.readouterr().out


def test_a_forecast_says_where_tokens_do_not_suffice(curriculum_file: Path):
    out = StringIO()
    few = load_curriculum(curriculum_file, ["tokens=10"])
    session.show_forecast(few, Console(file=out, width=600))
    assert "which do not suffice for the founders and the choice" in out.getvalue()


def test_a_forecast_counts_what_is_forwarded(curriculum_file: Path):
    config, out = load_curriculum(curriculum_file, ["max_demonstrations=0"]), StringIO()
    found = session.show_forecast(config, Console(file=out, width=400))
    assert f"about {found.a_round:,} tokens a round" in out.getvalue()
    assert found.search > 3 * found.a_round
    alone = session.show_forecast(
        load_curriculum(curriculum_file, ["sampling=uniform"]), Console(file=StringIO())
    )
    assert found.a_round == pytest.approx(2 * alone.a_round, abs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("regions={own: {task: {name: inbox}}}", "regions"),
        ("task={name: inbox}", "give regions, each with its task, instead of task"),
        ("examples=2", "a round has examples of 3 regions, and examples is 2"),
        (
            "regions.own.task={name: word_problems}",
            "regions.own: task 'word_problems'",
        ),
        ("operators={instruction_mutate: 1.0}", "instruction_mutate need a model that writes"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_folder_is_made(
    curriculum_file: Path, tmp_path: Path, change: str, message: str
):
    with pytest.raises(UserError, match=message):
        session.start(load_curriculum(curriculum_file, [change]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_curriculum_of_the_repository_loads():
    for path in sorted((Path(__file__).parents[3] / "configs" / "curriculum").glob("*.yaml")):
        config = load_curriculum(path)
        assert config.name == path.stem
        assert all(json.dumps(r.model_dump(mode="json")) for r in config.regions.values())
