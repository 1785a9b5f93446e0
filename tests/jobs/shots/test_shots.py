"""The measurement by number of demonstrations on a tiny random model: its plan, its scores, kills
and resumes, and what it shows.
"""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evoprompt.backends.local import LocalExecutor
from evoprompt.config.sections import JobConfig
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.shots import plan as planning
from evoprompt.jobs.shots import session
from evoprompt.jobs.shots.analysis import curves_of
from evoprompt.jobs.shots.config import ShotsConfig, load_shots
from evoprompt.jobs.shots.folder import SHOTS, ShotsFolder
from evoprompt.jobs.shots.loop import cell_of, validation_worth
from evoprompt.jobs.shots.plan import Chain, Planner, load_series
from evoprompt.jobs.shots.tables import settings_table
from evoprompt.jobs.shots.tracked import points_of
from evoprompt.measurement.requests import requests_of
from evoprompt.measurement.together import JointMeasurer
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import LabelScores
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import count_rows
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.render import render_queries

NUMBERS = (0, 1, 2, 4, 8)


@pytest.fixture
def shots_file(tmp_path: Path, long_model: Path, task_file: Path) -> Path:
    path = tmp_path / "shots.yaml"
    path.write_text(
        f"""
models: ["{long_model}"]
model: {{chunk_tokens: 256, memo: false, prefix_store_mib: 0}}
task: {{path: "{task_file}", validation_examples: 6, test_examples: 10,
  starting_policies: [{{instruction: "Mood?", input_prefix: "", output_prefix: ":",
  separator: "\\n"}}]}}
numbers: [0, 1, 3]
contexts: [random, balanced, best_of]
draws: 2
best_of: 2
tracking: {{enabled: false}}
"""
    )
    return path


def planner_of(config: ShotsConfig, model: Path, window: int | None = None) -> Planner:
    [series] = load_series(config)
    return Planner(series, Tokenizer(model), window)


def test_a_sequence_is_forwarded_once_for_all_numbers(shots_file: Path, long_model: Path):
    config = load_shots(shots_file, ["numbers=[8,0,2,1,4]", "contexts=[random,balanced]"])
    assert config.numbers == NUMBERS
    planner = planner_of(config, long_model)
    chains = planner.plan().chains
    assert [(c.context, c.draw) for c in chains] == [
        *(("none", 0), ("random", 0), ("random", 1), ("balanced", 0), ("balanced", 1)),
    ]
    for chain in chains[1:]:
        assert [len(p.demonstrations) for p in chain.policies] == [1, 2, 4, 8]
        for less, more in pairwise(chain.policies):
            assert more.demonstrations[: len(less.demonstrations)] == less.demonstrations
    labels = [d.target for d in chains[-1].policies[-1].demonstrations]
    assert [len(set(labels[i : i + 2])) for i in range(0, 8, 2)] == [2, 2, 2, 2]
    taken = sum(planner.tokens(chain) for chain in chains)
    # each prompt by itself, and what all of a sequence have distinct; two sequences may begin alike
    series = planner.series
    alone = [[planner.requests([p], series.examples) for p in c.policies] for c in chains]
    floor = sum(count_rows([r for part in parts for r in part]) for parts in alone)
    assert taken <= 1.02 * floor
    # power twin: nothing shared between numbers
    assert sum(count_rows(part) for parts in alone for part in parts) > 1.1 * floor


def test_what_does_not_fit_is_left_out_and_said(shots_file: Path, long_model: Path):
    config = load_shots(shots_file, ["numbers=[0,1,4,900]", "contexts=[random,best_of]"])
    fitted = planner_of(config, long_model, window=120).plan()
    [_, first, second, *chosen] = fitted.chains
    assert [len(p.demonstrations) for p in first.policies] == [1]
    assert len(second.policies) == 1
    assert "900 demonstrations left out: the pool has" in fitted.notes[0]
    assert "random: 4 demonstrations left out: the model's window of 120 tokens" in fitted.notes[1]
    planner = planner_of(config, long_model, window=120)
    [way, *_] = planner.ways_on(chosen[0].policies[0], 1, 0)
    assert planner.ways_on(way, 4, 0) == ()
    with pytest.raises(UserError, match="an example alone is longer than the model's window of 9"):
        planner_of(config, long_model, window=9).plan()


def test_a_kill_and_a_resume_lead_to_the_same_lines(
    shots_file: Path, tmp_path: Path, long_model: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_shots(shots_file)
    session.start(config, tmp_path / "whole")
    whole = ShotsFolder.open(tmp_path / "whole").read("summary.json")
    shown, said = [0], session._line

    def stop(*told: Any) -> str:
        shown[0] += 1
        if shown[0] in (2, 5):
            raise KeyboardInterrupt
        return said(*told)

    monkeypatch.setattr(session, "_line", stop)
    with pytest.raises(KeyboardInterrupt):
        session.start(config, tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        job_of(tmp_path / "parts").resume(tmp_path / "parts")
    job_of(tmp_path / "parts").resume(tmp_path / "parts")
    lines = [(tmp_path / name / SHOTS).read_bytes() for name in ("whole", "parts")]
    assert lines[0] == lines[1]
    parts = ShotsFolder.open(tmp_path / "parts").read("summary.json")
    assert parts["curves"] == whole["curves"]
    assert parts["tokens"]["prefill"] == whole["tokens"]["prefill"]
    # without a store and a memo each unit forwards its distinct prefixes, and nothing else
    work = whole["tokens"]
    assert work["prefill"] - work["by_phase"]["check"] == work["floor"]
    with pytest.raises(UserError, match="is complete"):
        job_of(tmp_path / "parts").resume(tmp_path / "parts")
    with pytest.raises(UserError, match="has no champion"):
        job_of(tmp_path / "parts").champion(tmp_path / "parts")
    _check_scores(config, tmp_path / "whole", long_model)
    _check_page(tmp_path / "whole")


def _check_scores(config: ShotsConfig, folder: Path, model: Path) -> None:
    """Every prompt of the folder, on the test examples, by the plain forward."""
    [series] = load_series(config)
    tokenizer = Tokenizer(model)
    executor = LocalExecutor(Scorer(TransformersLM(model, threads=1)))
    cells = ShotsFolder.open(folder).cells()
    assert len(cells) == 1 + 2 * 2 + 2 * 2 + 2 * 2
    for cell in cells:
        shown = tuple(Demonstration(*pair) for pair in cell.demonstrations)
        queries = render_queries(replace(series.base, demonstrations=shown), series.task.test)
        asked = requests_of(tokenizer, queries)
        nats = executor.score_plain([request for _, request in asked]).log_likelihood
        table = nats.reshape(len(series.task.test), 2)
        gold = np.array([e.gold for e in series.task.test])
        np.testing.assert_allclose(
            cell.log_likelihood, table[np.arange(len(gold)), gold], atol=1e-4
        )
        assert list(cell.right) == (table.argmax(axis=1) == gold).astype(int).tolist()


def _check_page(folder: Path) -> None:
    (folder / "report.html").unlink()
    text = job_of(folder).report(folder).read_text()
    assert text.count("<svg") == 3
    assert "Zero-Shot" in text
    assert "K=3" in text
    points = points_of(ShotsFolder.open(folder))
    assert [point.step for point in points] == [0, 1, 3]
    curves = curves_of(ShotsFolder.open(folder).cells())
    name = f"accuracy/mood {curves[0].model.rpartition('/')[2]} random"
    assert points[2].metrics[name] == curves[0].points[2].means["accuracy"].value
    heads = [column.head for column in settings_table(curves).columns]
    assert heads == ["Setting", "mood"]


def test_the_likeliest_way_on_is_taken(shots_file: Path, tmp_path: Path, long_model: Path):
    config = load_shots(shots_file, ["contexts=[best_of]", "best_of=4", "numbers=[1,3]"])
    session.start(config, tmp_path / "run")
    cells = ShotsFolder.open(tmp_path / "run").cells()
    planner = planner_of(config, long_model, window=4096)
    tokenizer = Tokenizer(long_model)
    executor = LocalExecutor(Scorer(TransformersLM(long_model, threads=1), chunk_tokens=64))
    measurer, policy = JointMeasurer(tokenizer, executor), planner.series.base
    for cell in cells[:2]:
        ways = planner.ways_on(policy, cell.number, 0)
        scores, _ = measurer.measure_together(ways, planner.series.task.validation, Ledger().timed)
        worth = [validation_worth(s, is_calibrated=True) for s in scores]
        policy = ways[int(np.argmax(worth))]
        assert cell.demonstrations == tuple((d.input, d.target) for d in policy.demonstrations)
        assert max(worth) > min(worth) + 1e-3


def test_offsets_of_the_validation_examples_free_the_test_of_a_favour(shots_file: Path):
    [series] = load_series(load_shots(shots_file))

    def scores(num: int) -> LabelScores:
        """Choice 0 is favoured by 5 nats, beside one for the right choice."""
        gold = np.arange(num) % 2
        values = np.zeros((1, num, 2))
        values[0, np.arange(num), gold] = 1.0
        values[0, :, 0] += 5.0
        ones = np.ones((1, num, 2), dtype=np.int64)
        ids = tuple(map(str, range(num)))
        return LabelScores(("p",), ids, gold, values - 9.0, ones, ones, ones > 1)

    cell = cell_of(series, Chain("random", 0, ()), Policy(), scores(10), scores(20))
    assert sum(cell.right) == 5
    assert cell.calibrated_right == (1,) * 10
    assert cell.num_choices == 2
    assert cell.log_likelihood == (-3.0, -8.0) * 5
    plain = cell_of(series, Chain("random", 0, ()), Policy(), scores(10), None)
    assert plain.calibrated_right is None


def test_a_champion_is_cut_and_goes_as_far_as_it_goes(
    shots_file: Path, task_file: Path, monkeypatch: pytest.MonkeyPatch, long_model: Path
):
    shown = tuple(Demonstration(text, "good") for text in ("fine", "lovely", "great"))
    champion = Policy(instruction="Say it.", demonstrations=shown)

    def job(folder: Path) -> Any:
        path = task_file if folder.name == "run" else folder
        config = JobConfig.model_validate({"task": {"path": path}, "model": {"name": "other"}})
        return SimpleNamespace(champion=lambda _: SimpleNamespace(config=config, policy=champion))

    monkeypatch.setattr(planning, "job_of", job)
    settings = ["contexts=[evolved]", "numbers=[0,2,8]", "evolved_runs=[run]"]
    fitted = planner_of(load_shots(shots_file, settings), long_model).plan()
    [bare, evolved] = fitted.chains
    assert bare.policies[0].instruction == "Mood?"
    assert [len(p.demonstrations) for p in evolved.policies] == [0, 2, 3]
    assert {p.instruction for p in evolved.policies} == {"Say it."}
    assert "evolved: 8 demonstrations left out: the champion has 3" in fitted.notes[0]
    with pytest.raises(UserError, match="none of these tasks with the same test"):
        load_series(load_shots(shots_file, [*settings[:2], "evolved_runs=[elsewhere]"]))
    with pytest.raises(UserError, match="the context evolved takes evolved_runs"):
        load_shots(shots_file, settings[:2])


def test_a_forecast_names_what_is_measured(shots_file: Path):
    out = StringIO()
    total = session.show_plan(load_shots(shots_file), Console(file=out, width=120))
    text = out.getvalue()
    rows = {tuple(line.split()[2:7]) for line in text.splitlines() if line.startswith("mood")}
    assert ("random", "1,", "3", "2") in {row[:4] for row in rows}  # numbers, then draws
    assert [word in text for word in ("none", "random", "balanced", "best of")] == [True] * 4
    assert f"{total:,} tokens" in text
