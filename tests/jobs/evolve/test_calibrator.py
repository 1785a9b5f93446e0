"""A run whose policies are calibrated: its lineage, its dynamics and its way follow from what was
measured, and what cannot be calibrated is said.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evoprompt.calibration import calibrated_out, leave_one_out
from evoprompt.choices import choice_log_probabilities, correct
from evoprompt.errors import UserError
from evoprompt.fitness.catalog import fitness_of
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.calibrator import calibrator_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.page import history_of
from evoprompt.jobs.evolve.session import resume, start

SHORT = ["evolution.generations=2"]


def run(config_file: Path, folder: Path, way: str, *more: str) -> EvolveFolder:
    start(load_config(config_file, [*SHORT, f"fitness.calibration={way}", *more]), folder)
    return EvolveFolder.open(folder)


@pytest.mark.parametrize("way", ["labelled", "batch", "contextual"])
def test_a_birth_is_worth_what_the_others_examples_make_of_it(
    config_file: Path, tmp_path: Path, way
):
    folder = run(config_file, tmp_path / "run", way)
    measured = folder.measurements()
    raw = 0
    for birth in folder.lines(LINEAGE):
        scores = measured[birth["policy_id"]]
        prior = scores.prior[0, 0] if way == "contextual" else None
        assert (scores.prior is None) == (prior is None)
        logs = leave_one_out(scores.log_likelihood[0], scores.gold, way, prior)
        of_gold = logs[np.arange(len(scores.gold)), scores.gold]
        assert birth["fitness"] == pytest.approx(of_gold.mean(), abs=1e-6)
        right = (logs.argmax(axis=1) == scores.gold).mean()
        assert birth["traits"]["accuracy"] == pytest.approx(right, abs=1e-6)
        for i, label in enumerate(("bad", "good")):
            found = birth["traits"][f"log_probability_{label}"]
            assert found == pytest.approx(of_gold[scores.gold == i].mean(), abs=1e-6)
        # what is not compared is as it was measured
        per_token = scores.of_gold(scores.log_likelihood / scores.num_tokens)
        assert birth["traits"]["cross_entropy"] == pytest.approx(-per_token.mean(), abs=1e-6)
        plain = scores.of_gold(choice_log_probabilities(scores)).mean()
        raw += abs(birth["fitness"] - plain) > 1e-3
    assert raw, "power: some policy has a favour"


def test_the_page_has_the_dynamics_of_the_run(config_file: Path, tmp_path: Path):
    folder = run(config_file, tmp_path / "run", "labelled")
    fitness = fitness_of(folder.config().fitness, has_choices=True)
    lines = [line.account for line in folder.generations()]
    for again, line in zip(history_of(folder, fitness).lines[1:], lines[1:], strict=True):
        for trait in ("fitness", "accuracy", "margin"):
            errors = again.price[trait].standard_error
            assert errors == pytest.approx(line.price[trait].standard_error, abs=1e-5), trait


def test_the_way_that_is_left_to_the_run_follows_from_the_founders_and_is_found_again(
    config_file: Path, tmp_path: Path
):
    whole = run(config_file, tmp_path / "whole", "auto", "evolution.generations=3")
    provenance = json.loads((whole.path / "provenance.json").read_text())["calibration"]
    founders = {b["policy_id"] for b in whole.lines(LINEAGE) if b["generation"] == 0}
    measured = whole.measurements()
    worth = {
        way: np.mean(
            [
                s.of_gold(choice_log_probabilities(calibrated_out(s, way))).mean()
                for s in (measured[p] for p in founders)
            ]
        )
        for way in ("labelled", "batch", "off")
    }
    assert provenance["asked"] == "auto"
    assert provenance["log_likelihood"] == pytest.approx(worth, abs=1e-6)
    assert provenance["way"] == max(worth, key=lambda way: worth[way])
    # the tiny model has favours, so that there is something to choose
    assert provenance["way"] != "off"
    parted = run(config_file, tmp_path / "parted", "auto", "evolution.generations=1")
    (parted.path / "summary.json").unlink()
    resume(parted.path, ["evolution.generations=3"])
    assert (parted.path / LINEAGE).read_bytes() == (whole.path / LINEAGE).read_bytes()


def test_choices_in_other_orders_change_nothing(config_file: Path, tmp_path: Path, task_file: Path):
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    turned = [row | {"choices": row["choices"][:: (-1) ** i]} for i, row in enumerate(rows)]
    file = tmp_path / "mood.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in turned))
    same = run(config_file, tmp_path / "same", "labelled")
    other = run(config_file, tmp_path / "other", "labelled", f"task.path={file}")
    assert (same.path / LINEAGE).read_bytes() == (other.path / LINEAGE).read_bytes()


def test_what_cannot_be_calibrated_is_said_and_left_as_it_is(config_file: Path, tmp_path: Path):
    free = tmp_path / "free.jsonl"
    rows = [{"input": f"say {i}", "target": str(i)} for i in range(80)]
    free.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = tmp_path / "own.jsonl"
    rows = [row | {"choices": [row["target"], "none"]} for row in rows]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for settings, reason in (
        ([f"task={{path: {free}}}"], "in free form"),
        ([f"task={{path: {own}}}"], "the choices differ by example"),
        (["fitness.kind=pmi"], "fitness.kind 'pmi' compares choices by 'pmi'"),
        (["fitness.kind=per_byte"], "fitness.kind 'per_byte' compares choices by 'per_byte'"),
    ):
        task, fitness = check_task(
            load_config(config_file, [*settings, "fitness.calibration=labelled"])
        )
        assert [reason in note for note in task.notes][-1:] == [True], settings
        found = calibrator_of("labelled", task, fitness)
        assert (found.way, found.is_used, found.of_policy([])) == ("off", False, None)
        off, _ = check_task(load_config(config_file, settings))
        assert not any("calibrated" in note for note in off.notes)
    with pytest.raises(UserError, match=r"fitness\.calibration"):
        load_config(config_file, ["fitness.calibration=platt"])


def test_it_can_be_right_where_the_raw_answers_are_one_label(config_file: Path, tmp_path: Path):
    """Power: with the way off, the same measurements have other accuracies."""
    folder = run(config_file, tmp_path / "run", "labelled")
    found = [
        (correct(s).mean(), correct(calibrated_out(s, "labelled")).mean())
        for s in folder.measurements().values()
    ]
    assert any(raw != calibrated for raw, calibrated in found)
