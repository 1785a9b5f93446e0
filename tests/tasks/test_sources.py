"""Tasks: splits share nothing and follow content alone; rendering is text for text; mistakes name
their line.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, QueryKind
from evoprompt.tasks.load import SOURCES, load_task
from evoprompt.tasks.render import render_prompt, render_queries
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.builtin import builtin_names
from evoprompt.tasks.sources.jsonl import read_jsonl, read_questions

EVERYTHING = {
    "fitness_examples": 999,
    "validation_examples": 999,
    "test_examples": 999,
    "demonstration_pool": 999,
}


def contents(task):
    return [{(d.input, d.target) for d in task.demonstrations}] + [
        {(e.input, e.target) for e in s} for s in (task.fitness, task.validation, task.test)
    ]


@pytest.mark.parametrize("name", builtin_names())
def test_a_task_of_the_package_is_large_and_without_repetition(name: str):
    task = load_task(TaskConfig(name=name, **EVERYTHING))
    splits = contents(task)
    assert sum(map(len, splits)) >= 300
    assert len(set.union(*splits)) == sum(map(len, splits)), "an example is in two splits"
    assert all(len(s) >= 40 for s in splits)
    inputs = [i for s in splits for i, _ in s]
    assert len({i.lower() for i in inputs}) == len(inputs)
    free = ("gridworld", "gridworld_unseen", "word_problems", "worked_problems")
    assert task.has_choices == (name not in free)
    assert len(task.starting_policies) >= 3


@pytest.mark.parametrize("name", ["inbox", "sense"])
def test_a_task_with_shared_choices_is_balanced_as_a_whole_and_in_what_is_learned_from(
    name: str,
):
    labels = Counter(
        t for s in contents(load_task(TaskConfig(name=name, **EVERYTHING))) for _, t in s
    )
    assert max(labels.values()) <= 1.1 * min(labels.values())
    task = load_task(
        TaskConfig(name=name, fitness_examples=48, validation_examples=36, test_examples=100)
    )
    for split in (task.fitness, task.validation):
        counts = Counter(e.target for e in split).values()
        assert max(counts) - min(counts) <= 1


def write_rows(path: Path, rows: list[tuple[str, str, list[str]]]) -> Path:
    path.write_text(
        "".join(json.dumps({"input": i, "target": t, "choices": c}) + "\n" for i, t, c in rows)
    )
    return path


def test_a_cut_of_examples_whose_choices_differ_keeps_their_proportions(tmp_path: Path):
    # Half of the examples are answered "none" and half by a word of their own. Targets in turn
    # would take each word once before the second "none": 1 of 20. Of 20 in a random order 10 are
    # expected; fewer than 4 or more than 16 has a probability of 0.003.
    rows = [
        (f"question {i}", "none" if i % 2 else f"word {i}", [f"word {i}", "another", "none"])
        for i in range(400)
    ]
    task = load_task(TaskConfig(path=write_rows(tmp_path / "x.jsonl", rows), fitness_examples=20))
    assert 4 <= sum(e.target == "none" for e in task.fitness) <= 16


def test_a_smaller_cut_of_examples_whose_choices_differ_is_the_beginning_of_a_greater_one():
    small, great = (
        load_task(TaskConfig(name="questions", fitness_examples=n, test_examples=n))
        for n in (10, 60)
    )
    assert small.fitness == great.fitness[:10]
    assert small.test == great.test[:10]


def test_the_order_in_which_the_same_choices_are_listed_does_not_unbalance_a_cut(tmp_path: Path):
    rows = [
        (
            f"text {i}",
            "rare" if i % 10 == 0 else "common",
            ["rare", "common"][:: 1 if i % 3 else -1],
        )
        for i in range(400)
    ]
    task = load_task(TaskConfig(path=write_rows(tmp_path / "x.jsonl", rows), fitness_examples=8))
    assert Counter(e.target for e in task.fitness) == {"rare": 4, "common": 4}


def test_choices_that_are_the_same_in_several_orders_come_in_one(tmp_path: Path):
    """A place among the choices is one label then, as offsets and traits of labels need it."""
    labels = ["c", "a", "b"]
    rows = [(f"text {i}", labels[i % 3], labels[i % 3 :] + labels[: i % 3]) for i in range(90)]
    given = read_jsonl(write_rows(tmp_path / "turned.jsonl", rows))
    task = load_task(TaskConfig(path=tmp_path / "turned.jsonl"))
    assert task.choices == ("a", "b", "c")
    assert {e.choices for e in (*task.pool, *task.test)} == {task.choices}
    # the same examples, ids and targets
    targets = {e.example_id: (e.input, e.target) for e in given}
    for split in task.splits.values():
        assert all(targets[e.example_id] == (e.input, e.target) for e in split)
    # power: one order is kept as it is given, and so are choices of which one is another
    same = [(text, target, labels) for text, target, _ in rows]
    write_rows(tmp_path / "same.jsonl", same)
    assert load_task(TaskConfig(path=tmp_path / "same.jsonl")).choices == ("c", "a", "b")
    write_rows(tmp_path / "other.jsonl", [*rows, ("text", "d", ["d", "a", "b"])])
    other = load_task(TaskConfig(path=tmp_path / "other.jsonl", **EVERYTHING))
    assert other.choices is None
    assert ("c", "a", "b") in {e.choices for split in other.splits.values() for e in split}


def test_what_no_split_has_room_for_is_kept_beside_them_with_their_choices(tmp_path: Path):
    """In the order of the splits; an example with other choices takes none of them their order."""
    labels = ["c", "a", "b"]
    rows = [(f"text {i}", labels[i % 3], labels[i % 3 :] + labels[: i % 3]) for i in range(300)]
    sizes = {"demonstration_pool": 9, "fitness_examples": 9, "validation_examples": 9}
    file = write_rows(tmp_path / "x.jsonl", rows)
    plain = load_task(TaskConfig(path=file, **sizes))
    beside = (*plain.pool, *plain.fitness, *plain.validation, *plain.test)
    assert len(plain.spare) > 100
    assert not {e.input for e in plain.spare} & {e.input for e in beside}
    assert {e.choices for e in plain.spare} == {plain.choices} == {("a", "b", "c")}
    # one odd row, far behind in its split: the splits share their choices all the same
    for number in range(400):
        odd = (f"odd {number}", "d", ["d", "a", "b"])
        task = load_task(TaskConfig(path=write_rows(tmp_path / "y.jsonl", [*rows, odd]), **sizes))
        if odd[0] not in {e.input for split in task.splits.values() for e in split}:
            break
    assert task.choices == ("a", "b", "c")
    assert odd[0] not in {e.input for e in task.spare}


def test_the_cut_of_the_inbox_is_the_one_of_the_recorded_runs():
    task = load_task(TaskConfig(name="inbox", fitness_examples=48))
    assert [(e.example_id, e.target) for e in task.fitness[:5]] == [
        ("040bb2af0eaa65e8", "request"),
        ("042d876a41625353", "complaint"),
        ("04ba479eff51c024", "question"),
        ("05443d5749f271ca", "praise"),
        ("051c8667bca9bbf8", "complaint"),
    ]


def test_the_split_of_an_example_does_not_depend_on_its_neighbours(tmp_path: Path, task_file: Path):
    lines = task_file.read_text().splitlines()
    part = tmp_path / "part.jsonl"
    part.write_text("\n".join(reversed(lines[:100])))
    whole, half = (contents(load_task(TaskConfig(path=p, **EVERYTHING))) for p in (task_file, part))
    assert all(h <= w for h, w in zip(half, whole, strict=True))
    assert sum(map(len, half)) < sum(map(len, whole))


def test_with_a_test_file_nothing_of_it_is_used_elsewhere(tmp_path: Path, task_file: Path):
    test = tmp_path / "test.jsonl"
    test.write_text("\n".join(task_file.read_text().splitlines()[:30]))
    *others, held_out = contents(
        load_task(TaskConfig(path=task_file, test_path=test, **EVERYTHING))
    )
    assert len(held_out) == len(set(test.read_text().splitlines()))
    assert all(not held_out & other for other in others)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"input": "a", "target": "goood", "choices": ["good", "bad"]}',
            r"line 2: the target 'goood' is not among the choices .*did you mean 'good'",
        ),
        ('{"input": "a"', "line 2: not JSON"),
        ('{"input": "a"}', "line 2: expected"),
        ('{"input": "a", "target": "b", "choices": ["b"]}', "line 2: 'choices' must be"),
        ('{"input": "a", "target": ""}', "line 2: the target is empty"),
        ('{"input": "a", "target": " \\t"}', "line 2: the target is blank"),
        (
            '{"input": "a", "target": "b", "choices": ["b", "\\u2003"]}',
            "line 2: a choice is blank",
        ),
        (
            '{"input": "a", "target": "b", "choices": ["b", "c", " b"]}',
            "line 2: 'choices' must be at least two that differ by more than blanks",
        ),
        (
            '{"input": "a", "target": 1}',
            """line 2: 'target' must be a text.*quotes: "1" .given: 1""",
        ),
        (
            '{"input": "a", "target": true}',
            """'target' must be a text; put it in quotes: "true" """,
        ),
        ('{"input": "a", "target": {"b": 1}}', "line 2: 'target' must be a text .given"),
        ('{"input": "a", "target": [["b"]]}', "line 2: a list of targets must have texts"),
        ('{"input": 3.5, "target": "b"}', """'input' must be a text; put it in quotes: "3.5" """),
        (
            '{"input": "a", "target": "1", "choices": ["1", 2]}',
            """'choices' must be texts; put it in quotes: "2" """,
        ),
        ('{"input": "a", "target": "b", "choices": {"b": 1}}', "'choices' must be null or a list"),
        ('{"input": "a", "target": "b", "id": ["x"]}', "'id' must be a text or a number"),
        ('{"input": "a", "target": "b", "target": "c"}', "line 2: the key 'target' stands twice"),
        ('{"input": "a \\udc9f", "target": "b"}', r"line 2: \\udc9f is half a surrogate pair"),
        ('["a", "b"]', "line 2: expected an object of the form"),
        ('{"text": "a", "target": "b"}', "the key 'text' is not known; did you mean 'input'"),
        ('{"input": "a", "label": "b"}', "the key 'label' is not known; did you mean 'target'"),
        ('{"input": "a", "Target": "b"}', "the key 'Target' is not known; .* 'target'"),
        ('{"input": "a", "traget": "b"}', "the key 'traget' is not known; .* 'target'"),
        (
            '{"input": "a", "target": "b", "options": ["b", "c"]}',
            "line 2: the key 'options' is not known; did you mean 'choices'",
        ),
        ('{"input": "a", "target": "b", "ID": 7}', "the key 'ID' is not known; .* 'id'"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: str, message: str):
    path = tmp_path / "x.jsonl"
    path.write_text('{"input": "a", "target": "b"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        load_task(TaskConfig(path=path))


def test_keys_of_others_are_passed_over(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"input": "a", "target": "b", "answer": "c", "source": {"deep": [1]}}\n')
    [example] = read_jsonl(path)
    assert (example.input, example.target, example.choices) == ("a", "b", None)


def test_questions_stand_once_with_the_last_target_that_is_known(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    rows = [
        {"input": "a", "choices": ["x", "y"], "id": "1"},
        {"input": "a", "choices": ["y", "x"], "target": "y", "id": "2"},
        {"input": "a", "choices": ["x", "y"], "target": None, "id": "3"},
        {"input": "b", "choices": ["x", "y"], "id": "4"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_questions(path) == (
        Example("2", "a", "y", ("y", "x")),
        Example("4", "b", "", ("x", "y")),
    )


def test_an_example_knows_its_line_and_zero_is_an_id(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('\n{"input": "a", "target": "b", "id": 0}\n')
    [example] = read_jsonl(path)
    assert (example.origin, example.example_id) == (f"{path}:2", "0")


def test_a_file_without_a_line_is_refused(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    for text in ("", "\n \r\n", "\ufeff"):
        path.write_text(text)
        with pytest.raises(UserError, match="have no line"):
            read_jsonl(path)


def test_a_missing_file_an_empty_split_and_an_unknown_task_are_said(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read the examples"):
        load_task(TaskConfig(path=tmp_path / "none.jsonl"))
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"input": "a", "target": "b"}))
    with pytest.raises(UserError, match=r"split is empty \(1 examples in all\)"):
        load_task(TaskConfig(path=few))
    with pytest.raises(UserError, match="did you mean 'inbox'"):
        load_task(TaskConfig(name="inbx"))


@pytest.mark.parametrize(
    "config", [{"name": "inbox"}, {"name": "questions"}, {"path": Path("arithmetic.jsonl")}]
)
def test_a_difficulty_is_refused_where_the_task_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict
):
    monkeypatch.chdir(tmp_path)
    Path("arithmetic.jsonl").write_text('{"input": "a", "target": "b"}\n')
    with pytest.raises(
        UserError,
        match=r"has no difficulty \(given: 3\); leave task.difficulty out, or use arithmetic or "
        r"scramble",
    ):
        load_task(TaskConfig(difficulty=3, **config))


def test_label_words_for_a_choice_that_does_not_exist_are_refused(task_file: Path):
    with pytest.raises(UserError, match="label words are given for 'goood'; did you mean 'good'"):
        load_task(TaskConfig(path=task_file, label_words={"goood": ["x"]}))


def test_a_prompt_is_rendered_to_the_letter():
    policy = Policy(
        "Sort.",
        (Demonstration("fine film", "good"),),
        Template("T: ", "\nL:", "\n--\n"),
        (("good", "great"),),
    )
    assert (
        render_prompt(policy, "poor book")
        == "Sort.\n--\nT: fine film\nL: great\n--\nT: poor book\nL:"
    )
    assert render_prompt(Policy(), "x") == "Input: x\nOutput:"


def test_queries_are_one_per_example_and_candidate_and_priors_come_last():
    examples = [Example("a", "x", "bad", ("bad", "good")), Example("b", "y", "free")]
    queries = render_queries(Policy(label_words=(("good", "great"),)), examples, with_prior=True)
    assert [(q.example_id, q.candidate, q.continuation, q.kind) for q in queries] == [
        ("a", 0, " bad", QueryKind.CANDIDATE),
        ("a", 1, " great", QueryKind.CANDIDATE),
        ("b", 0, " free", QueryKind.CANDIDATE),
        ("a", 0, " bad", QueryKind.PRIOR),
        ("a", 1, " great", QueryKind.PRIOR),
        ("b", 0, " free", QueryKind.PRIOR),
    ]
    assert queries[3].context == "Input: N/A\nOutput:"


def test_two_examples_with_one_id_are_refused_with_their_lines(tmp_path: Path):
    file = tmp_path / "twice.jsonl"
    rows = [{"input": "a", "target": "x", "id": "1"}, {"input": "b", "target": "x", "id": "2"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in (*rows, rows[0])))
    assert len(read_jsonl(file)) == 3  # the same line again is the same example
    file.write_text(
        "".join(json.dumps(row) + "\n" for row in (*rows, {"input": "c", "target": "x", "id": "1"}))
    )
    with pytest.raises(UserError, match="line 3: the id '1' is that of line 1"):
        read_jsonl(file)


class Numbers:
    """A source of a program of one's own: is a number even?"""

    def read(self, config: TaskConfig) -> Raw:
        most = config.options.get("most", 300)
        examples = (Example(f"n{n}", str(n), ("even", "odd")[n % 2]) for n in range(most))
        return Raw(
            "parity",
            tuple(replace(e, choices=("even", "odd")) for e in examples),
            starting_policies=(Policy("Even or odd?"),),
            phrases=("Think.",),
            label_words={"odd": ("uneven",)},
        )


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a source that can be imported."""
    module = ModuleType("my_numbers")
    module.Numbers = Numbers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_numbers", module)
    return "my_numbers:Numbers"


def test_a_source_of_ones_own_is_split_balanced_and_cut_as_any_other(numbers: str):
    task = load_task(TaskConfig(source=numbers, phrases=["Mine."], label_words={"even": ["pair"]}))
    assert task.name == "parity"
    assert task.phrases[:2] == ("Think.", "Mine.")
    assert task.label_words == {"odd": ("uneven",), "even": ("pair",)}
    assert [p.instruction for p in task.starting_policies] == ["Even or odd?"]
    assert len(task.fitness) == 48
    assert Counter(e.target for e in task.fitness) == {"even": 24, "odd": 24}
    splits = contents(task)
    assert len(set.union(*splits)) == sum(map(len, splits))
    judging = load_task(TaskConfig(source=numbers, judge=True))
    assert (judging.name, judging.choices) == ("parity-judge", ("TRUE", "FALSE"))


def test_the_options_of_a_source_reach_it(numbers: str):
    with pytest.raises(UserError, match=r"task 'parity': .*split is empty \(2 examples in all\)"):
        load_task(TaskConfig(source=numbers, options={"most": 2}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "nobody:Knows"}, "task.source: 'nobody:Knows' cannot be imported"),
        ({"source": "hubb"}, "task.source has no source 'hubb'"),
        ({"source": "file"}, "task.source=file is asked for by task.path; give that instead"),
        ({"source": "builtin"}, "task.source=builtin is asked for by task.name"),
    ],
)
def test_a_source_that_there_is_not_is_refused_with_the_cure(given: dict, message: str):
    with pytest.raises(UserError, match=message):
        load_task(TaskConfig(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either task.name"),
        ({"name": "inbox", "source": "x:Y"}, "give either task.name"),
        ({"path": Path("x.jsonl"), "source": "x:Y"}, "give either task.name"),
        ({"name": "inbox", "options": {"a": 1}}, "task.options goes with task.source"),
        ({"source": "x:Y", "test_path": Path("x.jsonl")}, "task.test_path goes with task.path"),
    ],
)
def test_a_task_has_one_source_and_only_its_own_keys(given: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        TaskConfig(**given)


def test_a_new_source_takes_a_line(numbers: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SOURCES, "numbers", numbers)
    assert load_task(TaskConfig(source="numbers")) == load_task(TaskConfig(source=numbers))
    with pytest.raises(UserError, match="did you mean 'numbers'"):
        load_task(TaskConfig(source="nmbers"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"good": "bad"}, "have the same word, 'bad'"),
        ({"good": "fine", "bad": " fine"}, "have the same word, 'fine'"),
        ({"good": "  "}, "which is blank"),
    ],
)
def test_starting_policies_whose_choices_share_a_word_are_refused(task_file: Path, words, said):
    starting = [{"label_words": words}]
    with pytest.raises(UserError, match="label word of its own") as refused:
        load_task(TaskConfig(path=task_file, starting_policies=starting))
    assert said in str(refused.value)
    with pytest.raises(UserError, match="a word that is blank"):
        load_task(TaskConfig(path=task_file, label_words={"good": ["fine", " "]}))
    judge = {"evaluator": {"label_words": {"TRUE": "FALSE"}}}
    with pytest.raises(UserError, match="in its evaluator the choices 'TRUE' and 'FALSE'"):
        load_task(TaskConfig(path=task_file, starting_policies=[judge]))
