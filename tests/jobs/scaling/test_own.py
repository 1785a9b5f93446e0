"""Scaling from the project's own folders: the lines are what the files say, by hand, and what
cannot be compared is refused.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from evoprompt.cli import app
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.scaling.own import (
    Point,
    Series,
    fit_lines,
    parameters_of,
    read_series,
    sample_lines,
)
from evoprompt.jobs.scaling.samples_session import NUMBERS, compare_samples
from evoprompt.jobs.scaling.session import fit_scaling
from evoprompt.jobs.scaling.table import read_table
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.folder import SHOTS, ShotsFolder
from evoprompt.jobs.shots.record import Cell


def shots_folder(path: Path, cells: list[Cell]) -> Path:
    """A measurement of demonstrations with these cells."""
    folder = ShotsFolder.create(path, "shots")
    folder.begin(ShotsConfig.model_validate({"task": {"name": "inbox"}}), {})
    folder.commit_lines({SHOTS: [cell.to_dict() for cell in cells]}, {"version": 1})
    folder.ownership.leave()
    return path


def cell(
    model: str, number: int, right: list[int], nats: float, draw: int = 0, task: str = "inbox"
) -> Cell:
    kind = "random" if number else "none"
    row = (nats,) * len(right)
    return Cell(model, task, kind, draw, number, 4, (), (0,) * len(right), row, tuple(right), row)


CELLS = [
    cell("a", 0, [1, 0, 0, 0], -2.0),
    cell("a", 4, [1, 1, 0, 0], -1.5),
    cell("a", 4, [1, 1, 1, 1], -0.5, draw=1),
    cell("b", 0, [1, 1, 0, 0], -1.0),
    cell("b", 4, [1, 1, 1, 0], -0.8),
    cell("b", 4, [1, 1, 1, 1], -0.2, draw=1),
]


def test_shots_become_means_over_draws_of_calibrated_accuracy_and_nats(tmp_path: Path):
    series, notes = read_series([str(shots_folder(tmp_path / "s", CELLS))], None)
    assert "demonstrations" in notes[0]
    assert {s.chance for s in series} == {0.25}
    lines = sample_lines(series)
    found = {(r["model"], r["samples"]): (float(r["loss"]), float(r["accuracy"])) for r in lines}
    assert found == {
        ("a", "0"): (2.0, 0.25),
        ("a", "4"): (1.0, 0.75),  # (1.5 + .5) / 2, (.5 + 1) / 2
        ("b", "0"): (1.0, 0.5),
        ("b", "4"): (0.5, 0.875),
    }
    out = compare_samples(
        [str(tmp_path / "s")], tmp_path / "o", performance="accuracy", targets=[0.5]
    )
    [needed] = json.loads((out / NUMBERS).read_text())["needed"]
    # half of the way from .25 to .75 in ln(1 + samples): sqrt(5) - 1
    assert needed["samples"] == {"a": pytest.approx(5**0.5 - 1), "b": 0.0}


def test_each_number_of_demonstrations_is_a_model_of_a_fit(tmp_path: Path):
    other = [
        cell(c.model, c.number, list(c.calibrated_right), -3.0, c.draw, "sense") for c in CELLS
    ]
    series, _ = read_series([str(shots_folder(tmp_path / "s", [*CELLS, *other]))], "random")
    lines = {(r["model"], r["benchmark"]): r for r in fit_lines(series, {})}
    assert len(lines) == 8
    row = lines["a 4", "inbox"]
    assert (float(row["score"]), float(row["chance"])) == (75.0, 25.0)
    # one loss a model, the mean over tasks: (1 + 3) / 2
    assert float(row["loss"]) == float(lines["a 4", "sense"]["loss"]) == 2.0
    fit_scaling([str(tmp_path / "s")], tmp_path / "fit")
    content = json.loads((tmp_path / "fit" / "scaling.json").read_text())
    assert content
    # with losses of the models themselves the last number alone counts, and two are no curve
    table = tmp_path / "losses.csv"
    table.write_text("model,loss\na,3.1\nb,2.9\n")
    with pytest.raises(UserError, match="2 models with 2 different losses"):
        fit_scaling([str(tmp_path / "s")], tmp_path / "no", losses=table)
    table.write_text("model,loss\na,3.1\n")
    with pytest.raises(UserError, match="none of b"):
        fit_scaling([str(tmp_path / "s")], tmp_path / "no", losses=table)


@pytest.mark.parametrize("seed", range(3))
def test_seeds_that_were_measured_at_other_samples_count_as_they_were_last(seed: int):
    rng = np.random.default_rng(seed)
    series = []
    for place in range(3):
        samples = sorted(rng.choice(50, size=6, replace=False).tolist())
        points = tuple(Point(s, i, float(rng.random()), 0.5) for i, s in enumerate(samples))
        series.append(Series("m", None, "t", place, 0.5, points))
    lines = sample_lines(series)
    low = max(s.points[0].samples for s in series)
    later = {p.samples for s in series for p in s.points if p.samples >= low}
    assert {int(line["samples"]) for line in lines} == later
    for line in lines:  # the slow twin: walk each series
        losses = []
        for s in series:
            for p in s.points:
                if p.samples <= int(line["samples"]):
                    last = p.loss
            losses.append(last)
        assert float(line["loss"]) == pytest.approx(np.mean(losses))


def test_a_run_is_followed_by_generations(config_file: Path, tmp_path: Path):
    for seed in (0, 1):
        short = ["workers.backend=toys.instant:InstantBackend", "evolution.generations=8"]
        start(load_config(config_file, [*short, f"seed={seed}"]), tmp_path / f"run{seed}")
    series, notes = read_series([str(tmp_path / "run0")], None)
    assert "flatter" in notes[1]
    [own] = series
    folder = EvolveFolder.open(tmp_path / "run0")
    lines, measured = folder.generations(), folder.measurements()
    births = [json.loads(r) for r in (tmp_path / "run0" / "lineage.jsonl").read_text().splitlines()]
    for line, point in zip(lines, own.points, strict=True):
        kept = [b for b in births if b["generation"] == line.generation and b["selected"]]
        best = max(kept, key=lambda b: b["fitness"])
        scores = measured[best["policy_id"]].first(best["examples"])
        nats = [scores.log_likelihood[0, i, g] for i, g in enumerate(scores.gold)]
        assert point.loss == pytest.approx(-np.mean(nats))
        assert point.accuracy == best["traits"]["accuracy"]
        assert (point.samples, point.step) == (line.tokens.floor, line.generation)
    out = tmp_path / "fit"
    asked = ["scaling", "fit", str(tmp_path / "run0"), str(tmp_path / "run1"), "--out", str(out)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert (out / "scaling.html").exists()


def test_the_commands_of_the_page_run(
    config_file: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
    block = page.split("## Your own runs")[1].split("```bash\n")[1].split("```")[0]
    commands = [line.split()[1:] for line in block.splitlines()]
    assert len(commands) == 3
    shots_folder(tmp_path / "runs" / "shots", CELLS)
    for name in ("small", "large", "larger"):
        copytree(tiny_model, tmp_path / name)
        own = ["workers.backend=toys.instant:InstantBackend", "evolution.generations=1"]
        start(
            load_config(config_file, [*own, f"model.name={tmp_path / name}"]),
            tmp_path / "runs" / name,
        )
    (tmp_path / "losses.csv").write_text("model,loss\nsmall,4\nlarge,3.5\nlarger,3\n")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output


def test_weights_are_counted_by_the_heads_of_their_files(tmp_path: Path):
    save_file({"a": np.zeros((3, 4), np.float32)}, tmp_path / "one.safetensors")
    save_file({"b": np.zeros(5, np.float16)}, tmp_path / "two.safetensors", {"format": "pt"})
    assert parameters_of(str(tmp_path)) == 17
    assert parameters_of("hub/name") is None


def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    table = tmp_path / "t.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["model", "samples", "loss"], ["a", 1, 2]])
    folder = str(shots_folder(tmp_path / "s", CELLS))
    with pytest.raises(UserError, match="some are folders"):
        compare_samples([folder, str(table)])
    with pytest.raises(UserError, match="several tables"):
        compare_samples([str(table), str(table)])
    with pytest.raises(UserError, match="has the contexts random"):
        compare_samples([folder], context="balanced")
    with pytest.raises(UserError, match="there is no run in"):
        compare_samples([str(tmp_path)])
    with pytest.raises(UserError, match="goes with folders"):
        fit_scaling([str(table)], losses=table)
    one = [cell("c", 0, [1], -1.0, task="other")]
    lonely = str(shots_folder(tmp_path / "l", one))
    with pytest.raises(UserError, match="no task is of all models"):
        compare_samples([folder, lonely])


def test_a_table_of_samples_is_one_benchmark_of_a_fit(tmp_path: Path):
    table = tmp_path / "small.csv"
    table.write_text(
        "model,seed,samples,loss,accuracy\n"
        "a,0,10,2,0.2\na,1,10,3,0.4\na,0,20,1.5,0.5\nb,0,10,1,0.8\n"
    )
    rows, _ = read_table(str(table), None, "loss", 100.0)
    found = {row.model: (row.benchmark, row.loss, row.score) for row in rows}
    assert found == {
        "a 10": ("small", 2.5, pytest.approx(30.0)),
        "a 20": ("small", 1.5, 50.0),
        "b 10": ("small", 1.0, 80.0),
    }
