"""Files of paths, and how their moves are scored."""

from __future__ import annotations

import json
from math import log
from pathlib import Path

import pytest

from evoprompt.config.task import PolicyConfig, TaskConfig
from evoprompt.errors import UserError
from evoprompt.examples import Move
from evoprompt.policy import Demonstration
from evoprompt.tasks.base import examples_digest
from evoprompt.tasks.load import load_task
from evoprompt.tasks.paths import as_scored, path_of
from evoprompt.tasks.sources.jsonl import read_example, read_questions


def row(number: int) -> dict[str, object]:
    steps = [
        {"input": f"boil water {number}", "target": "fill", "instruction": "get water"},
        {"input": f"water is there {number}", "target": "heat", "instruction": "make fire"},
    ]
    return {"steps": steps, "instructions": ["get water", "make fire", "wait"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tea.jsonl"
    path.write_text("".join(json.dumps(row(i)) + "\n" for i in range(60)))
    return path


def test_a_line_with_steps_is_a_path():
    found = read_example(json.dumps(row(3)), "line 1")
    assert (found.input, found.target) == ("boil water 3", "fill\nheat")
    assert found.choices is None
    offered = ("get water", "make fire", "wait")
    assert found.path == (
        Move("boil water 3", "fill", "get water", offered),
        Move("water is there 3", "heat", "make fire", offered),
    )
    # another state on the way is another path
    other = row(3)
    other["steps"][1]["input"] = "no water"  # type: ignore[index]
    assert read_example(json.dumps(other), "line 1").example_id != found.example_id


def test_without_a_list_of_instructions_those_of_the_steps_are_offered():
    bare = {"steps": row(1)["steps"], "id": 7}
    found = read_example(json.dumps(bare), "line 1")
    assert found.example_id == "7"
    assert {move.scored for move in found.path} == {("get water", "make fire")}


def test_choices_of_a_step_are_what_else_can_be_done(tmp_path: Path):
    lines = [
        {"steps": [{"input": f"at {i}", "target": "go", "choices": ["stay", "go", "sit"]}]}
        for i in range(60)
    ]
    path = tmp_path / "walk.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    chosen, free = (load_task(TaskConfig(path=path, written=w)) for w in (False, True))
    assert {move.others for e in chosen.fitness for move in e.path} == {("stay", "sit")}
    assert {move.others for e in free.fitness for move in e.path} == {()}


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ([], {}, "'steps' must be a list of steps"),
        ([{"input": "a"}], {}, r"line 1, step 1: .*'target' is missing"),
        ([{"place": "a", "target": "b"}], {}, r"step 1: .*'input' is missing"),
        ([{"state": "a", "target": "b"}], {}, r"step 1: .*'state'.* did you mean 'input'"),
        (
            [{"input": "a", "target": "b", "chioces": ["b", "c"]}],
            {},
            r"step 1: .*'chioces'.* did you mean 'choices'",
        ),
        ([{"input": "a", "target": " "}], {}, "the target is blank"),
        ([{"input": 3, "target": "b"}], {}, "'input' must be a text"),
        (
            [{"input": "a", "target": "b", "instruction": "c"}, {"input": "a", "target": "b"}],
            {},
            "some steps have an instruction and some have none",
        ),
        (
            [{"input": "a", "target": "b", "instruction": "c"}],
            {"instructions": ["d"]},
            "'instructions' lacks what a step has: c",
        ),
        ([{"input": "a", "target": "b"}], {"instructions": [""]}, "that are not blank"),
        (
            [{"input": "a", "target": "b", "choices": ["c", "d"]}],
            {},
            "step 1: the target .*b.* is not among the choices",
        ),
        ([{"input": "a", "target": "b", "choices": ["b"]}], {}, "must be at least two"),
    ],
)
def test_a_malformed_path_gets_a_sentence(steps, more, said):
    with pytest.raises(UserError, match=said):
        read_example(json.dumps({"steps": steps, **more}), "line 1")


def test_a_file_of_paths_is_a_task_and_its_demonstrations_are_moves(file: Path):
    task = load_task(TaskConfig(path=file))
    assert task.choices is None
    assert task.steps == ()
    assert all(len(e.path) == 2 for e in (*task.fitness, *task.validation, *task.test))
    assert all(move.scored == () for e in task.test for move in e.path)
    assert not any(e.path for e in task.pool)
    number = task.pool[0].input.split()[-1]
    assert Demonstration(f"water is there {number}", "heat") in task.demonstrations


def test_instructions_are_left_out_or_scored_as_one_says(file: Path):
    tasks = {
        mode: load_task(TaskConfig(path=file, instructions=mode))
        for mode in ("off", "joint", "marginal")
    }
    scored = {mode: task.test[0].path[0].scored for mode, task in tasks.items()}
    assert scored == {
        "off": (),
        "joint": ("get water",),
        "marginal": ("get water", "make fire", "wait"),
    }
    offered = {mode: task.test[0].path[0].offered for mode, task in tasks.items()}
    said = ("get water", "make fire", "wait")
    assert offered == {"off": (), "joint": said, "marginal": said}
    free = load_task(TaskConfig(path=file, instructions="joint", written=True))
    assert free.test[0].path[0].offered == ()
    shown = {mode: {d.target for d in task.demonstrations} for mode, task in tasks.items()}
    assert shown["off"] == {"fill", "heat"}
    assert shown["joint"] == shown["marginal"] == {"get water: fill", "make fire: heat"}
    ids = {tuple(e.example_id for e in task.test) for task in tasks.values()}
    assert len(ids) == 1, "the same examples in each"
    assert len({examples_digest(task.test) for task in tasks.values()}) == 3


def test_a_search_may_be_measured_on_stages_and_its_end_on_paths(file: Path):
    whole, parted = (load_task(TaskConfig(path=file, stages=s)) for s in (False, True))
    assert len(parted.fitness) == 2 * len(whole.fitness)
    assert [e.target for e in parted.fitness[:2]] == ["fill", "heat"]
    assert [m.is_given for e in parted.fitness[:2] for m in e.path] == [False, True, False]
    assert (parted.validation, parted.test) == (whole.validation, whole.test)
    assert parted.demonstrations == whole.demonstrations
    with pytest.raises(UserError, match=r"task\.stages takes paths whose steps have"):
        load_task(TaskConfig(name="inbox", stages=True))


def test_drawn_instructions_are_the_same_again_and_weighed(file: Path):
    config = TaskConfig(path=file, instructions="marginal", instruction_draws=2)
    one, two = load_task(config), load_task(config)
    assert one.fitness == two.fitness
    drawn = [move.scored for e in one.fitness for move in e.path]
    assert {len(each) for each in drawn} == {2}
    assert {text for each in drawn for text in each} == {"get water", "make fire", "wait"}
    assert {move.shift for e in one.fitness for move in e.path} == {log(3 / 2)}
    # the demonstrations are the expert's
    assert {d.target for d in one.demonstrations} == {"get water: fill", "make fire: heat"}


def test_paths_without_instructions_and_other_examples_take_none(tmp_path: Path):
    path = path_of("p", (Move("a", "b"),))
    with pytest.raises(UserError, match="example 'p' has none"):
        as_scored([[path]], TaskConfig(name="inbox", instructions="joint"))
    with pytest.raises(UserError, match="the examples are none"):
        load_task(TaskConfig(name="inbox", instructions="marginal"))
    with pytest.raises(ValueError, match="goes with task.instructions=marginal"):
        TaskConfig(name="inbox", instruction_draws=2)


def test_what_takes_one_answer_does_not_go_with_paths(file: Path):
    wrong = {"blank": "_", "steps": ["Why?"], "label_words": {"fill": ["x"]}}
    for key, value in wrong.items():
        with pytest.raises(UserError, match=rf"task\.{key} does not go with paths"):
            load_task(TaskConfig(path=file, **{key: value}))
    with pytest.raises(UserError, match="a starting policy's steps does not go"):
        load_task(TaskConfig(path=file, starting_policies=[PolicyConfig(steps=["Why?"])]))
    with pytest.raises(UserError, match="a question has one input"):
        read_questions(file)
    with pytest.raises(UserError, match=r"task\.judge takes examples with one answer"):
        load_task(TaskConfig(path=file, judge=True))
    with file.open("a") as more:
        more.write('{"input": "a", "target": "b"}\n')
    with pytest.raises(UserError, match=r"tea.jsonl:\d+ is a path and .*tea.jsonl:\d+ is not"):
        load_task(TaskConfig(path=file))
