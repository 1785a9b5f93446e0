"""The contract that every operator keeps, over random policies; and what each does, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.build import OPERATORS
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Materials
from evoprompt.variation.edits import split_phrases

BY_NAME = {operator.name: operator for operator, _ in OPERATORS}
POOL = tuple(Demonstration(f"text {i}", "ab"[i % 2]) for i in range(6))
MATERIALS = Materials(
    phrases=("Look twice.", "Be kind."),
    demonstrations=POOL,
    templates=(Template(), Template("Q: ", "\nA:")),
    label_words={"a": ("a", "first", "one"), "b": ("b", "second", "one")},
    max_demonstrations=4,
)
policies = st.builds(
    Policy,
    instruction=st.sampled_from(["", "Sort.", "Sort the mail. Be quick, please."]),
    demonstrations=st.lists(st.sampled_from(POOL), unique=True, max_size=4).map(tuple),
    template=st.sampled_from(MATERIALS.templates),
    label_words=st.sampled_from([(), (("a", "first"),), (("a", "one"), ("b", "second"))]),
)
every_operator = pytest.mark.parametrize("name", BY_NAME)


@every_operator
@given(policies, policies, st.integers(0, 2**32 - 1))
def test_a_child_is_a_new_valid_policy_made_of_its_parents_and_the_materials(name, first, second, seed):
    operator = BY_NAME[name]
    parents = (first, second)[: operator.num_parents]
    copies = [Policy.from_dict(p.to_dict()) for p in parents]
    child = operator.apply(parents, MATERIALS, np.random.default_rng(seed))
    assert list(parents) == copies, "parents were changed"
    assert child == operator.apply(parents, MATERIALS, np.random.default_rng(seed)), "not a function of the generator"
    if child is None:
        return
    assert len(child.demonstrations) <= 4
    assert len(set(child.demonstrations)) == len(child.demonstrations)
    assert set(child.demonstrations) <= set(POOL)
    assert child.template in MATERIALS.templates
    assert child.word("a") != child.word("b")
    changed = {s for s in ("instruction", "demonstrations", "template", "label_words") if getattr(child, s) != getattr(parents[0], s)}
    if operator.num_parents == 1:
        assert len(changed) <= 1
    else:
        assert all(getattr(child, s) == getattr(second, s) for s in changed)


def apply(name: str, policy: Policy, *, seeds: int = 60, materials: Materials = MATERIALS) -> set[Policy | None]:
    return {BY_NAME[name].apply((policy,), materials, np.random.default_rng(s)) for s in range(seeds)}


def test_phrases_are_sentences_and_their_parts():
    assert split_phrases("Sort the mail: bills, letters. Now!") == ["Sort the mail:", "bills,", "letters.", "Now!"]
    assert split_phrases("  ") == []


def test_instruction_edits_by_hand():
    two = Policy("One. Two.")
    assert {c.instruction for c in apply("instruction_delete", two)} == {"One.", "Two."}
    assert {c.instruction for c in apply("instruction_swap", two)} == {"Two. One."}
    assert {c.instruction for c in apply("instruction_replace", Policy("One."))} == set(MATERIALS.phrases)
    assert {c.instruction for c in apply("instruction_insert", Policy("One."))} == {
        "One. Look twice.",
        "Look twice. One.",
        "One. Be kind.",
        "Be kind. One.",
    }


def test_demonstration_edits_by_hand():
    one = Policy(demonstrations=POOL[:1])
    assert {len(c.demonstrations) for c in apply("demonstration_add", one)} == {2, 3, 4}
    assert apply("demonstration_drop", one) == {Policy()}
    assert {c.demonstrations[0] for c in apply("demonstration_swap", one, seeds=200)} == set(POOL[1:])
    two = Policy(demonstrations=POOL[:2])
    assert {c.demonstrations for c in apply("demonstration_reorder", two)} == {POOL[1::-1]}


def test_reordering_always_changes_the_order():
    four = Policy(demonstrations=POOL[:4])
    assert all(c.demonstrations != four.demonstrations for c in apply("demonstration_reorder", four, seeds=300))


def test_label_words_stay_different():
    taken = Policy(label_words=(("a", "one"),))
    words = {(c.word("a"), c.word("b")) for c in apply("label_word_change", taken)}
    assert words == {("a", "b"), ("first", "b"), ("one", "second")}


def test_crossover_reaches_every_combination_of_slots():
    first, second = Policy("A", POOL[:1]), Policy("B", POOL[1:2])
    children = {BY_NAME["uniform_crossover"].apply((first, second), MATERIALS, np.random.default_rng(s)) for s in range(80)}
    assert {(c.instruction, c.demonstrations) for c in children} == {(i, d) for i in "AB" for d in (POOL[:1], POOL[1:2])}


@pytest.mark.parametrize("name", [n for n in BY_NAME if n != "uniform_crossover"])
def test_with_nothing_to_work_on_there_is_no_child(name):
    assert apply(name, Policy(), materials=Materials(), seeds=3) == {None}
