"""Names and weights -> the operators that are drawn: the package's, a plug-in's, one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.operators import Say

from evoprompt.errors import UserError
from evoprompt.plugins import name_of
from evoprompt.variation.base import Need, needs_of
from evoprompt.variation.catalog import OPERATORS, drawn_operators

WHERE = "evolution.operators"
NOTHING = {operator.name: 0.0 for operator, _ in OPERATORS}


def drawn(given: dict[str, float]) -> dict[str, float]:
    return {operator.name: weight for operator, weight in drawn_operators(given, WHERE)}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with the operator `loud`, which is `toys.operators.Shout`."""
    info = tmp_path / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evoprompt]\noperator.loud = toys.operators:Shout\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_default_weights_and_their_order_are_pinned():
    assert list(drawn({}).items()) == [
        ("demonstration_add", 1.0),
        ("demonstration_swap", 1.0),
        ("demonstration_drop", 0.5),
        ("demonstration_reorder", 0.5),
        ("instruction_insert", 0.25),
        ("instruction_replace", 0.25),
        ("instruction_delete", 0.5),
        ("instruction_swap", 0.1),
        ("label_word_change", 1.0),
        ("template_change", 0.75),
        ("uniform_crossover", 1.0),
        ("demonstration_balance", 1.0),
        ("demonstration_swap_in_label", 2.0),
        ("demonstration_order", 0.5),
        ("demonstration_set", 1.5),
        ("demonstration_union", 1.0),
    ]
    asked = [
        "step_add",
        "step_drop",
        "evaluator_change",
        "context_stuffing",
        "demonstration_balance",
        "demonstration_swap_in_label",
        "demonstration_order",
        "demonstration_set",
        "instruction_paraphrase",
        "instruction_crossover",
        "instruction_difference",
        "instruction_induce",
        "instruction_from_history",
        "instruction_mutate",
        "instruction_reflect",
        "instruction_word_drop",
        "instruction_sentence_drop",
        "instruction_sentence_add",
        "instruction_synonym",
        "demonstration_add_best",
    ]
    given = NOTHING | dict.fromkeys(asked[::-1], 1.0)
    assert list(drawn(given))[: len(asked)] == asked


def test_a_weight_is_the_given_one_or_the_default_and_none_is_not_drawn():
    weights = drawn({"step_add": 2.0, "instruction_swap": 0.0})
    assert (weights["step_add"], weights["demonstration_add"]) == (2.0, 1.0)
    assert not {"instruction_swap", "step_drop"} & set(weights)
    assert drawn(NOTHING) == {}


def test_an_operator_of_ones_own_is_a_class_or_an_object_and_comes_after_the_packages():
    given = {"toys.operators:SAY_HELLO": 2.0, "step_drop": 1.0, "toys.operators:Shout": 4.0}
    assert list(drawn(given).items())[-2:] == [("say", 2.0), ("shout", 4.0)]
    assert drawn(given)["step_drop"] == 1.0
    assert drawn(NOTHING | {name_of("operator", Say("Hi.", "greet")): 1.0}) == {"greet": 1.0}


@pytest.mark.usefixtures("plugin")
def test_a_plug_ins_operator_is_drawn_where_it_is_named_only():
    assert "shout" not in drawn({})
    assert drawn({"loud": 0.5})["shout"] == 0.5
    with pytest.raises(UserError, match="no operator 'lowd'; did you mean 'loud'"):
        drawn({"lowd": 1.0})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step_ad": 1.0}, "^evolution.operators has no operator 'step_ad'; did you mean 'step_ad"),
        ({"step_ad": 0.0}, "has no operator 'step_ad'"),
        ({"loud": 1.0}, "has no operator 'loud'; .*install it"),
        ({"toys.nowhere:Shout": 1.0}, "'toys.nowhere:Shout' cannot be imported"),
        ({"toys.operators:NamelessOne": 1.0}, "its name is None"),
        ({"toys.operators:OfAnUnknownSlot": 1.0}, "did you mean 'instruction'"),
        ({"toys.operators:NeedingTheUnknown": 0.0}, "did you mean 'author'"),
        ({"toys.operators:BROKEN": 1.0}, "it has no 'name', it has no 'num_parents'"),
        (
            {"toys.operators:Shout": 1.0, "toys.operators:Loud": 1.0},
            "two operators that are 'shout'",
        ),
        ({"toys.operators:Survive": 1.0}, "its name is 'survive'"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_it(given: dict[str, float], message: str):
    with pytest.raises(UserError, match=message):
        drawn(given)


def test_of_two_operators_of_one_name_one_may_have_the_weight_0():
    assert drawn(NOTHING | {"toys.operators:Shout": 0.0, "toys.operators:Loud": 1.0}) == {
        "shout": 1.0
    }


def test_needs_are_those_of_any():
    by_name = {operator.name: operator for operator, _ in OPERATORS}
    assert needs_of([by_name["step_add"], by_name["uniform_crossover"]]) == set()
    assert needs_of(by_name.values()) == set(Need)
    assert needs_of([Say("x", needs=frozenset({"author"}))]) == {Need.AUTHOR}
