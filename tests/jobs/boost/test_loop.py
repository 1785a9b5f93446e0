"""The self-evaluation loop end to end on a tiny random model: its record, its blindness to labels,
kills and resumes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.reader import check_section
from evoprompt.errors import UserError
from evoprompt.jobs.boost import session as boost_session
from evoprompt.jobs.boost.build import build_boost, check_boost
from evoprompt.jobs.boost.conclude import notes
from evoprompt.jobs.boost.config import BoostConfig, load_boost
from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.loop import boost
from evoprompt.jobs.boost.measure import labelled_context
from evoprompt.jobs.boost.metrics import recurrence_metrics
from evoprompt.jobs.boost.prediction import against_prediction, first_width
from evoprompt.jobs.boost.questions import asked_of
from evoprompt.jobs.boost.record import (
    Measured,
    Outcomes,
    RoundLine,
    RoundVerdict,
    counts_of,
    round_line,
)
from evoprompt.jobs.boost.state import Judged, LoopState
from evoprompt.recurrence.evaluator import LogRatio
from evoprompt.recurrence.imitation import ImitationFit
from evoprompt.tasks.load import load_task

pytestmark = pytest.mark.usefixtures("no_pages")

CONTRACT = (
    *(
        "round",
        "error_rate",
        "ci",
        "predicted",
        "predicted_ci",
        "sensitivity",
        "specificity",
        "buffer_size",
        "buffer_error_rate",
    ),
    *("accepted", "abstained", "tokens"),
)


class Quiet:
    """An observer that keeps the lines, and stops the loop where a test wants it to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.lines: list[RoundLine] = []
        self._stop_after = stop_after

    def loaded(self, info, config) -> None: ...

    def phase(self, name) -> None: ...

    def scored(self, count) -> None: ...

    def round(self, line) -> None:
        self.lines.append(line)
        if line.round == self._stop_after:
            raise KeyboardInterrupt


def begin(
    path: Path, out: Path, *overrides: str, stop_after: int | None = None
) -> tuple[dict, Quiet]:
    config = load_boost(path, overrides)
    folder = BoostFolder.create(out, "x") if not out.exists() else BoostFolder.open(out)
    if not (folder.path / "config.yaml").exists():
        folder.begin(config, {})
    parts, observer = build_boost(config, out.parent), Quiet(stop_after)
    try:
        return boost(parts, folder, observer), observer
    finally:
        parts.close()


def record(folder: Path) -> list[dict]:
    """The lines without what differs between any two runs: the clock."""
    lines = [json.loads(line) for line in (folder / "recurrence.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time_ms", "seconds")} for line in lines]


@pytest.mark.pages
def test_a_loop_leaves_a_line_for_each_round_with_all_that_was_promised(
    boost_file: Path, tmp_path: Path
):
    summary, observer = begin(boost_file, tmp_path / "run")
    lines = record(tmp_path / "run")
    assert (
        [line["round"] for line in lines] == [0, 1, 2, 3] == [line.round for line in observer.lines]
    )
    for line in lines:
        assert set(CONTRACT) <= set(line)
    assert all(line["accepted"] == 3 and line["context_size"] > 0 for line in lines[1:])
    assert lines[0]["predicted"] is None
    assert all(
        line["predicted_ci"][0] <= line["predicted"] <= line["predicted_ci"][1]
        for line in lines[1:]
    )
    assert lines[-1]["tokens"] > lines[0]["tokens"] > 0
    answers = [
        json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()
    ]
    assert len(answers) == 20 + 3 * 6  # the calibration on the test questions, then three batches
    assert summary["test"]["baseline"]["value"] == lines[0]["error_rate"]
    assert summary["test"]["champion"]["value"] == lines[-1]["error_rate"]
    assert summary["rounds"] == 3
    assert len(summary["coverage"]["coverage"]) == 20
    assert (
        json.loads((tmp_path / "run" / "summary.json").read_text())["champion"]
        == summary["champion"]
    )
    assert (tmp_path / "run" / "report.html").exists()


def test_what_was_accepted_is_a_task_that_a_run_can_learn_from(boost_file: Path, tmp_path: Path):
    from evoprompt.tasks.sources.jsonl import read_jsonl

    begin(boost_file, tmp_path / "run", "loop.buffer=accumulate")
    examples = read_jsonl(tmp_path / "run" / "accepted.jsonl")
    assert 3 <= len(examples) <= 9
    assert all(e.target in ("bad", "good") and e.choices == ("bad", "good") for e in examples)


def test_the_loop_goes_the_same_way_whatever_the_labels_are(
    boost_file: Path, task_file: Path, tmp_path: Path
):
    """Every label turned round: what is measured changes, what the loop does may not."""
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    turned = tmp_path / "turned.jsonl"
    # The split and the order follow from the content, labels included, and what is in the test is
    # not asked, so the questions are given by a file of their own.
    questions = tmp_path / "questions.jsonl"
    asked = [
        {k: row[k] for k in ("choices", "id")} | {"input": f"{row['input']} to"} for row in rows
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked))
    turned.write_text(
        "".join(
            json.dumps(row | {"target": {"bad": "good", "good": "bad"}[row["target"]]}) + "\n"
            for row in rows
        )
    )
    same, other = tmp_path / "same", tmp_path / "other"
    for out, extra in ((same, []), (other, [f"task.path={turned}"])):
        begin(boost_file, out, f"questions={questions}", *extra)
    contexts = [[line["context_ids"] for line in record(out)] for out in (same, other)]
    assert contexts[0] == contexts[1]
    assert all(contexts[0][1:])


@pytest.mark.pages
def test_a_loop_without_labels_runs_and_says_what_cannot_be_known(
    boost_file: Path, task_file: Path, tmp_path: Path
):
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        "".join(json.dumps({k: row[k] for k in ("input", "choices")}) + "\n" for row in rows)
    )
    summary, _ = begin(boost_file, tmp_path / "run", f"questions={questions}", "task=null")
    lines = record(tmp_path / "run")
    for name in (
        "error_rate",
        "ci",
        "predicted",
        "sensitivity",
        "specificity",
        "buffer_error_rate",
        "verdict",
    ):
        assert [line[name] for line in lines] == [None] * 4, name
    assert summary["test"] is None
    assert "cannot be known" in summary["notes"][0]
    assert len(summary["without_labels"]["acceptance"]) == 3
    assert "cannot be known" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_loop_stopped_after_any_round_and_resumed_leaves_the_same_record(
    boost_file: Path, tmp_path: Path, stop_after: int
):
    begin(boost_file, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        begin(boost_file, tmp_path / "part", stop_after=stop_after)
    assert not (tmp_path / "part" / "summary.json").exists()
    for name in (
        "recurrence.jsonl",
        "answers.jsonl",
    ):  # a kill in mid-write leaves a torn line that was never committed
        with (tmp_path / "part" / name).open("a") as file:
            file.write('{"round": 9')
    begin(boost_file, tmp_path / "part")
    assert record(tmp_path / "part") == record(tmp_path / "whole")
    assert (tmp_path / "part" / "answers.jsonl").read_bytes() == (
        tmp_path / "whole" / "answers.jsonl"
    ).read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        ["loop.buffer=accumulate", "loop.choose=diverse"],
        ["loop.judge=confidence", "loop.threshold=0.1"],
        ["loop.abstain_below=0.6", "loop.choose=newest"],
        ["loop.calibrate=true", "loop.choose=confident"],
        ["loop.answers=pmi"],
        ["loop.answers=batch", "loop.judge=rivals"],
        ["loop.judge=rivals", "loop.choose=confident"],
        ["loop.measure_imitation=1", "loop.buffer=accumulate"],
        [
            "loop.batch=20",
            "loop.rounds=4",
        ],  # 45 questions: the third round begins another order of them
    ],
)
def test_every_way_of_the_loop_runs_to_its_end(
    boost_file: Path, tmp_path: Path, settings: list[str]
):
    summary, observer = begin(boost_file, tmp_path / "run", *settings)
    assert summary["rounds"] >= 1
    if "loop.abstain_below=0.6" in settings:
        assert sum(line.abstained for line in observer.lines) > 0
    if "loop.calibrate=true" in settings:
        assert isinstance(observer.lines[0].threshold, float)


@pytest.mark.slow
@pytest.mark.pages
def test_measured_imitation_changes_what_is_predicted_and_nothing_that_happens(
    boost_file: Path, tmp_path: Path
):
    begin(boost_file, tmp_path / "without")
    summary, _ = begin(boost_file, tmp_path / "with", "loop.measure_imitation=2")
    without, measured = record(tmp_path / "without"), record(tmp_path / "with")
    differing = {
        key for a, b in zip(without, measured, strict=True) for key in a if a[key] != b[key]
    }
    assert (
        {"imitation", "predicted", "tokens"}
        <= differing
        <= {"imitation", "advice", "predicted", "predicted_ci", "tokens", "verdict"}
    )
    assert (tmp_path / "with" / "answers.jsonl").read_bytes() == (
        tmp_path / "without" / "answers.jsonl"
    ).read_bytes()
    fit = measured[0]["imitation"]
    assert fit["num_rounds"] == 4
    assert fit["floor_standard_error"] > 0
    assert [line["imitation"] for line in measured[1:]] == [None] * 3
    assert (
        recurrence_metrics(RoundLine.from_dict(measured[0]))["error_rate/in_wrong_context"]
        == fit["ceiling"]
    )
    assert "error_rate/in_wrong_context" not in recurrence_metrics(RoundLine.from_dict(measured[1]))
    assert any(f"with wrong ones in {fit['ceiling']:.3f}" in note for note in summary["notes"])
    page = (tmp_path / "with" / "report.html").read_text()
    assert "as far as contexts of labelled pairs told" in page
    with pytest.raises(KeyboardInterrupt):
        begin(boost_file, tmp_path / "part", "loop.measure_imitation=2", stop_after=1)
    begin(boost_file, tmp_path / "part", "loop.measure_imitation=2")
    assert record(tmp_path / "part") == measured


@pytest.mark.pages
def test_a_loop_that_is_not_expected_to_pay_ends_before_its_first_round_and_says_why(
    boost_file: Path, tmp_path: Path, capsys
):
    """A random model does not follow its context, so that nothing is to be gained."""
    from evoprompt.cli import app

    sets = [f"--set={s}" for s in ("loop.measure_imitation=null", "loop.go_on=false")]
    app(["boost", str(boost_file), "--out", str(tmp_path / "run"), *sets], standalone_mode=False)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    [line] = record(tmp_path / "run")
    # contexts: 4 right and 4 wrong; 8 of each only where the first interval is wide with the former
    assert line["imitation"]["num_rounds"] in (8, 16)
    assert summary["rounds"] == 0
    assert summary["advice"] == line["advice"]
    assert line["advice"]["answer"] in ("no", "cannot be told")
    assert summary["test"]["difference"]["value"] == 0
    assert "with loop.go_on=true it goes round all the same" in summary["notes"][0]
    told = " ".join(capsys.readouterr().out.split())
    assert f"{line['advice']['chance']:.0%}, and the change that is expected" in told
    assert "Can it pay?" in (tmp_path / "run" / "report.html").read_text()
    metrics = recurrence_metrics(RoundLine.from_dict(line))
    assert metrics["advice/chance_of_a_gain"] == line["advice"]["chance"]
    goes, _ = begin(boost_file, tmp_path / "on", "loop.measure_imitation=4", "loop.rounds=1")
    assert "all the same, as loop.go_on says" in goes["notes"][0]
    assert goes["rounds"] == 1


@pytest.mark.parametrize(
    ("setting", "wide", "contexts"), [("null", 0.0, 16), ("null", 1.0, 8), ("2", 0.0, 4)]
)
def test_more_contexts_are_measured_where_the_first_interval_would_be_wide(
    setting: str,
    wide: float,
    contexts: int,
    boost_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("evoprompt.jobs.boost.prediction.WIDE", wide)
    sets = (f"loop.measure_imitation={setting}", "loop.go_on=false")
    begin(boost_file, tmp_path / "run", *sets)
    assert record(tmp_path / "run")[0]["imitation"]["num_rounds"] == contexts


def test_the_width_is_that_of_the_interval_of_the_first_round(boost_file: Path, tmp_path: Path):
    begin(boost_file, tmp_path / "run", "loop.measure_imitation=2", "loop.rounds=1")
    folder = BoostFolder.open(tmp_path / "run")
    first, second = folder.rounds()
    answers = [(j, r) for j, r in folder.answers() if j.round == 0]
    tested = Outcomes(np.array([r for _, r in answers]), np.ones(len(answers)))
    judged, right = (tuple(values) for values in zip(*answers, strict=True))
    measured = Measured(tested, judged, right, (), (), first.imitation)
    config = load_boost(boost_file, ["loop.measure_imitation=2", "loop.rounds=1"])
    num_questions = len(asked_of(config).questions)
    width = first_width(config, first, measured, num_questions)
    assert second.predicted_ci is not None
    low, high = second.predicted_ci
    # two simulations of 2,000 loops each, whose ends are twentieths, of 20 test answers
    assert width == pytest.approx(high - low, abs=0.051)


def test_a_judge_is_evolved_on_what_the_model_answered_itself(boost_file: Path, tmp_path: Path):
    begin(boost_file, tmp_path / "run", "loop.own_answers=true", "loop.rounds=1")
    answers = tmp_path / "run" / "own_answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    config = load_boost(boost_file)
    assert config.task is not None
    plain = load_task(config.task)
    assert len(rows) == sum(len(split) for split in plain.splits.values())
    own = {"judge": True, "own_answers": answers}
    judging = load_task(config.task.model_copy(update=own))
    wrong = {r["input"] for r in rows if not r["is_right"]}
    for split in (judging.fitness, judging.validation, judging.test):
        assert [e.target for e in split] == ["TRUE", "FALSE"] * (len(split) // 2)
        assert all((e.target == "FALSE") == (e.input.split("\n")[0] in wrong) for e in split)


@pytest.mark.parametrize(("impurity", "num_wrong"), [(0.0, 0), (2 / 3, 2), (1.0, 3)])
def test_a_labelled_context_has_as_many_wrong_pairs_as_asked_for(
    boost_file: Path, tmp_path: Path, impurity: float, num_wrong: int
):
    parts = build_boost(load_boost(boost_file), tmp_path)
    shown = labelled_context(parts, impurity, np.random.default_rng(0))
    questions = [parts.question(j) for j in shown]
    assert len({e.example_id for e in questions}) == 3
    assert sum(j.answer != e.target for j, e in zip(shown, questions, strict=True)) == num_wrong
    assert all(j.answer in e.candidates for j, e in zip(shown, questions, strict=True))
    parts.close()


def test_imitation_cannot_be_measured_where_no_right_or_no_wrong_answer_is_known(
    boost_file: Path, tmp_path: Path
):
    asked = tmp_path / "asked.jsonl"
    questions = [f"questions={asked}", "loop.measure_imitation=1"]
    asked.write_text(
        "".join(
            json.dumps({"input": f"q {i}", "choices": ["bad", "good"]}) + "\n" for i in range(9)
        )
    )
    with pytest.raises(UserError, match="none of the questions has a target"):
        check_boost(load_boost(boost_file, questions))
    asked.write_text(
        "".join(
            json.dumps({"input": f"q {i}", "target": "x", "id": f"q{i}"}) + "\n" for i in range(9)
        )
    )
    parts = build_boost(load_boost(boost_file, questions), tmp_path)
    with pytest.raises(UserError, match="question q. has none: 'x' is all there is"):
        labelled_context(parts, 1.0, np.random.default_rng(0))
    parts.close()


def test_free_answers_are_written_and_judged(boost_file: Path, task_file: Path, tmp_path: Path):
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    free = tmp_path / "free.jsonl"
    free.write_text(
        "".join(json.dumps({"input": row["input"], "target": row["target"]}) + "\n" for row in rows)
    )
    with pytest.raises(UserError, match="loop.judge=rivals compares"):
        check_boost(load_boost(boost_file, [f"task.path={free}", "loop.judge=rivals"]))
    summary, observer = begin(
        boost_file,
        tmp_path / "run",
        f"task.path={free}",
        "loop.answer_tokens=5",
        "loop.rounds=1",
        "loop.measure_imitation=1",
    )
    assert observer.lines[-1].answered == 6
    assert observer.lines[0].imitation.num_rounds == 2
    assert summary["tokens"]["generated"] > 0


def test_a_stop_that_was_swallowed_ends_the_loop_before_its_next_round(
    boost_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evoprompt.interrupt._interrupted", True)
    with pytest.raises(KeyboardInterrupt):
        begin(boost_file, tmp_path / "run")
    assert [line["round"] for line in record(tmp_path / "run")] == [0]


def test_the_budget_ends_the_loop(boost_file: Path, tmp_path: Path):
    _, observer = begin(boost_file, tmp_path / "run", "loop.prefill_tokens=1")
    assert [line.round for line in observer.lines] == [0]


def test_mistakes_are_named_before_anything_starts(boost_file: Path, tmp_path: Path):
    for overrides, message in (
        (["task=null"], "give a task"),
        (["loop.batch=500"], "a round asks loop.batch=500 of"),
        (["loop.bufer=replace"], "did you mean 'buffer'"),
        (["loop.calibrate=true", "loop.threshold=1"], "no loop.threshold"),
        ([f"policy_run={tmp_path}"], "both policy and policy_run"),
        (["policy=null", f"policy_run={tmp_path}"], "there is no run in"),
        (["loop.least_buffer=9"], "more than a round's questions"),
        (
            ["task=null", "questions=q.jsonl", "loop.measure_imitation=1"],
            "loop.measure_imitation needs a task",
        ),
    ):
        with pytest.raises(UserError, match=message):
            check_boost(load_boost(boost_file, overrides))


@pytest.mark.pages
def test_the_command_line_makes_resumes_and_reports_a_loop(
    boost_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from evoprompt.cli import app

    app(
        ["boost", str(boost_file), "--out", str(tmp_path / "run"), "--set", "loop.rounds=1"],
        standalone_mode=False,
    )
    shown = capsys.readouterr().out
    for text in ("round   1", "predicted", "error before", "play"):
        assert text in shown
    (tmp_path / "run" / "report.html").unlink()
    app(["report", str(tmp_path / "run")], standalone_mode=False)
    assert (tmp_path / "run" / "report.html").exists()
    with pytest.raises(UserError, match="is complete"):
        app(["resume", str(tmp_path / "run")], standalone_mode=False)
    (tmp_path / "run" / "summary.json").unlink()
    boost_session.resume(tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()


def first_answers() -> list[tuple[Judged, bool]]:
    """100 answers, 40 of them wrong; the evaluator gives log-odds above 0 to 54 of 60 right ones
    (s = 0.9) and to 4 of 40 wrong ones (c = 0.9). The surest 30 are right.
    """
    odds = [3.0] * 30 + [1.0] * 24 + [-1.0] * 6 + [1.0] * 4 + [-1.0] * 36
    return [
        (Judged(0, str(i), "t", "ab"[i % 2], 0.5, odds[i], accepted=odds[i] > 0), i < 60)
        for i in range(100)
    ]


def predicted_round(*settings: str, num_wrong: int, abstained: bool = False) -> RoundLine:
    """The first round of a loop after `first_answers`: eight right pairs in its context, so many
    of 100 test answers wrong.
    """
    loop = dict(setting.split("=") for setting in settings)
    config = check_section(BoostConfig, {"task": {"name": "inbox"}, "loop": loop}, "test")
    threshold = config.loop.threshold
    first = [(replace(j, abstained=abstained and not r), r) for j, r in first_answers()]

    def line_of(right: list[bool], state: LoopState, judged, earlier=()) -> RoundLine:
        measured = Measured(
            Outcomes(np.array(right), np.ones(len(right))),
            tuple(j for j, _ in judged),
            tuple(r for _, r in judged),
            *(tuple(True for _ in group) for group in (state.buffer, state.context)),
            earlier=tuple(earlier),
        )
        line = round_line(config, state, measured, threshold)
        return against_prediction(config, [before] if earlier else [], line, measured)

    before = line_of([r for _, r in first], LoopState(0), first)
    batch = [(replace(j, round=1), r) for j, r in first[::3]]
    pairs = tuple(j for j, _ in batch[:8])
    right = [False] * num_wrong + [True] * (100 - num_wrong)
    return line_of(right, LoopState(0, 1, pairs, pairs), batch, first)


def test_a_round_is_predicted_from_the_calibration_before_it():
    # One round: 0.4 * 0.1 / (0.4 * 0.1 + 0.6 * 0.9) = 0.069.
    loop = ("choose=newest", "threshold=0")
    line = predicted_round(*loop, num_wrong=7)
    assert line.predicted == pytest.approx(0.075, abs=0.02)
    assert line.verdict.inside
    line = predicted_round(*loop, num_wrong=60)
    assert not line.verdict.inside
    assert line.verdict.failed == ("imitation partial",)


def test_a_round_is_predicted_for_the_context_that_its_loop_chooses():
    # Of 34 answers the surest 17 are accepted: 10 % of 60 % are wrong at log-odds 1. The surest
    # pairs of each answer are right where their log-odds are 3.
    shown = {
        rule: predicted_round(f"choose={rule}", num_wrong=0).predicted
        for rule in ("newest", "balanced", "confident")
    }
    assert shown["newest"] == pytest.approx(0.07, abs=0.03)
    assert max(shown["balanced"], shown["confident"]) < shown["newest"] - 0.015
    line = predicted_round("abstain_below=0.6", num_wrong=0)
    assert line.predicted_for == (
        "contexts of the surest pairs of each answer in turn among the newest round's accepted "
        "answers (the surest 50% of a round, answers of probability below 0.6 withheld)"
    )
    assert "(log-odds above 0.00)" in predicted_round("threshold=0", num_wrong=0).predicted_for


def test_a_policy_that_abstains_where_it_would_be_wrong_is_predicted_to_be_right():
    loop = ("choose=newest", "share=1")
    assert predicted_round(*loop, num_wrong=0).predicted == pytest.approx(0.4, abs=0.03)
    assert predicted_round(*loop, num_wrong=0, abstained=True).predicted < 0.03


def test_counts_leave_out_what_abstained_and_what_has_no_label():
    judged = [
        Judged(1, "a", "t", "x", 0.5, 1.0, accepted=True),
        Judged(1, "b", "t", "x", 0.5, 1.0, abstained=True),
        Judged(1, "c", "t", "x", 0.5, 1.0, accepted=True),
        Judged(1, "d", "t", "x", 0.5, 1.0),
    ]
    counts = counts_of(judged, [True, True, None, False])
    assert (counts.accepted_right, counts.num_right, counts.accepted_wrong, counts.num_wrong) == (
        1,
        1,
        0,
        1,
    )


def test_the_notes_say_whether_the_recurrence_lets_the_error_fall():
    config = check_section(BoostConfig, {"task": {"name": "inbox"}}, "test")
    base = replace(unmeasured(), error_rate=0.4, ln_lambda=LogRatio(1.0, 0.1))
    for s, said in ((0.8, "lets the error fall"), (0.5, "does not let the error fall")):
        [first, *_] = notes(config, [replace(base, sensitivity=s, specificity=0.4)])
        assert said in first


def test_the_notes_say_which_rounds_were_outside_and_what_their_counts_refute():
    config = check_section(BoostConfig, {"task": {"name": "inbox"}}, "test")
    base = replace(
        unmeasured(), error_rate=0.4, ln_lambda=LogRatio(1.0, 0.1), sensitivity=0.8, specificity=0.4
    )
    inside = replace(
        base, round=1, predicted_ci=(0.1, 0.2), verdict=RoundVerdict(True, ("b",), None)
    )
    outside = replace(
        base, round=2, predicted_ci=(0.1, 0.7), verdict=RoundVerdict(False, ("a", "b"), 3.0)
    )
    assert notes(config, [base, inside, outside])[1:] == [
        "Outside the predicted interval: round 2. The widest interval is 0.60, so being inside "
        "says little.",
        "What the counts refute: b (round 1, 2).",
        "What the counts refute: a (round 2).",
    ]
    assert notes(config, [base, inside])[1] == "Every round was inside its predicted interval."


def test_the_notes_say_for_which_loop_the_rounds_were_predicted():
    config = check_section(BoostConfig, {"task": {"name": "inbox"}}, "test")
    base = replace(
        unmeasured(), error_rate=0.4, ln_lambda=LogRatio(1.0, 0.1), sensitivity=0.8, specificity=0.4
    )
    predicted = replace(
        base,
        round=1,
        predicted=0.14,
        predicted_ci=(0.1, 0.2),
        verdict=RoundVerdict(True, (), None),
    )
    earlier = notes(config, [base, predicted])[1]
    assert earlier == (
        "Predicted for contexts of the newest pairs above a fixed threshold, and a model that is "
        "wrong as often as its context: an error of 0.140 [0.100, 0.200] after round 1."
    )
    said = notes(config, [base, replace(predicted, predicted_for="contexts of x")])[1]
    assert said.startswith("Predicted for contexts of x, and a model that is wrong as often")
    fit = ImitationFit(0.1, 0.6, 0.01, 0.01, 2)
    measured = notes(config, [replace(base, imitation=fit), predicted])
    assert "an error of 0.100, with wrong ones of 0.600" in measured[1]
    assert "does not tell how much contexts differ" in measured[2]
    assert "follows its context as far as contexts of labelled pairs told" in measured[3]


def test_a_round_is_read_back_as_it_was_written_key_for_key(boost_file: Path, tmp_path: Path):
    _, observer = begin(boost_file, tmp_path / "run", "loop.rounds=1")
    written = (tmp_path / "run" / "recurrence.jsonl").read_text().splitlines()
    assert [json.dumps(RoundLine.from_dict(json.loads(w)).to_dict()) for w in written] == [
        json.dumps(json.loads(w)) for w in written
    ]
    assert BoostFolder.open(tmp_path / "run").rounds() == observer.lines


def unmeasured() -> RoundLine:
    """Round 0 of a loop of which nothing is known."""
    config = check_section(BoostConfig, {"task": {"name": "inbox"}}, "test")
    return round_line(config, LoopState(0), Measured(None, (), (), (), ()), None)


def test_answers_over_a_batch_are_said_to_be_so():
    of = {
        answers: check_section(
            BoostConfig, {"task": {"name": "inbox"}, "loop": {"answers": answers}}, "test"
        )
        for answers in ("batch", "pmi")
    }
    assert "over all inputs asked together" in notes(of["batch"], [unmeasured()])[-1]
    assert not any("asked together" in text for text in notes(of["pmi"], [unmeasured()]))


@pytest.mark.pages
def test_a_loop_tells_what_its_standing_check_found(boost_file: Path, tmp_path: Path, capsys):
    summary = boost_session.start(load_boost(boost_file), tmp_path / "loop")
    checked = summary["checked"]
    assert checked["requests"] >= 16
    assert checked["difference"] < 1e-4
    said = f"Standing check: {checked['requests']} requests scored again"
    assert summary["notes"][-1].startswith(said)
    assert said in (tmp_path / "loop" / "report.html").read_text()
    assert "Standing check" in capsys.readouterr().out
