"""Splits: inputs never part, tests are as given, labels are shared out by a rule that is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.records import Example
from evoprompt.tasks.base import label_shares
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.jsonl import content_hash
from evoprompt.tasks.sources.splits import (
    SPLITS,
    balanced,
    conflicts,
    input_key,
    notes_on_labels,
    proportional,
    split_by_input,
)

LABELS = ("ham", "spam")

rows = st.lists(
    st.builds(
        lambda i, t: Example(f"{i}{t}", f"text {i}", t, LABELS),
        st.integers(0, 60),
        st.sampled_from(LABELS),
    ),
    max_size=80,
)


def mail(number: int, target: str) -> Example:
    return Example(f"m{number}", f"mail {number}", target, LABELS)


def mails(ham: int, spam: int) -> list[Example]:
    return [mail(n, "ham" if n < ham else "spam") for n in range(ham + spam)]


def written(path: Path, examples: list[Example]) -> Path:
    path.write_text(
        "".join(
            json.dumps({"input": e.input, "target": e.target, "choices": e.choices}) + "\n"
            for e in examples
        )
    )
    return path


@given(rows, rows)
def test_no_input_is_in_two_splits_and_nothing_is_lost(examples: list[Example], test):
    for held_out in ([], test):
        splits, _ = split_by_input(examples, held_out)
        places: dict[str, set[str]] = {}
        for name, split in splits.items():
            for example in split:
                places.setdefault(input_key(example), set()).add(name)
        assert all(len(names) == 1 for names in places.values())
        assert places.keys() == {input_key(e) for e in (*examples, *held_out)}
        assert {e.input for e in held_out} <= {e.input for e in splits["test"]}


@given(rows, st.randoms(use_true_random=False))
def test_the_splits_do_not_depend_on_the_order_of_lines(examples: list[Example], random):
    shuffled = random.sample(examples, len(examples))
    assert split_by_input(shuffled, [])[0] == split_by_input(examples, [])[0]


@given(st.sets(st.integers(0, 10_000), max_size=60))
def test_an_example_whose_input_stands_once_is_where_its_own_hash_says(numbers: set[int]):
    # In company and alone: what others have does not move it.
    examples = [mail(n, LABELS[n % 2]) for n in sorted(numbers)]
    together, notes = split_by_input(examples, [])
    assert notes == ()
    for example in examples:
        [alone] = [name for name, split in split_by_input([example], [])[0].items() if split]
        assert example in together[alone]


def test_equal_inputs_go_where_the_least_of_their_hashes_says_and_are_named():
    moved = 0
    for n in range(50):
        pair = [mail(n, "ham"), mail(n, "spam")]
        pair[1] = Example(f"m{n}b", f"  mail  {n} ", "spam", LABELS)
        splits, [note] = split_by_input(pair, [])
        [place] = [name for name, split in splits.items() if split]
        least = min(pair, key=content_hash)
        assert split_by_input([least], [])[0][place] == [least]
        assert len(splits[place]) == 2
        moved += split_by_input([max(pair, key=content_hash)], [])[0][place] == []
        assert "and another target: 1 time (first " in note
    assert moved > 10, "the hashes of the two often say different splits"


def test_the_same_example_is_taken_once_whatever_the_order_of_its_choices(tmp_path: Path):
    examples = mails(200, 200)
    again = [Example("", e.input, e.target, e.choices[::-1]) for e in examples[:30]]
    once, twice = (
        load_task(TaskConfig(path=written(tmp_path / "x.jsonl", rows)))
        for rows in (examples, [*examples, *again])
    )
    assert once.splits == twice.splits
    assert once.notes == ()
    [note] = twice.notes
    assert note == (
        f"an example repeats another one and is taken once: 30 times (first {tmp_path}/x.jsonl:401 "
        f"and {tmp_path}/x.jsonl:1)"
    )


def test_inputs_with_two_targets_are_counted_and_the_first_is_named(tmp_path: Path):
    examples = mails(200, 200)
    examples += [Example("", e.input, "spam", LABELS) for e in examples[7:10]]
    task = load_task(TaskConfig(path=written(tmp_path / "x.jsonl", examples)))
    [note] = task.notes
    assert note.startswith("an example has the input of another one and another target: 3 times (")
    assert f"{tmp_path}/x.jsonl:" in note
    assert conflicts([Example("a", "x", ""), Example("b", "x", "y")]) == "", "one is not known"


def test_what_is_in_the_test_file_is_left_to_the_test_and_that_is_said(tmp_path: Path):
    examples = mails(200, 200)
    other_answer = Example("", examples[5].input, "spam", LABELS)
    test = [*examples[100:120], other_answer]
    task = load_task(
        TaskConfig(
            path=written(tmp_path / "x.jsonl", examples),
            test_path=written(tmp_path / "test.jsonl", test),
        )
    )
    assert {e.input for e in task.test} == {e.input for e in test}
    learned = {e.input for name in SPLITS[:3] for e in task.splits[name]}
    assert not learned & {e.input for e in test}
    assert any(
        n.startswith("an example has an input of the test file and is used in the test alone: 21 ")
        for n in task.notes
    )


def test_a_test_file_is_used_as_it_is(tmp_path: Path):
    # 527 ham and 73 spam: always ham is right in .878, not in the .635 of 127 and 73.
    test = [Example("", f"sms {n}", "ham" if n < 527 else "spam", LABELS) for n in range(600)]
    paths = {
        "path": written(tmp_path / "x.jsonl", mails(300, 100)),
        "test_path": written(tmp_path / "test.jsonl", test),
    }
    whole = load_task(TaskConfig(test_examples=600, **paths))
    assert Counter(e.target for e in whole.test) == {"ham": 527, "spam": 73}
    assert not any("sample" in note for note in whole.notes)
    sample = load_task(TaskConfig(test_examples=200, **paths))
    # 200 * 527 / 600 = 175.67 and 200 * 73 / 600 = 24.33
    assert Counter(e.target for e in sample.test) == {"ham": 176, "spam": 24}
    assert {e.input for e in sample.test} < {e.input for e in whole.test}
    assert any(
        note.startswith("the test is a sample of 200 of the 600 examples") for note in sample.notes
    )
    # fitness: half and half; 0.5 and 0.88 differ by 0.38
    assert any("total variation 0.38, told above 0.1" in note for note in sample.notes)


def test_the_balance_is_that_of_the_configuration_then_of_the_job(tmp_path: Path):
    path = written(tmp_path / "x.jsonl", mails(900, 100))
    for config, job, expected in (
        (None, "balanced", 20),
        (None, "proportional", 4),
        ("balanced", "proportional", 20),
        ("proportional", "balanced", 4),
    ):
        task = load_task(TaskConfig(path=path, fitness_examples=40, balance=config), job)
        assert sum(e.target == "spam" for e in task.fitness) == pytest.approx(expected, abs=1)
        assert bool(task.notes) == (expected == 20), "the test has a tenth of spam"


@given(rows, st.integers(0, 90))
def test_a_proportional_cut_is_within_one_of_each_share(examples: list[Example], size: int):
    cut = proportional(examples, size)
    assert len(cut) == min(size, len(examples))
    assert [e for e in examples if e in cut] == [e for e in examples if e in list(cut)]
    for label, share in label_shares(examples).items():
        found = sum(e.target == label for e in cut)
        assert abs(found - share * len(cut)) < 1


def test_a_balanced_cut_is_not_proportional():
    # the power of the check above: a balanced one fails it
    examples = mails(90, 10)
    found = sum(e.target == "spam" for e in balanced(examples, 20))
    assert abs(found - 0.1 * 20) >= 1


def test_one_label_and_one_example_are_noted():
    ham, both = mails(5, 0), mails(5, 5)
    assert notes_on_labels(both, both) == ()
    [only, differ] = notes_on_labels(ham, both)
    assert only.startswith("all 5 fitness examples have the target 'ham': a prompt that always")
    assert "total variation 0.50" in differ  # 1 and .5
    assert notes_on_labels(both[4:6], both[:1])[0] == (
        "the test split has one example; nothing can be learned from that"
    )


def test_choices_that_begin_one_another_are_noted():
    def asked(*choices: str) -> list[Example]:
        return [Example(str(i), f"is it {i}?", c, choices) for i, c in enumerate(choices)]

    nested, apart = asked("yes", "no", "yes, but later"), asked("yes", "no", "perhaps")
    [told] = notes_on_labels(nested, [*nested, *apart])
    assert told.startswith("choices of 6 of 9 examples begin one another, as 'yes' begins 'yes, ")
    assert notes_on_labels(apart, apart) == ()


def test_shares_of_labels_are_recorded_and_fit_a_line(tmp_path: Path):
    config = TaskConfig(path=written(tmp_path / "x.jsonl", mails(300, 300)), fitness_examples=4)
    task = load_task(config)
    account = task.account()
    assert json.loads(json.dumps(account)) == account
    told = account["splits"]["fitness"]
    assert (told["examples"], told["labels"]) == (4, {"ham": 0.5, "spam": 0.5})
    assert account["notes"] == []
    assert "\n      4 fitness        ham 0.50, spam 0.50\n" in task.summary()
    assert "0." not in load_task(TaskConfig(name="questions")).summary(), "choices differ"


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_input_is_kept_letter_for_letter(tmp_path_factory: pytest.TempPathFactory, text: str):
    lines = [
        {"input": f"{n} {text}", "target": LABELS[n % 2], "choices": LABELS} for n in range(120)
    ]
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    path.write_bytes(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    )
    task = load_task(TaskConfig(path=path))
    found = {e.input for split in task.splits.values() for e in split}
    assert found == {line["input"] for line in lines}


def test_examples_with_one_input_alone_fill_no_splits(tmp_path: Path):
    examples = [Example("", "Which?", t, (t, "none")) for t in map(str, range(50))]
    with pytest.raises(
        UserError, match=r"split is empty \(50 examples in all\); give more .* diff"
    ):
        load_task(TaskConfig(path=written(tmp_path / "x.jsonl", examples)))


def test_a_task_that_is_all_in_its_test_file_says_so(tmp_path: Path):
    path = written(tmp_path / "x.jsonl", mails(40, 40))
    with pytest.raises(UserError, match="split is empty .*; an example has an input of the test"):
        load_task(TaskConfig(path=path, test_path=path))


def test_two_files_that_number_their_lines_alike_are_told_apart(tmp_path: Path):
    def numbered(name: str, start: int) -> Path:
        path = tmp_path / name
        rows = [{"input": f"{start + n}", "target": LABELS[n % 2], "id": n} for n in range(40)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    paths = {"path": numbered("x.jsonl", 0), "test_path": numbered("t.jsonl", 39)}
    task = load_task(TaskConfig(**paths))
    ids = [e.example_id for split in task.splits.values() for e in split]
    assert len(ids) == len(set(ids)) == 79, "line 39 of the one is line 0 of the other"
    assert {e.example_id for e in task.test} == {f"test/{n}" for n in range(40)}


def test_a_source_that_gives_an_id_twice_is_refused(monkeypatch: pytest.MonkeyPatch):
    examples = tuple(Example("same", f"mail {n}", LABELS[n % 2], LABELS) for n in range(80))
    monkeypatch.setattr(
        "evoprompt.tasks.sources.builtin.BuiltinSource.read", lambda *_: Raw("mine", examples)
    )
    with pytest.raises(UserError, match="task 'mine': the id 'same' is that of 80 examples"):
        load_task(TaskConfig(name="inbox"))
