"""Answers to files and pipes are those of the run; what has no answer loses no other."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import evoprompt as ep
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.predict import predict, read_inputs

pytestmark = pytest.mark.usefixtures("no_pages")

TEXTS = ["film was good", "meal, not fine", 'a "sad" book']


@pytest.fixture(scope="module")
def tickets(shared_config: Path, task_file: Path) -> Path:
    """The task's examples as people have them: with columns of their own."""
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    number = {"bad": 0, "good": 1}
    lines = [f"{number[row['target']]};x;{row['input']}" for row in rows]
    path = shared_config.with_name("tickets.csv")
    path.write_text("\n".join(["mood;agent;what they say", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def made(shared_config: Path, tickets: Path) -> Path:
    """A complete run on these, calibrated."""
    fields = "{input: what they say, target: mood}"
    settings = [f"task.path={tickets}", f"task.fields={fields}"]
    settings += ["task.labels={0: bad, 1: good}", "fitness.calibration=labelled"]
    made = shared_config.with_name("run")
    start(load_config(shared_config, [*settings, "evolution.generations=1"]), made)
    return made


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "run")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_of_every_form_have_the_same_answers_as_from_python(run: Path, tmp_path: Path):
    result = ep.load(run)
    expected = result.probabilities(TEXTS)
    result.close()
    files = {
        "plain.txt": "\n".join(TEXTS),
        "plain": "\n\n".join(TEXTS),
        "x.csv": "what they say\n"
        + "\n".join('"' + text.replace('"', '""') + '"' for text in TEXTS),
        "x.jsonl": "\n".join(json.dumps({"what they say": text}) for text in TEXTS),
        "x.json": json.dumps([{"what they say": text, "mood": None} for text in TEXTS]),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        predict(run, str(tmp_path / name), tmp_path / f"{name}.out")
        found = lines(tmp_path / f"{name}.out")
        assert [line["input"] for line in found] == TEXTS
        for line, shares in zip(found, expected, strict=True):
            assert list(line) == ["input", "answer", "probability", "probabilities"]
            assert line["probabilities"] == pytest.approx(shares, abs=1e-6)
            assert line["probability"] == line["probabilities"][line["answer"]]
            assert line["answer"] == max(shares, key=lambda a: shares[a])


def test_known_targets_are_written_in_the_words_of_the_run_and_counted(
    run: Path, tickets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    predict(run, str(tickets), tmp_path / "out.jsonl")
    found = lines(tmp_path / "out.jsonl")
    assert len(found) == 160
    assert {line["target"] for line in found} == {"bad", "good"}
    right = sum(line["target"] == line["answer"] for line in found)
    assert f"{right} of 160 answers are the given target" in capsys.readouterr().err
    with pytest.raises(UserError, match="exists, and nothing is overwritten"):
        predict(run, str(tickets), tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("piped", "expected"),
    [
        (b"film, good\r\n\nbook; bad\n", ["film, good", "book; bad"]),
        (b'{"what they say": "film", "mood": 1}\n', ["film"]),
        (b'[{"what they say": "film"}, {"what they say": "book"}]', ["film", "book"]),
        ("\ufeffd\u00e9j\u00e0\n".encode(), ["d\u00e9j\u00e0"]),
    ],
)
def test_a_pipe_is_lines_or_json(
    run: Path,
    piped: bytes,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    predict(run, "-", None)
    out = capsys.readouterr().out
    assert [json.loads(line)["input"] for line in out.splitlines()] == expected


def test_no_character_of_an_input_acts_on_the_terminal(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    text = "a\x1b[31m\u2028\x7f\u202e \U0001f600"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    predict(run, "-", None)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["input"] == text


def test_a_pipe_of_csv_is_said_to_be_one(run: Path, monkeypatch: pytest.MonkeyPatch):
    task = load_config(run / "config.yaml").task
    piped = b"mood,what they say\n1,film\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    [row] = read_inputs(task, "-", "csv").rows
    assert (row.input, row.target) == ("film", "good")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text\na\n", "task.fields.input: there is no column 'what they say'"),
        ("x.csv", "what they say,x\na,b\nc\n", "line 3: 1 value, and the first line names 2"),
        ("x.csv", "what they say,x\n,b\n", "line 2: 'what they say' is empty"),
        ("x.txt", "", "has no line"),
        ("x.jsonl", '{"what they say": "a"', "line 1: not JSON"),
        ("none.txt", None, "cannot read the examples .*none.txt: No such file"),
    ],
)
def test_a_bad_input_is_refused_before_the_model_is_asked(
    run: Path, tmp_path: Path, name: str, content: str | None, message: str
):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        predict(run, str(tmp_path / name), tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_an_input_that_does_not_fit_is_told_and_the_others_are_answered(run: Path, tmp_path: Path):
    (tmp_path / "x.txt").write_text("\n".join([TEXTS[0], "long " * 900, TEXTS[1]]))
    with pytest.raises(UserError, match=r"1 of 3 inputs have no answer; .*x.txt, line 2: "):
        predict(run, str(tmp_path / "x.txt"), tmp_path / "out.jsonl")
    found = lines(tmp_path / "out.jsonl")
    assert [line["answer"] is None for line in found] == [False, True, False]
    assert "window" in found[1]["error"]


def test_choices_that_differ_by_input_are_read_of_each(config_file: Path, tmp_path: Path):
    rows = [
        {"q": f"which {n}?", "options": [f"a{n}", f"b{n}", "c"], "answer": n % 3} for n in range(90)
    ]
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [f"task.path={path}", "task.label_words={}", "evolution.generations=1"]
    settings += ["task.fields={input: q, target: answer, choices: options}"]
    start(load_config(config_file, settings), tmp_path / "run")
    new = tmp_path / "new.jsonl"
    new.write_text('{"q": "new?", "options": ["x", "y"]}\n')
    predict(tmp_path / "run", str(new), tmp_path / "out.jsonl")
    [line] = lines(tmp_path / "out.jsonl")
    assert set(line["probabilities"]) == {"x", "y"}
    new.write_text('{"q": "new?", "options": null}\n')
    with pytest.raises(UserError, match="line 1: the champion chooses among choices that differ"):
        predict(tmp_path / "run", str(new), None)


def test_lines_with_the_keys_of_an_example_keep_their_ids(
    config_file: Path, task_file: Path, tmp_path: Path
):
    settings = ["evolution.generations=1"]
    start(load_config(config_file, settings), tmp_path / "run")
    predict(tmp_path / "run", str(task_file), tmp_path / "out.jsonl")
    found = lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in found[:2]] == ["e0", "e1"]
    assert set(found[0]["probabilities"]) == {"bad", "good"}
