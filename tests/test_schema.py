"""The schema of what others read holds for the files of tiny runs, and not for other content."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evoprompt.jobs.boost import session as boost_session
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.curriculum.record import RoundLine
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.robustness.record import Cell as Changed
from evoprompt.jobs.robustness.record import Edit
from evoprompt.jobs.shots.record import Cell

SCHEMA = json.loads((resources.files("evoprompt") / "schema.json").read_text("utf-8"))


def mistakes(definition: str, value: Any) -> list[str]:
    """What is wrong with a value, each with its place."""
    validator = Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{definition}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def records(tmp_path: Path, config_file: Path) -> dict[str, list[dict[str, Any]]]:
    """What a run left, by definition; its policies judge answers, so that evaluators are known."""
    run = tmp_path / "run"
    overrides = ["task.judge=true", "task.label_words={}", "evolution.generations=2"]
    overrides += ["fitness.calibration=labelled"]
    start(load_config(config_file, overrides), run)
    return {
        "lineage_line": lines(run / "lineage.jsonl"),
        "generation_line": lines(run / "generations.jsonl"),
        "prediction_line": lines(run / "predictions.jsonl"),
        "summary": [json.loads((run / "summary.json").read_text(encoding="utf-8"))],
    }


def test_the_files_of_a_run_are_as_the_schema_says(records: dict[str, list[dict[str, Any]]]):
    assert len(records["generation_line"]) == 3
    assert {line["split"] for line in records["prediction_line"]} == {"validation", "test"}
    assert records["generation_line"][1]["price"]
    assert records["summary"][0]["evaluator"]
    for definition, found in records.items():
        assert [text for record in found for text in mistakes(definition, record)] == []


def test_a_key_too_many_or_too_few_is_against_the_schema(records: dict[str, list[dict[str, Any]]]):
    """Power twin: a schema that allowed everything would pass the test above."""
    for definition, found in records.items():
        assert any("other" in text for text in mistakes(definition, found[-1] | {"other": 1}))
        for key in SCHEMA["$defs"][definition]["required"]:
            less = {name: value for name, value in found[-1].items() if name != key}
            assert mistakes(definition, less) == [f"$: '{key}' is a required property"]


def test_the_numbers_of_examples_of_a_birth_are_as_the_schema_says(
    records: dict[str, list[dict[str, Any]]],
):
    line = records["lineage_line"][-1]
    rungs = [{"examples": m, "traits": line["traits"]} for m in (8, line["examples"])]
    assert mistakes("lineage_line", line | {"rungs": rungs}) == []
    assert mistakes("lineage_line", line | {"rungs": [{"examples": 8}]}) == [
        "$.rungs[0]: 'traits' is a required property"
    ]


def test_the_edits_of_a_birth_are_one_or_more(records: dict[str, list[dict[str, Any]]]):
    line = records["lineage_line"][-1]
    assert mistakes("lineage_line", line | {"edits": [line["operator"], "step_add"]}) == []
    assert mistakes("lineage_line", line | {"edits": [line["operator"] + ":shorter"]}) == []
    assert "non-empty" in mistakes("lineage_line", line | {"edits": []})[0]


def test_the_rounds_of_a_loop_are_as_the_schema_says(boost_file: Path, tmp_path: Path):
    settings = ["loop.rounds=2", "loop.measure_imitation=1"]
    boost_session.start(load_boost(boost_file, settings), tmp_path / "loop")
    rounds = lines(tmp_path / "loop" / "recurrence.jsonl")
    assert [line["round"] for line in rounds] == [0, 1, 2]
    assert rounds[0]["imitation"] is not None
    assert [text for line in rounds for text in mistakes("round_line", line)] == []


def test_the_prompts_of_a_measurement_by_demonstrations_are_as_the_schema_says():
    cell = Cell("m", "t", "random", 0, 1, 2, (("fine", "good"),), (1, 0), (-1.0, -2.5))
    line = json.loads(json.dumps(cell.to_dict()))
    assert mistakes("shots_line", line) == []
    assert mistakes("shots_line", line | {"calibrated_right": [1, 0]}) == []
    assert "2 is not one of" in mistakes("shots_line", line | {"right": [2, 0]})[0]
    assert Cell.from_dict(line) == cell


def test_the_rounds_of_a_curriculum_are_as_the_schema_says():
    none = (None, None)
    whole = (0.5, 0.5), (1, 1), (0.6, 0.7), (0.8, 0.6), (0.2, -0.1), (0.01, None), 1.0, 0.65
    known = RoundLine(1, *whole, 0.3, 0.2, 0.1, 10, 5, 7)
    founders = RoundLine(
        0, *whole[:2], none, none, none, none, 1.0, 0.65, None, None, None, 1, 1, 7
    )
    for each in (known, founders):
        line = json.loads(json.dumps(each.to_dict()))
        assert mistakes("curriculum_line", line) == []
        assert RoundLine.from_dict(line) == each
    assert "greater than the maximum" in mistakes("curriculum_line", line | {"weights": [2]})[0]
    assert known.weighted_regret == pytest.approx(0.05)
    assert founders.weighted_regret is None


def test_the_prompts_of_a_measurement_under_changes_are_as_the_schema_says():
    edits = (Edit("typos", 0, 3),)
    changed = Changed("champion", "attack", 0, {}, (0, 1), (1, 0), (1, 1), (-0.1, -2.5), edits)
    line = json.loads(json.dumps(changed.to_dict()))
    assert mistakes("robustness_line", line) == []
    assert "2 is not one of" in mistakes("robustness_line", line | {"right": [2, 0]})[0]
    assert Changed.from_dict(line) == changed


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
