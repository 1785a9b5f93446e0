"""Problems in words: right by another computation, different, as hard as they say; and tasks whose
examples have several right answers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from evoprompt.config.task import FieldsConfig, TaskConfig
from evoprompt.errors import UserError
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.jsonl import read_example
from evoprompt.tasks.word_problems import FEWER, MOST, word_problems, worked_problems

GIVES = tuple(text.split()[0] for text in FEWER)


def worked_out(text: str) -> tuple[int, list[int]]:
    """The result of a problem by its words, and all numbers on the way."""
    boxes = re.search(r"has (\d+) boxes of (\d+)", text)
    number = int(boxes[1]) * int(boxes[2]) if boxes else int(re.search(r"has (\d+)", text)[1])
    steps = [number]
    for clause in re.split(r" and then ", text.split(". ")[1]):
        by = int(re.search(r"\d+", clause)[0])
        loses = any(re.search(rf"\b{word}\b", clause) for word in GIVES) and "given" not in clause
        steps.append(steps[-1] - by if loses else steps[-1] + by)
    return steps[-1], steps


@pytest.mark.parametrize("difficulty", MOST)
def test_the_answers_are_right_and_no_number_is_too_great(difficulty: int):
    made = word_problems(difficulty, 2000)
    assert len({e.input for e in made}) == len({e.example_id for e in made}) == 2000
    for example in made:
        result, steps = worked_out(example.input)
        assert example.target == str(result)
        assert example.choices is None
        assert all(0 <= step <= MOST[difficulty] for step in steps)
    assert max(int(e.target) for e in made) > 0.8 * MOST[difficulty]
    assert word_problems(difficulty, 70) == made[:70]


@pytest.mark.parametrize("difficulty", MOST)
def test_worked_answers_are_of_the_same_problems_and_each_step_is_right(difficulty: int):
    plain, worked = word_problems(difficulty, 300), worked_problems(difficulty, 300)
    for bare, full in zip(plain, worked, strict=True):
        assert full.input == bare.input
        *steps, last = full.target.split(". ")
        assert last == f"The answer is {bare.target}."
        for step in steps:
            left, sign, right, _, result = step.split()
            by = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign]
            assert by(int(left), int(right)) == int(result)
        assert [int(step.split()[-1]) for step in steps][-1] == int(bare.target)
    count = 1 if difficulty == 1 else 2
    assert {full.target.count("=") for full in worked} == {count}


def test_the_choices_of_a_task_may_be_left_out():
    chosen, free = (load_task(TaskConfig(name="inbox", written=w)) for w in (False, True))
    assert chosen.has_choices
    assert not any(e.choices for split in free.splits.values() for e in split)
    assert [e.target for e in free.test] == [e.target for e in chosen.test]
    assert not free.label_words
    assert not any(p.label_words for p in free.starting_policies)


def test_a_difficulty_that_is_none_is_refused():
    with pytest.raises(ValueError, match="difficulty is 6"):
        word_problems(6, 3)


def test_a_target_may_be_a_list_of_right_answers(tmp_path: Path):
    found = read_example('{"input": "q", "target": ["New York", "NYC", "NYC"]}', "line 1")
    assert (found.target, found.also, found.golds) == ("New York", ("NYC",), ("New York", "NYC"))
    same = read_example('{"input": "q", "target": "New York"}', "line 1")
    assert found.example_id == same.example_id
    for wrong in ('["a", " "]', "[]", '["a", 3]'):
        with pytest.raises(UserError, match="a list of targets must have texts"):
            read_example(f'{{"input": "q", "target": {wrong}}}', "line 1")
    with pytest.raises(UserError, match="'target' must be a text"):
        read_example('{"input": "q", "target": ["a"], "choices": ["a", "b"]}', "line 1")


def test_a_column_may_have_lists_of_right_answers(tmp_path: Path):
    rows = [{"question": f"q{i}", "answers": {"text": [f"a{i}", f"b{i}"]}} for i in range(40)]
    (tmp_path / "qa.json").write_text(json.dumps(rows))
    fields = FieldsConfig(input="question", target="answers.text", choices="none")
    task = load_task(TaskConfig(path=tmp_path / "qa.json", fields=fields))
    assert {len(e.golds) for split in task.splits.values() for e in split} == {2}
    assert task.test[0].golds == (f"a{task.test[0].input[1:]}", f"b{task.test[0].input[1:]}")
