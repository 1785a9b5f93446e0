"""Every operator of the catalog keeps the contract, and the contract catches those that do not."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from toys.operators import BROKEN, SAY_HELLO, Shout

from evoprompt.policy import SLOTS, Policy
from evoprompt.records import Materials
from evoprompt.testing.operators import (
    check_operator,
    check_words,
    child_of,
    example_materials,
    example_matings,
)
from evoprompt.variation.base import Need
from evoprompt.variation.catalog import OPERATORS

ALL = [operator for operator, _ in OPERATORS]
WRITTEN = [operator for operator in ALL if Need.WRITER in operator.needs]
#: What a model writes or proposes for an instruction are words of its own.
MODELS = [o for o in ALL if Need.READER in o.needs and o.slot == "instruction"]
UNWRITTEN = [operator for operator in ALL if operator not in (*WRITTEN, *MODELS)]
every_operator = pytest.mark.parametrize("operator", ALL, ids=lambda o: o.name)


@every_operator
def test_a_child_is_a_new_valid_policy_made_of_its_parents_and_the_materials(operator):
    check_operator(operator)


@pytest.mark.parametrize("operator", UNWRITTEN, ids=lambda o: o.name)
def test_no_operator_of_the_package_writes_instructions_of_its_own(operator):
    materials, made = example_materials(), 0
    for parents, seed in example_matings(operator, 100):
        child = child_of(operator, parents, materials, seed)
        if child is not None:
            check_words(child, parents, materials)
            made += 1
    assert made >= 20  # the examples give every operator something to work on


@pytest.mark.parametrize("operator", WRITTEN, ids=lambda o: o.name)
def test_what_a_model_writes_is_the_childs_instruction_and_nothing_else_is_new(operator):
    assert operator.slot == "instruction"
    made = 0
    for parents, seed in example_matings(operator, 100):
        child = child_of(operator, parents, example_materials(parents), seed)
        if child is not None:
            assert re.fullmatch(r"Sort \d+ by \d+\.", child.instruction)
            assert replace(child, instruction="") == replace(parents[0], instruction="")
            made += 1
    assert made >= 5


@pytest.mark.parametrize(
    "operator",
    [o for o in UNWRITTEN if o.num_parents == 2 and o.name != "demonstration_union"],
    ids=lambda o: o.name,
)
def test_a_child_of_two_has_each_slot_whole_from_one_of_them(operator):
    for parents, seed in example_matings(operator, 100):
        child = child_of(operator, parents, example_materials(), seed)
        for slot in SLOTS:
            assert getattr(child, slot.name) in [getattr(p, slot.name) for p in parents]


@pytest.mark.parametrize("operator", [o for o in ALL if o.num_parents == 1], ids=lambda o: o.name)
def test_with_nothing_to_work_on_there_is_no_child(operator):
    for seed in range(3):
        assert operator.apply((Policy(),), Materials(), np.random.default_rng(seed)) is None


@every_operator
def test_what_an_operator_needs_is_what_it_cannot_do_without(operator):
    """With all materials but those that it says it needs it makes no child; so none is filled for
    nobody.
    """
    for need in operator.needs:
        for parents, seed in example_matings(operator, 50):
            materials = replace(example_materials(parents), **{str(need): None})
            assert child_of(operator, parents, materials, seed) is None


def test_operators_of_another_package_keep_it_too():
    check_operator(Shout())
    check_operator(SAY_HELLO)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_the_contract_catches_a_broken_operator(broken):
    with pytest.raises(AssertionError, match=broken.why):
        check_operator(broken())
