"""Runs on paths: what is kept of each move, what the page shows, and what is refused."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.questions import asked_of
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.paths_figure import heat_lines
from evoprompt.jobs.evolve.session import start


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on the gridworld that runs at once."""
    path = tmp_path_factory.mktemp("grid") / "grid.yaml"
    path.write_text(
        """
model: {name: instant, memo: false}
task: {name: gridworld, difficulty: 1, instructions: marginal, instruction_draws: 2,
  fitness_examples: 6, validation_examples: 4, test_examples: 8}
evolution: {population: 3, children: 3, generations: 2, max_demonstrations: 2}
workers: {backend: "toys.instant:InstantBackend"}
tracking: {enabled: false}
"""
    )
    return path


@pytest.fixture(scope="module")
def folder(config_path: Path, tmp_path_factory: pytest.TempPathFactory) -> EvolveFolder:
    run = tmp_path_factory.mktemp("grid") / "run"
    start(load_config(config_path, []), run)
    return EvolveFolder(run)


def predictions(folder: EvolveFolder) -> list[dict[str, Any]]:
    file = folder.path / "predictions.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_the_configuration_of_the_package_asks_for_goals_that_are_not_shown():
    for mode in ("off", "joint", "marginal"):
        config = load_config(Path("gridworld"), [f"task.instructions={mode}"])
        task, fitness = check_task(config)
        assert (task.name, fitness.name, len(task.test)) == ("gridworld_unseen", "per_token", 40)


@pytest.mark.slow
def test_each_move_is_kept_and_they_sum_to_the_path(folder: EvolveFolder):
    for scores in folder.measurements().values():
        sums = [row[row == row].sum() for row in scores.moves[0]]  # without nan
        assert sums == pytest.approx(scores.log_likelihood[0, :, 0].tolist())
    rows = predictions(folder)
    assert {row["split"] for row in rows} == {"validation", "test"}
    for row in rows:
        assert len(row["moves"]) == len(row["target"].split("\n"))
        assert sum(row["moves"]) == pytest.approx(row["log_likelihood"][0])


@pytest.mark.slow
def test_a_run_acts_on_what_its_prompts_write(config_path: Path, tmp_path: Path):
    sets = ["task.instructions=written", "task.instruction_draws=null", "task.stages=true"]
    config = load_config(config_path, [*sets, "evolution.generations=1"])
    start(config, tmp_path / "run")
    found = EvolveFolder(tmp_path / "run")
    summary = found.summary()
    assert summary is not None
    assert summary.tokens.generated > 0
    for scores in found.measurements().values():
        assert scores.said is None
        sums = [row[row == row].sum() for row in scores.moves[0]]
        assert sums == pytest.approx(scores.log_likelihood[0, :, 0].tolist())
    shown = check_task(config)[0].demonstrations[0]
    assert shown.target.startswith("get ")


def test_the_lines_are_as_the_schema_says(folder: EvolveFolder):
    schema = json.loads((resources.files("evoprompt") / "schema.json").read_text("utf-8"))
    validator = Draft202012Validator({**schema, "$ref": "#/$defs/prediction_line"})
    for row in predictions(folder):
        validator.validate(row)
    assert list(validator.iter_errors(row | {"moves": []}))


def test_the_page_shows_the_moves_of_some_paths(folder: EvolveFolder):
    page = (folder.path / "report.html").read_text("utf-8")
    assert "as the model gets it" not in page, "each move is asked by itself"
    begin = page.index(">Moves<")
    section = page[begin : page.index(">Fitness<", begin)]
    first = next(row for row in predictions(folder) if row["split"] == "test")
    action = first["target"].split("\n")[0]
    assert f">{action} {first['moves'][0]:.1f}<" in section
    rows = [row for row in predictions(folder) if row["split"] == "test"]
    champion = json.loads((folder.path / "summary.json").read_text("utf-8"))["champion"]
    values = [v for r in rows if r["policy_id"] == champion["policy_id"] for v in r["moves"]]
    assert f"and {sum(values) / len(values):.3f} now" in section


def test_a_heat_line_has_its_actions_where_there_is_room():
    short = heat_lines([("now", ["go", "wait"], [-0.5, -4.0])])
    assert "go -0.5" in short
    assert "wait -4.0" in short
    long = heat_lines([("now", ["go"] * 12, [-0.5] * 12)])
    assert "go -0.5" not in long
    assert "-0.5" in long


def test_answers_are_not_written_to_paths_and_loops_do_not_ask_them(config_path: Path):
    with pytest.raises(UserError, match=r"fitness\.metric grades one written answer"):
        check_task(load_config(config_path, ["fitness.kind=metric"]))
    path = config_path.with_name("paths.jsonl")
    lines = [{"steps": [{"input": f"at {i}", "target": "go"}]} for i in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    loop = config_path.with_name("loop.yaml")
    loop.write_text(f"{{model: {{name: instant}}, task: {{path: {path}}}}}")
    with pytest.raises(UserError, match="these examples are paths"):
        asked_of(load_boost(loop, []))
