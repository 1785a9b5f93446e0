"""The benchmark of models, tasks and formats: what a run leaves is a line, and no cell is asked
twice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from evoprompt.jobs.evolve.config import check_config
from experiments.benchmarks import formats


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "lu"
    folder.mkdir(parents=True)
    for split, size in {"train": 40, "test": 12}.items():
        rows = [
            {"input": f"{split} {i}", "target": "ab"[i % 2], "choices": ["a", "b"]}
            for i in range(size)
        ]
        (folder / f"sst2.{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder.parent


@pytest.mark.slow
def test_a_run_leaves_a_line_and_a_later_call_makes_only_what_is_missing(
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(formats, "SIZES", {"fitness_examples": 8, "validation_examples": 6})
    monkeypatch.setitem(formats.LABELS, "test_examples", 12)
    out = tmp_path / "out"
    asked = ["--data", str(data), "--out", str(out), "--tasks", "sst2", "--tokens", "4000"]
    asked += ["--models", str(tiny_model), "--seeds", "0", "--chats", "off"]
    formats.main(asked)
    [row] = formats.read_rows(out)
    assert row["examples"] == 12
    assert row["difference"] == pytest.approx(row["after"] - row["before"])
    assert row["interval"][0] <= row["difference"] <= row["interval"][1]
    formats.main([*asked, "turns", "--limit", "0.01"])
    first, second = formats.read_rows(out)
    assert first == row
    assert second["chat"] == "turns"
    assert second["ended"] == "after 0 s"
    assert "0: ended after 0 s" in capsys.readouterr().out


def test_a_champion_without_demonstrations_has_a_line():
    before, after = {"value": 0.5}, {"value": 0.75}
    difference = {"value": 0.25, "ci": [0.0, 0.5]}
    test = {"metric": "accuracy", "num_examples": 8, "difference": difference}
    summary = {
        "test": test | {"baseline": before, "champion": after},
        "tokens": {"total": 100},
        "champion": {"policy": {"instruction": "Sort it."}},
    }
    assert formats.line_of(summary)["demonstrations"] == 0
    assert formats.line_of(summary)["interval"] == [0.0, 0.5]


@pytest.mark.parametrize("task", formats.TASKS)
def test_each_task_has_a_configuration_that_is_read(data: Path, task: str):
    config = check_config(formats.settings({"task": task, "model": "any"}, data), "formats")
    assert (config.fitness.kind == "metric") == (task in formats.ANSWERS)


def test_a_cell_has_the_means_of_its_seeds_and_each_difference():
    cell = {"task": "inbox", "model": "m", "chat": "turns"}
    made = {"tokens": 9000, "seconds": 60}
    rows = [
        cell | made | {"seed": 0, "before": 0.5, "after": 0.75, "difference": 0.25},
        cell | made | {"seed": 1, "before": 0.5, "after": 0.5, "difference": 0.0},
        cell | {"seed": 2, "ended": "with exit code 2"},
    ]
    # (.75 + .5) / 2 = .625
    by_seed = "0: +25.0; 1: +0.0; 2: ended with exit code 2"
    assert f"| inbox | m | chat, turns | 0.500 | 0.625 | {by_seed}" in formats.table(rows)
