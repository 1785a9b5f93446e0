"""Which column is what: as it is said, or guessed and told; what cannot be so is refused with its
line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evoprompt.config.task import FieldsConfig, TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.records import Example
from evoprompt.tasks.fields import fill, resolve
from evoprompt.tasks.load import load_task
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.tasks.sources.file import FileSource
from evoprompt.tasks.sources.jsonl import content_hash


def table_of(*rows: Mapping[str, Any]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    given = [Row(f"line {n}", row) for n, row in enumerate(rows, 2)]
    return Table(columns, lambda _: iter(given))


def filled(fields: Mapping[str, Any], *rows: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    table = table_of(*rows)
    found, _ = resolve(FieldsConfig.model_validate(fields), table, "x")
    return [(f.input, f.target, f.choices) for f in fill(found, table, "x")]


def read(
    path: Path, rows: Sequence[Mapping[str, Any]], **settings: Any
) -> tuple[list[Example], str]:
    """Write rows as JSONL, and return the examples that a source reads, and its notes."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = FileSource().read(TaskConfig.model_validate({"path": path, **settings}))
    return [*raw.examples, *raw.test], "\n".join(raw.notes)


def test_a_field_is_a_column_or_a_text_with_columns_in_braces():
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "gold": 1, "a b": "{x}"}
    assert filled({"input": "premise", "target": "gold"}, row) == [("It rains.", "1", None)]
    text = "{premise}\nHypothesis: {hypothesis} {{sic}} {a b}{"
    expected = "It rains.\nHypothesis: It is wet. {sic} {x}{"
    assert filled({"input": text, "target": "gold"}, row) == [(expected, "1", None)]
    assert filled({"input": "{premise}", "target": "is {gold}"}, row) == [
        ("It rains.", "is 1", None)
    ]


NAMES = st.text(st.characters(exclude_characters="{}.", codec="utf-8"), min_size=1, max_size=8)


@given(
    st.dictionaries(NAMES, st.text(min_size=1).filter(str.strip), min_size=1, max_size=4),
    st.lists(st.text(st.characters(exclude_characters="{}")), min_size=5, max_size=5),
)
def test_a_template_is_what_stands_between_its_columns_whatever_they_hold(
    row: dict[str, str], between: list[str]
):
    # values are put in once: a brace in a value is a brace
    template, expected = between[0], between[0]
    for text, (key, value) in zip(between[1:], row.items(), strict=False):
        template, expected = f"{template}{{{key}}}{text}", f"{expected}{value}{text}"
    [(found, _, _)] = filled({"input": template, "target": template}, row)
    assert found == expected


def test_numbers_and_truth_values_are_labels():
    rows = [{"text": "a", "label": v} for v in (1, 1.0, True, False, 0.25, "1")]
    targets = [t for _, t, _ in filled({}, *rows)]
    assert targets == ["1", "1", "true", "false", "0.25", "1"]


def test_what_lies_inside_a_column_is_named_with_points():
    row = {"q": {"stem": "Why?"}, "answers": [{"text": "So."}], "a.b": "plain"}
    assert filled({"input": "q.stem", "target": "answers.0.text"}, row) == [("Why?", "So.", None)]
    assert filled({"input": "a.b", "target": "q.stem"}, row) == [("plain", "Why?", None)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("text", "label"), "input is 'text', target is 'label'"),
        (("Sentence", "id", "Category"), "input is 'Sentence', target is 'Category'; .*'id'"),
        (("label", "label_text", "text"), "target is 'label_text'; not used: 'label'"),
        (("premise", "hypothesis", "label"), r"input is '\{premise\}.nHypothesis: \{hypothesis\}'"),
        (("Title", "Body", "label"), r"input is '\{Title\}.n\{Body\}'"),
        (("question", "options", "answer"), "choices is 'options'"),
    ],
)
def test_what_is_guessed_is_said(columns: Sequence[str], said: str):
    table = Table(tuple(columns), lambda _: iter(()))
    assert re.search(said, resolve(FieldsConfig(), table, "x")[1])


def test_nothing_is_said_where_nothing_is_guessed():
    table = Table(("text", "label"), lambda _: iter(()))
    given = FieldsConfig(input="text", target="label", choices="none")
    assert resolve(given, table, "x")[1] == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input": "txt"}, "task.fields.input: there is no column 'txt'; did you mean 'text'"),
        ({"input": "TEXT"}, "there is no column 'TEXT'; did you mean 'text'"),
        ({"input": "{text} {zzz}"}, "there is no column 'zzz'; there are 'text', 'label', 'n'"),
        ({"target": "labels"}, "task.fields.target: .*'labels'; did you mean 'label'"),
        ({"choices": "optoins"}, "task.fields.choices: there is no column 'optoins'"),
        ({"choices": ["{a}", "{b}"]}, "task.fields.choices: there is no column 'a'"),
        ({"id": "key"}, "task.fields.id: there is no column 'key'"),
        ({"split": "fold"}, "task.fields.split: there is no column 'fold'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(fields: dict, message: str):
    table = Table(("text", "label", "n"), lambda _: iter(()))
    with pytest.raises(UserError, match=message):
        resolve(FieldsConfig.model_validate(fields), table, "x.csv")


def test_columns_that_say_nothing_are_asked_for(tmp_path: Path):
    table = Table(("col1", "col2"), lambda _: iter(()))
    with pytest.raises(UserError, match="that it is the input or the target; .*'col1', 'col2'"):
        resolve(FieldsConfig(), table, "x.csv")
    path = tmp_path / "x.csv"
    path.write_text("text,col2\na,b\n")
    with pytest.raises(UserError, match="that it is the target; give task.fields"):
        load_task(TaskConfig(path=path))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "", "label": "a"}, "line 2: 'text' is empty, and an example needs an input"),
        ({"text": " \t", "label": "a"}, "line 2: 'text' is empty"),
        ({"text": None, "label": "a"}, "line 2: 'text' is empty"),
        ({"label": "a", "n": 1}, "line 2: 'text' is empty"),
        ({"text": "a", "label": ""}, "line 2: the target is empty; fill it in"),
        ({"text": "a", "label": None}, "line 2: the target is empty"),
        ({"text": "a", "label": float("nan")}, "line 2: not JSON"),
        ({"text": ["a"], "label": "a"}, r"line 2: 'text' must be a text.*as in text.0 .given"),
        ({"text": {}, "label": "a"}, r"line 2: 'text' must be a text, a number or .*given: {}"),
        ({"text": {"en": "a"}, "label": "a"}, "line 2: 'text' must be .*as in text.en"),
    ],
)
def test_a_value_that_is_missing_or_no_text_has_its_line(tmp_path: Path, row: dict, message: str):
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x.jsonl", [{"text": "a", "label": "b"}, row])


def test_all_rows_without_a_target_are_counted(tmp_path: Path):
    rows = [{"text": str(n), "label": "" if n in (3, 5, 8) else "a"} for n in range(9)]
    with pytest.raises(UserError, match="line 4, and 2 more of 9 rows: the target is empty"):
        read(tmp_path / "x.jsonl", rows)


def test_a_part_of_a_template_may_be_empty():
    rows = [{"title": "", "body": "b", "label": "x"}, {"title": None, "body": "c", "label": "x"}]
    assert [i for i, _, _ in filled({}, *rows)] == ["\nb", "\nc"]


def test_few_targets_that_repeat_are_the_choices_and_that_is_said(tmp_path: Path):
    rows = [{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(8)]
    examples, notes = read(tmp_path / "x.jsonl", rows)
    assert {e.choices for e in examples} == {("a", "b")}
    assert "the choices are the 2 different targets: 'a', 'b'" in notes
    # each comes less than twice in the mean, or there are more than 20
    for distinct, number in ((5, 9), (21, 99)):
        rows = [{"text": f"t{n}", "label": f"l{n % distinct}"} for n in range(number)]
        examples, notes = read(tmp_path / "x.jsonl", rows)
        assert {e.choices for e in examples} == {None}
        assert f"there are {distinct} different targets" in notes
    rows = [{"text": f"t{n}", "label": f"l{n % 20}"} for n in range(99)]
    assert len(read(tmp_path / "x.jsonl", rows)[0][0].choices or ()) == 20


def test_choices_may_be_said(tmp_path: Path):
    rows = [{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(8)]
    free, _ = read(tmp_path / "x.jsonl", rows, fields={"choices": "none"})
    assert {e.choices for e in free} == {None}
    three, _ = read(tmp_path / "x.jsonl", rows, fields={"choices": ["c", "b", "a"]})
    assert {e.choices for e in three} == {("c", "b", "a")}
    with pytest.raises(UserError, match="line 2: the target 'b' is not among the choices"):
        read(tmp_path / "x.jsonl", rows, fields={"choices": ["a", "c"]})
    numbers = [{"text": f"t{n}", "label": n % 2} for n in range(8)]
    examples, _ = read(tmp_path / "x.jsonl", numbers, fields={"choices": [0, 1]})
    assert {e.choices for e in examples} == {("0", "1")}


QUIZ = {"question": "2 + 2?", "a": "3", "b": "4", "c": "5", "list": ["3", "4", "5"]}


@pytest.mark.parametrize("choices", [["{a}", "{b}", "{c}"], "list", "text"])
@pytest.mark.parametrize("answer", ["4", "B", 1, "1"])
def test_choices_of_each_row_are_a_column_or_texts_and_a_target_may_be_a_place(
    tmp_path: Path, choices: Any, answer: Any
):
    rows = [{**QUIZ, "text": "3 | 4|5", "answer": answer}]
    fields = {"input": "question", "choices": choices}
    [example], notes = read(tmp_path / "x.jsonl", rows, fields=fields)
    assert (example.choices, example.target) == (("3", "4", "5"), "4")
    first = "A" if answer == "B" else "0"
    said = f"the targets are places among the choices; {first} is the first" in notes
    assert said == (answer != "4")


def test_a_choice_goes_before_a_place_and_places_go_for_all_rows_or_none(tmp_path: Path):
    fields = {"input": "question", "choices": "list"}
    rows = [{"question": "x", "list": ["1", "0"], "answer": "1"}]
    assert read(tmp_path / "x.jsonl", rows, fields=fields)[0][0].target == "1"
    mixed = [{**QUIZ, "answer": "4"}, {**QUIZ, "answer": "0"}]
    with pytest.raises(UserError, match="line 2: the target '0' is not among the choices"):
        read(tmp_path / "x.jsonl", mixed, fields=fields)
    beyond = [{**QUIZ, "answer": "0"}, {**QUIZ, "answer": "D"}]
    with pytest.raises(UserError, match="line 2: the target 'D' is not among"):
        read(tmp_path / "x.jsonl", beyond, fields=fields)
    empty = [{**QUIZ, "answer": "4"}, {**QUIZ, "answer": "4", "list": None}]
    with pytest.raises(UserError, match="line 2: the choices are empty"):
        read(tmp_path / "x.jsonl", empty, fields=fields)
    with pytest.raises(UserError, match="'question' must be a list of texts"):
        read(tmp_path / "x.jsonl", rows, fields={"input": "question", "choices": "question"})


def test_labels_are_renamed(tmp_path: Path):
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(8)]
    labels = {0: "negative", 1: "positive"}
    examples, notes = read(tmp_path / "x.jsonl", rows, labels=labels)
    assert [e.target for e in examples[:2]] == ["negative", "positive"]
    assert {e.choices for e in examples} == {("negative", "positive")}
    assert "different targets" not in notes
    config = tmp_path / "c.yaml"
    config.write_text("task: {path: x.jsonl, labels: {0: negative, 1: positive}}\n")
    assert load_config(config).task.labels == {"0": "negative", "1": "positive"}
    with pytest.raises(UserError, match="line 2: task.labels does not name the label '1'; valid"):
        read(tmp_path / "x.jsonl", rows, labels={0: "negative", 2: "positive"})
    # what is called so already stays, and two may become one
    rows += [{"text": "x", "label": "negative"}, {"text": "y", "label": 2}]
    examples, _ = read(tmp_path / "x.jsonl", rows, labels={**labels, 2: "negative"})
    assert [e.target for e in examples[-2:]] == ["negative", "negative"]


def test_a_label_that_stands_once_or_in_another_case_is_named(tmp_path: Path):
    targets = ["Bug", "bug", "Bug", "bug", "other"]
    rows = [{"text": f"t{n}", "label": t} for n, t in enumerate(targets)]
    _, notes = read(tmp_path / "x.jsonl", rows, fields={"choices": ["Bug", "bug", "other"]})
    assert f"at one example alone, from which nothing can be learned: 'other' ({tmp_path}" in notes
    assert "x.jsonl, line 5)" in notes
    assert "the labels 'Bug', 'bug' differ only in case" in notes
    _, notes = read(tmp_path / "x.jsonl", rows[:1] * 2 + rows[1:2] * 2)
    assert "one example alone" not in notes


def test_a_column_may_say_the_split(tmp_path: Path):
    parts = ["Train"] * 40 + ["dev"] * 10 + ["test"] * 10 + ["extra"] * 3
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "part": p} for n, p in enumerate(parts)]
    path = tmp_path / "x.jsonl"
    _, notes = read(path, rows, fields={"split": "part"})
    assert "the 3 examples of the split 'extra' are left out" in notes
    assert "the file's own splits are kept: train 40, validation 10, test 10" in notes
    task = load_task(TaskConfig(path=path, fields=FieldsConfig(split="part")))
    numbers = {name: {int(e.input[1:]) for e in of} for name, of in task.splits.items()}
    assert numbers["validation"] == set(range(40, 50))
    assert numbers["test"] == set(range(50, 60))
    assert numbers["fitness"] | numbers["demonstrations"] == set(range(40))
    with pytest.raises(UserError, match="no split is called train, but 'test'"):
        read(path, rows[50:60], fields={"split": "part"})


def test_a_test_file_has_the_same_columns_and_shares_the_choices(tmp_path: Path):
    test = tmp_path / "test.csv"
    test.write_text("text;label\nx;a\ny;c\nz;c\n")
    rows = [{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(8)]
    examples, _ = read(tmp_path / "x.jsonl", rows, test_path=test)
    assert {e.choices for e in examples} == {("a", "b", "c")}
    assert [(e.input, e.target) for e in examples[8:]] == [("x", "a"), ("y", "c"), ("z", "c")]


def test_ids_are_of_a_column_or_of_the_content(tmp_path: Path):
    rows = [{"text": f"t{n}", "label": "a", "key": n} for n in range(2)]
    examples, _ = read(tmp_path / "x.jsonl", rows, fields={"id": "key"})
    assert [e.example_id for e in examples] == ["0", "1"]
    rows[1]["key"] = 0
    [first, _], _ = read(tmp_path / "x.jsonl", rows)
    assert first.example_id == content_hash(first)  # which is that of a line {"input", "target"}
    with pytest.raises(UserError, match="line 2: the id '0' is also that of another example"):
        read(tmp_path / "x.jsonl", rows, fields={"id": "key"})


def test_lines_with_the_keys_of_an_example_are_read_as_ever(tmp_path: Path):
    """Targets are free text there without choices, whatever repeats; that is said."""
    rows = [{"input": f"t{n}", "target": "ab"[n % 2], "text": "x"} for n in range(8)]
    examples, notes = read(tmp_path / "x.jsonl", rows)
    assert {e.choices for e in examples} == {None}
    assert "there are only 2 different targets; task.fields={} takes these as the cho" in notes
    assert read(tmp_path / "x.jsonl", rows, fields={})[0][0].choices == ("a", "b")
    different = [{**row, "target": str(n)} for n, row in enumerate(rows)]
    assert read(tmp_path / "x.jsonl", different)[1] == ""
    assert read(tmp_path / "x.jsonl", [{**r, "choices": ["a", "b"]} for r in rows])[1] == ""
    examples, _ = read(tmp_path / "x.jsonl", rows)
    assert examples[0].origin == f"{tmp_path / 'x.jsonl'}:1"
    said, _ = read(tmp_path / "x.jsonl", rows, fields={"input": "text", "target": "target"})
    assert said[0].input == "x"


@pytest.mark.parametrize("key", ["fields", "labels"])
def test_fields_and_labels_go_with_a_file(key: str):
    with pytest.raises(ValidationError, match=f"task.{key} goes with task.path"):
        TaskConfig.model_validate({"name": "inbox", key: {}})


def test_what_was_asked_for_and_is_not_there_is_said(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    rows = [{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(60)]
    read(path, rows)
    asked = {"path": path, "fitness_examples": 400, "test_examples": 3}
    notes = "\n".join(load_task(TaskConfig.model_validate(asked)).notes)
    assert "fewer examples are there than were asked for: " in notes
    assert " of 400 fitness" in notes
    assert "validation" not in notes
    assert "the test has 3 examples, fewer than 30" in notes
    notes = "\n".join(load_task(TaskConfig(name="inbox", test_examples=30)).notes)
    assert "fewer" not in notes
