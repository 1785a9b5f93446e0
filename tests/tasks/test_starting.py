"""The demonstrations that a search starts with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from evoprompt.config.reader import check_section
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.base import Task
from evoprompt.tasks.starting import with_demonstrations


def task(choices: str | None, *, pool: int = 40, policies: int = 2) -> Task:
    """A task whose policies are "0", "1", ..., and whose choices are letters."""

    def example(name: str, place: int) -> Example:
        target = choices[place % len(choices)] if choices else f"answer {place}"
        offered = tuple(choices) if choices else None
        return Example(f"{name} {place}", f"{name} {place}", target, offered)

    examples = tuple(example("pool", i) for i in range(pool))
    return Task(
        name="letters",
        demonstrations=tuple(Demonstration(e.input, e.target) for e in examples),
        fitness=(example("fitness", 0),),
        validation=(example("validation", 0),),
        test=(example("test", 0),),
        starting_policies=tuple(Policy(str(i)) for i in range(policies)),
        pool=examples,
    )


def started(of: Task, *numbers: int | str, sets: int = 1) -> Task:
    return with_demonstrations(
        of, TaskConfig(name="x", starting_demonstrations=list(numbers), starting_sets=sets)
    )


def sizes(of: Task) -> list[int]:
    return [len(p.demonstrations) for p in of.starting_policies if p.instruction == "0"]


def test_numbers_may_go_by_the_choices():
    assert sizes(started(task("abc"), 0, "C", "2C", 5)) == [0, 3, 6, 5]
    # of each of two choices two make four, of three choices two make six
    assert sizes(started(task("ab"), "auto")) == [0, 4, 8]
    assert sizes(started(task("abc"), "auto")) == [0, 6, 12]
    assert sizes(started(task("abcd"), "auto")) == [0, 4, 8]
    assert sizes(started(task("abcdefgh"), "auto")) == [0, 8, 16]
    assert sizes(started(task("abcdefghi"), "auto")) == [0, 4]
    assert sizes(started(task(None), "auto")) == [0, 4]


def test_sets_may_stand_without_the_instruction_and_follow_the_seed():
    given = task("ab")
    config = TaskConfig(name="inbox", starting_demonstrations=["auto"], starting_sets_bare=True)
    found = with_demonstrations(given, config)
    assert {p.instruction for p in found.added} == {""}
    assert [p.instruction for p in found.given_policies] == [
        p.instruction for p in given.starting_policies
    ]
    assert with_demonstrations(given, config, seed=1).added != found.added
    assert with_demonstrations(given, config, seed=0).added == found.added


def test_what_goes_by_the_choices_is_no_more_than_the_pool():
    assert sizes(started(task("abc", pool=7), "auto")) == [0, 6, 7]
    assert sizes(started(task("abc", pool=0), "auto")) == [0]
    assert sizes(started(task(None, pool=3), "auto")) == [0, 3]
    with pytest.raises(UserError, match="asks for 5 of the 4 demonstrations of task 'letters'"):
        started(task("abc", pool=4), 0, 5)


def test_a_number_of_choices_that_are_not_shared_is_a_sentence():
    with pytest.raises(UserError, match="asks for 2C demonstrations, where C is the number of ch"):
        started(task(None), "2C")


def test_sets_show_every_label_as_often_in_turns_and_each_policy_has_its_own():
    shown = [p.demonstrations for p in started(task("abc"), 0, 6, sets=3).starting_policies[2:]]
    assert len(set(map(frozenset, shown))) == len(shown) == 2 * 3
    for demonstrations in shown:
        targets = [d.target for d in demonstrations]
        assert set(targets[:3]) == set(targets[3:]) == set("abc")
    assert len({tuple(d.target for d in demonstrations) for demonstrations in shown}) > 1


def test_of_more_labels_than_shown_none_comes_twice():
    [policy] = started(task("abcdefghi", policies=1), 4).starting_policies
    assert set(Counter(d.target for d in policy.demonstrations).values()) == {1}


def test_more_sets_leave_the_first_as_it_is():
    one, three = (started(task("ab"), 0, 4, sets=n).starting_policies for n in (1, 3))
    # each policy without, then the first set of each, then the others
    assert one == three[:4]
    assert len(three) == 2 + 2 * 3


def test_demonstrations_of_a_policys_own_are_not_added_again():
    bare = task("ab", pool=6, policies=1)
    own = Policy("0", bare.demonstrations[:2])
    [policy] = started(replace(bare, starting_policies=(own,)), 4).starting_policies
    assert policy.demonstrations[:2] == own.demonstrations
    assert set(policy.demonstrations) == set(bare.demonstrations)


def test_given_policies_are_those_without_added_ones_or_all():
    bare = task("ab")
    assert bare.given_policies == bare.starting_policies
    assert started(bare, 2, 0).given_policies == bare.starting_policies
    with_all = started(bare, 2)
    assert with_all.given_policies == with_all.starting_policies != bare.starting_policies
    longest = started(bare, 0, 2, 4)
    shorter = longest.without(longest.starting_policies[4:], "Too long.")
    assert (sizes(shorter), shorter.notes) == ([0, 2, 4], ("Too long.",))
    assert shorter.given_policies == bare.starting_policies


@pytest.mark.parametrize(
    ("value", "most"),
    [("auto", 1 + 2 * 2), ([0, "C"], 3), (["auto", 3], 7), ([0], 1), ([4, 8], 4)],
)
def test_how_many_are_started_is_known_from_the_config(value, most):
    config = TaskConfig(name="x", starting_demonstrations=value, starting_sets=2)
    assert config.most_starts == most
    assert TaskConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("value", ["3C", True, -1, 1.5, None, "c", 10**7])
def test_what_is_no_number_of_demonstrations_is_a_sentence(value):
    with pytest.raises(UserError, match=r"starting_demonstrations.0: expected a number from 0 to"):
        check_section(TaskConfig, {"name": "x", "starting_demonstrations": [value]}, "c.yaml")
