"""A run whose policies are calibrated: its lineage, its dynamics and its way follow from what was
measured, and what cannot be calibrated is said.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evoprompt as ep
from evoprompt.calibration import LabelCalibration, calibrated_out, fit, leave_one_out
from evoprompt.choices import choice_log_probabilities, correct
from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError
from evoprompt.fitness.catalog import fitness_of
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.build import build, check_task
from evoprompt.jobs.evolve.calibrator import calibrator_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.metrics import summary_description, summary_metrics
from evoprompt.jobs.evolve.page import history_of
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.play.dialogue import Dialogue
from evoprompt.jobs.play.session import player_of, speaker_of
from evoprompt.policy import Policy
from evoprompt.records import LabelScores
from evoprompt.report.text import calibration_text

pytestmark = pytest.mark.usefixtures("no_pages")

#: no labels beside those of fitness and validation examples, but where it is about them
SHORT = ["evolution.generations=2", "final.labels=0"]


def run(config_file: Path, folder: Path, way: str, *more: str) -> EvolveFolder:
    start(load_config(config_file, [*SHORT, f"fitness.calibration={way}", *more]), folder)
    return EvolveFolder.open(folder)


def prior_of(policy: dict) -> float:
    """The nats of a policy of the tiny task before it is measured."""
    shown = {target for _, target in policy.get("demonstrations", [])}
    return -FitnessConfig().demonstrations_prior * (shown != {"bad", "good"})


@pytest.mark.parametrize("way", ["head", "labelled", "batch", "contextual"])
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
        words = scores.features[0] if way == "head" else None
        assert (scores.features is None) == (words is None)
        logs = leave_one_out(scores.log_likelihood[0], scores.gold, way, prior, words)
        of_gold = logs[np.arange(len(scores.gold)), scores.gold]
        favour = prior_of(birth["policy"]) / len(of_gold)
        assert birth["fitness"] == pytest.approx(of_gold.mean() + favour, abs=1e-6)
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
        for way in ("head", "labelled", "batch", "off")
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


def measured_again(folder: EvolveFolder, policy: Policy, split: str) -> LabelScores:
    """A policy's scores on a split of the run's task."""
    config = folder.config()
    parts = build(config, folder.path.parent)
    try:
        examples = parts.task.splits[split]
        measured = parts.measurer.measure(
            [policy], examples, lambda _: None, lambda _: nullcontext()
        )
        return measured[policy.policy_id][0]
    finally:
        parts.close()


@pytest.mark.pages
def test_a_head_is_refitted_too_and_shown_beside_offsets_alone(config_file: Path, tmp_path: Path):
    folder = run(config_file, tmp_path / "run", "head")
    summary, found = folder.read("summary.json"), folder.summary()
    searched = folder.measurements()
    for name in ("baseline", "champion"):
        policy = Policy.from_dict(summary[name]["policy"])
        known = [searched[policy.policy_id], measured_again(folder, policy, "validation")]
        values = np.concatenate([s.log_likelihood[0] for s in known])
        gold = np.concatenate([s.gold for s in known])
        words = np.concatenate([s.features[0] for s in known])
        tested = measured_again(folder, policy, "test")
        for way, part in (("head", name), ("labelled", f"{name}_offsets")):
            expected = fit(values, gold, way, words=words if way == "head" else None)
            logs = expected.apply(tested.log_likelihood[0], tested.features[0])
            right = (logs.argmax(axis=1) == tested.gold).mean()
            assert summary["test"][part]["value"] == pytest.approx(right)
        kept = getattr(found, name)
        logs = fit(values, gold, "head", words=words).apply(
            tested.log_likelihood[0], tested.features[0]
        )
        again = kept.calibration.apply(
            tested.log_likelihood[0], ("bad", "good"), tested.features[0]
        )
        np.testing.assert_allclose(again, logs, atol=1e-9)
        read = tested.features[0]
        turned = kept.calibration.apply(tested.log_likelihood[0][:, ::-1], ("good", "bad"), read)
        np.testing.assert_allclose(turned, logs[:, ::-1], atol=1e-9)
        assert kept.offsets.head is None
        assert kept.offsets.way == "labelled"
    assert json.loads(json.dumps(found.to_dict())) == {
        k: v for k, v in summary.items() if k != "checksum"
    }
    page = (folder.path / "report.html").read_text()
    assert "by offsets alone" in page
    assert "by a linear head (head, fitted on 16 examples)" in page


def test_what_the_budget_leaves_buys_labels_of_the_pool(config_file: Path, tmp_path: Path):
    """Two more than of fitness and validation, none of them of an example that is shown."""
    folder = run(config_file, tmp_path / "run", "labelled", "final.labels=18")
    summary = folder.read("summary.json")
    assert summary["champion"]["labels"] == {"fitness": 8, "validation": 8, "others": 2}
    task = check_task(folder.config())[0]
    policy = Policy.from_dict(summary["champion"]["policy"])
    shown = {d.input for d in policy.demonstrations}
    more = [e for e in (*task.spare, *task.pool) if e.input not in shown][:2]
    parts = build(folder.config(), folder.path.parent)
    [(scores, _)] = parts.measurer.measure(
        [policy], more, lambda _: None, lambda _: nullcontext()
    ).values()
    parts.close()
    known = [folder.measurements()[policy.policy_id], measured_again(folder, policy, "validation")]
    values = np.concatenate([s.log_likelihood[0] for s in (*known, scores)])
    gold = np.concatenate([s.gold for s in (*known, scores)])
    expected = fit(values, gold, "labelled")
    assert summary["champion"]["calibration"]["examples"] == 18
    assert summary["champion"]["calibration"]["temperature"] == expected.temperature
    assert "calibration" in summary["tokens"]["by_phase"]


def test_labels_are_bought_without_verdicts_and_within_the_budget(
    config_file: Path, tmp_path: Path
):
    more = ["fitness.self_evaluation=0.5", "final.labels=256", "budget.prefill_tokens=24000"]
    summary = run(config_file, tmp_path / "run", "labelled", *more).read("summary.json")
    assert summary["champion"]["labels"]["others"] > 0
    assert summary["tokens"]["total"] <= 24000


def test_a_run_with_a_head_goes_on_where_it_ended(config_file: Path, tmp_path: Path):
    whole = run(config_file, tmp_path / "whole", "head", "evolution.generations=3")
    parted = run(config_file, tmp_path / "parted", "head", "evolution.generations=1")
    (parted.path / "summary.json").unlink()
    resume(parted.path, ["evolution.generations=3"])
    assert (parted.path / LINEAGE).read_bytes() == (whole.path / LINEAGE).read_bytes()
    assert (parted.path / "measurements.jsonl").read_bytes() == (
        whole.path / "measurements.jsonl"
    ).read_bytes()


def test_what_is_reported_is_refitted_on_all_that_came_before_the_test(
    config_file: Path, tmp_path: Path
):
    folder = run(config_file, tmp_path / "run", "labelled")
    summary = folder.read("summary.json")
    searched = folder.measurements()
    shares = {}
    for name in ("baseline", "champion"):
        policy = Policy.from_dict(summary[name]["policy"])
        known = [searched[policy.policy_id], measured_again(folder, policy, "validation")]
        values = np.concatenate([s.log_likelihood[0] for s in known])
        gold = np.concatenate([s.gold for s in known])
        expected = fit(values, gold, "labelled")
        assert summary[name]["calibration"] == {
            "way": "labelled",
            "temperature": expected.temperature,
            "offsets": dict(zip(("bad", "good"), expected.offsets, strict=True)),
            "examples": 16,
        }
        tested = measured_again(folder, policy, "test")
        right = expected.apply(tested.log_likelihood[0]).argmax(axis=1) == tested.gold
        shares[name] = right.mean(), correct(tested).mean()
        # the finalist was chosen by fits on all others of its fitness and validation examples
        if name == "champion":
            logs = leave_one_out(values, gold, "labelled")[len(known[0].gold) :]
            of_gold = logs[np.arange(len(known[1].gold)), known[1].gold]
            favour = prior_of(summary[name]["policy"]) / len(values)
            assert summary[name]["validation_fitness"] == pytest.approx(
                of_gold.mean() + favour, abs=1e-6
            )
    test = summary["test"]
    assert test["baseline"]["value"] == pytest.approx(shares["baseline"][0])
    assert test["champion"]["value"] == pytest.approx(shares["champion"][0])
    assert test["difference"]["value"] == pytest.approx(
        shares["champion"][0] - shares["baseline"][0]
    )
    assert test["baseline_raw"]["value"] == pytest.approx(shares["baseline"][1])
    assert test["champion_raw"]["value"] == pytest.approx(shares["champion"][1])
    low, high = test["baseline_raw"]["ci"]
    assert low < test["baseline_raw"]["value"] < high
    again = json.loads(json.dumps(folder.summary().to_dict()))
    assert again == {k: v for k, v in summary.items() if k != "checksum"}


@pytest.mark.slow
@pytest.mark.pages
def test_page_and_description_say_how_answers_are_compared(config_file: Path, tmp_path: Path):
    folder = run(config_file, tmp_path / "run", "batch")
    summary = folder.summary()
    champion = summary.champion.calibration
    told = (
        f"nswers are compared after adding: bad {champion.offsets['bad']:+.2f}, "
        f"good {champion.offsets['good']:+.2f} (batch, fitted on 16 examples)"
    )
    page = (folder.path / "report.html").read_text()
    assert told in page
    assert told in summary_description(summary)
    alone = f"gets {summary.test.champion_raw.percent} of the same examples right"
    assert alone in page
    assert alone in (folder.path / "champion.txt").read_text()
    raw = "best starting prompt, uncalibrated"
    assert raw in page
    assert raw in summary_description(summary)
    metrics = summary_metrics(replace(summary, seconds={"total": 1.0}))
    assert metrics["test/baseline_raw"] == summary.test.baseline_raw.value
    off = run(config_file, tmp_path / "off", "off")
    plain = off.read("summary.json")
    assert not any("calibration" in plain[name] for name in ("champion", "baseline"))
    assert "baseline_raw" not in plain["test"]
    assert raw not in (off.path / "report.html").read_text()


def test_a_line_of_a_calibration_says_what_is_added_at_one_temperature():
    """At temperature 1/2 a label with offset 0.2 leads as one of 0.4 at temperature 1."""
    found = LabelCalibration("labelled", 0.5, {"a": 0.2, "b": -0.2}, 48)
    assert calibration_text(found) == (
        "answers are compared after adding: a +0.40, b -0.40, and multiplying by 0.50 (labelled, "
        "fitted on 48 examples)"
    )
    many = LabelCalibration("batch", 1.0, {str(i): 0.0 for i in range(10)}, 20)
    assert "7 +0.00, and 2 more labels (batch" in calibration_text(many)
    assert calibration_text(LabelCalibration("off", 1.0, {"a": 0.0}, 3)).startswith("none: ")


@pytest.mark.parametrize("way", ["labelled", "head"])
def test_users_get_the_answers_that_were_tested(
    config_file: Path, boost_file: Path, tmp_path: Path, way: str
):
    """The test, `predict`, play and a loop with the champion: the same answers, as sure."""
    folder = run(config_file, tmp_path / "run", way)
    champion = job_of(folder.path).champion(folder.path)
    tested = measured_again(folder, champion.policy, "test")
    words = tested.features[0] if way == "head" else None
    logs = champion.calibration.apply(tested.log_likelihood[0], ("bad", "good"), words)
    examples = check_task(folder.config())[0].test
    result = ep.load(folder.path)
    shares = result.probabilities([e.input for e in examples])
    found = np.array([[each["bad"], each["good"]] for each in shares])
    np.testing.assert_allclose(found, np.exp(logs), atol=1e-5)
    answers = result.predict([e.input for e in examples])
    right = np.mean([a == e.target for a, e in zip(answers, examples, strict=True)])
    assert right == pytest.approx(result.test["champion"]["value"])
    talk = Dialogue(player_of(champion), speaker_of(champion), 0)
    for example, row in zip(examples[:4], logs, strict=False):
        talk.begin_anew()
        told = {o.text: o.probability for o in talk.say(example.input).options}
        assert [told["bad"], told["good"]] == pytest.approx(np.exp(row).tolist(), abs=1e-5)
    settings = {"policy": None, "policy_run": str(folder.path), "loop.rounds": 1}
    settings |= {"loop.context_pairs": 1, "loop.context_tokens": 40}
    loop = ep.boost(boost_file, out=tmp_path / "loop", settings=settings)
    first = json.loads((loop.folder / "answers.jsonl").read_text().splitlines()[0])
    [again] = result.probabilities([first["input"]])
    if way == "labelled":
        assert first["probability"] == pytest.approx(max(again.values()), abs=1e-5)
    # what stands before a loop's questions changes, so no head that was fitted on them is used
    assert loop.champion.calibration == (champion.offsets or champion.calibration)
    assert loop.champion.calibration.way == "labelled"
    # power: uncalibrated they are others
    plain = LabelCalibration("off", 1.0, {"bad": 0.0, "good": 0.0}, 0)
    assert abs(np.exp(plain.apply(tested.log_likelihood[0], ("bad", "good"))) - found).max() > 0.01
    result.close()
    loop.close()


def test_a_loop_judges_with_the_calibration_of_the_run_that_made_its_judge(
    config_file: Path, boost_file: Path, tmp_path: Path
):
    judging = ["task.judge=true", "task.label_words={}"]
    judge = run(config_file, tmp_path / "judge", "labelled", *judging)
    known = job_of(judge.path).champion(judge.path).calibration
    assert known.offsets.keys() == {"TRUE", "FALSE"}
    settings = {"evaluator": None, "evaluator_run": str(judge.path), "loop.rounds": 1}
    settings |= {"loop.context_pairs": 1, "loop.context_tokens": 40}
    found = {}
    for name, calibration in (("calibrated", known), ("plain", None)):
        summary = judge.read("summary.json")
        if calibration is None:
            del summary["champion"]["calibration"]
            judge.write("summary.json", summary)
        loop = ep.boost(boost_file, out=tmp_path / name, settings=settings)
        assert loop.champion.verdict_calibration == calibration
        lines = (loop.folder / "answers.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines if json.loads(line)["round"] == 0]
        found[name] = np.array([row["log_odds"] for row in rows])
        loop.close()
    offset = known.offsets["TRUE"] - known.offsets["FALSE"]
    expected = known.temperature * found["plain"] + offset
    np.testing.assert_allclose(found["calibrated"], expected, atol=1e-4)
    assert abs(found["calibrated"] - found["plain"]).max() > 0.01


def test_a_loop_takes_no_judge_from_a_run_on_another_task(
    config_file: Path, boost_file: Path, tmp_path: Path
):
    """Its champion sorts, and its calibration is of other labels."""
    other = run(config_file, tmp_path / "sorts", "labelled")
    settings = {"evaluator": None, "evaluator_run": str(other.path)}
    with pytest.raises(
        ep.UserError, match=r"evaluator_run takes a run on a judging task.*judge=true"
    ):
        ep.boost(boost_file, out=tmp_path / "loop", settings=settings)
    assert not (tmp_path / "loop").exists()
