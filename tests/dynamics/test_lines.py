"""A line of a lineage that does not say what it may is refused, and never counted by mistake."""

from __future__ import annotations

import pytest

from evoprompt.dynamics.lines import check_line
from evoprompt.dynamics.population import generations

BIRTH = {
    "generation": 0,
    "birth_id": "a",
    "parent_ids": [],
    "shares": [],
    "operator": "found",
    "selected": True,
    "fitness": -0.5,
    "traits": {"length": 3.0},
}


def test_a_birth_as_documented_is_taken_with_its_fitness_beside_or_among_its_traits():
    check_line(BIRTH)
    check_line({k: v for k, v in BIRTH.items() if k != "fitness"} | {"traits": {"fitness": 1}})
    check_line(BIRTH | {"traits": {"fitness": -0.5}, "survival_probability": None, "extra": "x"})
    check_line(BIRTH | {"remeasured": None})
    check_line(BIRTH | {"edits": ["found", "step_add"]})
    check_line(BIRTH | {"edits": ["found:way", "step_add:way"]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"selected": "false"}, "'selected' is 'false'; expected true or false"),
        ({"selected": 1}, "expected true or false"),
        ({"traits": None}, "'traits' is None; expected numbers by name"),
        ({"generation": 1.0}, "expected a whole number"),
        ({"island": True}, "expected a whole number"),
        ({"birth_id": 7}, "expected a text"),
        ({"parent_ids": "ab"}, "expected a list of birth ids"),
        ({"parent_ids": ["b", "c"], "shares": [1.5, -0.5]}, "numbers from 0 to 1"),
        ({"fitness": "0.5"}, "'fitness' is '0.5'"),
        ({"fitness": float("nan")}, "'fitness' is nan"),
        ({"fitness": 1e308}, "expected a number within 1e"),
        ({"traits": {"length": None}}, "expected numbers by name"),
        ({"traits": [1]}, "expected numbers by name"),
        ({"traits": {"fitness": 0.5}}, "has the fitness -0.5 and, among its traits, 0.5"),
        ({"edits": "step_add"}, "expected a list of operators, the first that of the birth"),
        ({"edits": ["step_add:found"]}, "expected a list of operators, the first that of"),
        ({"edits": ["step_add", "found"]}, "expected a list of operators, the first that of"),
        ({"selection_probability": -0.1}, "a number from 0 to 1, or null"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_birth_and_what_was_expected(change, said):
    with pytest.raises(ValueError, match="birth") as refused:
        check_line(BIRTH | change)
    assert said in str(refused.value)


@pytest.mark.parametrize("key", ["generation", "selected", "shares", "traits"])
def test_a_key_that_is_missing_is_named(key: str):
    with pytest.raises(ValueError, match=f"birth a has no '{key}'"):
        check_line({k: v for k, v in BIRTH.items() if k != key})
    with pytest.raises(ValueError, match="expected a JSON object"):
        check_line([BIRTH])


def of(examples: int, fitness: float) -> dict[str, object]:
    return {"examples": examples, "traits": {"fitness": fitness}}


RUNGS = {**BIRTH, **of(16, -0.5), "rungs": [of(8, -0.75), of(16, -0.5)]}


def test_a_birth_may_say_its_traits_on_each_number_of_examples():
    check_line(RUNGS)
    check_line(BIRTH | {"examples": 16})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"examples": 0}, "'examples' is 0; expected a whole number of examples, at least 1"),
        ({"examples": 8}, "not those of its last rung, of 16 examples"),
        ({"traits": {"fitness": -0.5, "z": 1.0}}, "not those of its last rung"),
        (
            {"rungs": [of(16, -0.75), of(16, -0.5)]},
            r"its rungs are \[16, 16\]; expected them ascend",
        ),
        ({"rungs": []}, "expected a list of {'examples': a number of them, 'traits'"),
        ({"rungs": [{"examples": 16}]}, "expected a list of {'examples'"),
        ({"rungs": [{"examples": 16, "traits": {"z": "high"}}]}, "expected a list of {'examples'"),
    ],
)
def test_rungs_that_do_not_go_with_their_birth_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        check_line(RUNGS | change)


def test_a_survivor_keeps_its_fitness_unless_the_birth_before_was_measured_again():
    later = {"generation": 1, "birth_id": "b", "parent_ids": ["a"], "shares": [1.0]}
    survivor = BIRTH | later | {"operator": "survive"}
    assert len(list(generations([BIRTH, survivor]))) == 2
    with pytest.raises(ValueError, match="birth b survived from a with the fitness -0.4"):
        list(generations([BIRTH, survivor | {"fitness": -0.4}]))
    again = BIRTH | {"remeasured": {"fitness": -0.4, "length": 3.0}}
    assert len(list(generations([again, survivor | {"fitness": -0.4}]))) == 2
