"""A configuration that is written for a file runs as it is, and says what was found."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evoprompt import cli
from evoprompt.config.reader import parse_override
from evoprompt.config.yaml_text import parse_yaml
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.init import budget, init, scalar
from evoprompt.tasks.load import load_task

pytestmark = pytest.mark.usefixtures("no_pages")

LABELS = ("refund", "login", "other thing")


def tickets(
    folder: Path, columns: tuple[str, str] = ("Message", "Category"), num: int = 150
) -> Path:
    """A file as people have it."""
    rng = random.Random(1)
    rows = [f"Nr;Agent;{columns[0]};{columns[1]};Date"]
    for n in range(150):
        label = rng.choice(LABELS)
        rows.append(f'{n};{rng.choice("AB")};"about {label}; number {n}\nBye";{label};2026-01-{n}')
    path = folder / "tickets.csv"
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    return path


def written(source: Path | str, out: Path | None = None, **fields: str) -> Path:
    return init(str(source), out, fields=fields)[0]


def test_what_is_written_runs_as_it_is(tmp_path: Path, tiny_model: Path):
    path, task = init(str(tickets(tmp_path)), None, model=str(tiny_model), fields={})
    assert path == tmp_path / "tickets.yaml"
    config = load_config(path)
    assert (config.task.fields.input, config.task.fields.target) == ("Message", "Category")
    assert load_task(config.task).splits == task.splits
    assert "fewer" not in "".join(task.notes)
    text = path.read_text()
    assert "# not used: Nr, Agent, Date" in text
    rows = (tmp_path / "tickets.csv").read_text()
    assert all(f"{label} {rows.count(f';{label};')}" in text for label in LABELS)
    settings = ["workers.backend=local", "tracking.enabled=false", "model.memo=false"]
    settings += [
        "evolution.generations=1",
        "evolution.children=2",
        "task.starting_demonstrations=[0]",
    ]
    summary = start(load_config(path, [*settings, "model.chunk_tokens=64"]), tmp_path / "run")
    assert summary["tokens"]["total"] <= config.budget.prefill_tokens
    assert summary["test"]["num_examples"] == len(task.test)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path):
    source = tickets(tmp_path)
    (tmp_path / "tickets.yaml").write_text("mine")
    with pytest.raises(UserError, match="tickets.yaml exists; give another name with -o"):
        written(source)
    assert (tmp_path / "tickets.yaml").read_text() == "mine"
    init(str(source), None, fields={}, force=True)
    assert load_config(tmp_path / "tickets.yaml").task.fields is not None


def test_a_config_elsewhere_finds_the_file(tmp_path: Path):
    (tmp_path / "configs").mkdir()
    path = written(tickets(tmp_path), tmp_path / "configs" / "c.yaml")
    assert "path: ../tickets.csv" in path.read_text()
    assert load_task(load_config(path).task).name == "tickets"


def test_columns_whose_names_say_nothing_are_found_by_what_they_hold(tmp_path: Path):
    path = written(tickets(tmp_path, ("q1", "q2")))
    fields = load_config(path).task.fields
    assert (fields.input, fields.target) == ("q1", "q2")
    assert "guessed; it could be Agent" in path.read_text()


def test_columns_that_may_belong_to_the_input_are_named_beside_it(tmp_path: Path):
    text = written(tickets(tmp_path, ("What", "Kind"))).read_text()
    assert 'columns in braces: "{Agent}\\n{What}"' in text


def test_a_label_that_is_missing_in_some_rows_is_told_and_no_other_column_taken(tmp_path: Path):
    path = tickets(tmp_path, ("What", "Kind"))
    text = path.read_text(encoding="utf-8-sig")
    for number in (4, 9):  # the rows of these numbers lose their label
        text = re.sub(rf"(number {number}\nBye\";)[^;]*;", r"\1 ;", text)
    path.write_text(text)
    with pytest.raises(UserError, match="'Kind' looks like the answers, and 2 of 150 rows have"):
        written(path)
    assert "--target 'Agent'" in failure(path)
    assert load_config(written(path, target="Agent")).task.fields.target == "Agent"


def failure(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        written(path)
    return str(caught.value)


def test_columns_that_are_given_are_taken(tmp_path: Path):
    source = tickets(tmp_path)
    path = written(source, input="{Agent}: {Message}", target="Agent")
    fields = load_config(path).task.fields
    assert (fields.input, fields.target) == ("{Agent}: {Message}", "Agent")
    with pytest.raises(UserError, match="there is no column 'Agnet'; did you mean 'Agent'"):
        written(source, tmp_path / "other.yaml", target="Agnet")
    assert not (tmp_path / "other.yaml").exists()


def test_a_file_of_which_nothing_can_be_said_is_refused_with_its_columns(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(60)))
    with pytest.raises(UserError, match="that it is the input or the target; .*'a', 'b'"):
        written(path)


def test_answers_with_numbers_are_to_be_graded_by_them(tmp_path: Path):
    rows = [{"input": f"{n} + {n}?", "target": f"That is {2 * n}."} for n in range(60)]
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert "# final: {metric: {name: number}}" in written(path).read_text()


def test_more_labels_than_are_taken_for_choices_are_listed(tmp_path: Path):
    rows = [{"text": f"text {n}", "label": f"l{n % 30}"} for n in range(300)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(load_config(written(path)).task)
    assert len(task.choices or ()) == 30


@pytest.mark.parametrize(
    "row",
    [
        {"input": "text {n}", "target": "yes", "choices": ["yes", "no"]},
        {"input": "text {n}", "target": "free {n}"},
        {"question": "which {n}?", "answer": "a {n}"},
        {"question": "which {n}?", "options": ["a", "b"], "answer": "b"},
        {"pre{m}ise": "it {n}", "text": "{n}", "no": "a: b # c"},
    ],
)
def test_lines_of_any_kind_get_a_config_that_is_read(tmp_path: Path, row: Mapping[str, Any]):
    path = tmp_path / "odd: name # {x}.jsonl"
    lines = [json.dumps(row).replace("{n}", str(n)) + "\n" for n in range(90)]
    other = json.dumps({**row, "no": "other"}) + "\n" if "no" in row else ""
    path.write_text("".join(lines) + (other.replace("{n}", "900") * 2 if other else ""))
    fields = {"input": "text", "target": "no"} if "no" in row else {}
    config = load_config(written(path, **fields)).task
    assert (config.fields is None) == ("input" in row)
    assert len(load_task(config).test) > 20


@given(st.text())
@example("-")
def test_any_text_is_written_so_that_it_is_read_back(text: str):
    assert parse_yaml(f"a: {{b: {scalar(text)}}}  # c\n")[0] == {"a": {"b": text}}
    assert parse_override(f"a={scalar(text)}")[1] == text


def test_the_budget_grows_with_the_texts(tmp_path: Path):
    # the quickstart's task and sizes have a budget of 40,000
    from evoprompt.config.task import TaskConfig

    sizes = {"fitness_examples": 64, "validation_examples": 36, "test_examples": 100}
    known = budget(load_task(TaskConfig(name="inbox", **sizes)))
    assert 30_000 <= known <= 55_000
    rows = [{"text": f"text {n} " * 100, "label": "ab"[n % 2]} for n in range(300)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_config(written(path)).budget.prefill_tokens > 5 * known


def test_the_command_says_what_was_found_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evoprompt", "init", "tickets.csv", "-o", "c.yaml"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    out = capsys.readouterr().out
    assert "fitness" in out
    assert "the choices are the 3 different targets" in out
    assert "written: c.yaml; read it, then: " in out
    assert out.rstrip().endswith("run c.yaml")


def test_looking_at_a_file_loads_no_model(tmp_path: Path):
    code = (
        "import sys; from evoprompt.jobs.init import init; "
        f"init({str(tickets(tmp_path))!r}, None, fields={{}}); "
        "print([m for m in ('torch', 'transformers', 'ray', 'mlflow', 'pyarrow') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
