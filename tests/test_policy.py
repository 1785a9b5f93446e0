"""Invariants: (1) equal content, equal id; (2) JSON there and back; (3) a slot at its default does
not touch the id.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy, Template

text = st.text(max_size=20)
plain = st.builds(
    Policy,
    instruction=text,
    demonstrations=st.lists(st.builds(Demonstration, text, text), max_size=4).map(tuple),
    template=st.builds(Template, text, text.map(str.rstrip), text),
    label_words=st.dictionaries(text, text, max_size=3).map(lambda d: tuple(d.items())),
)
steps = st.lists(text.map(lambda t: f"{t}?"), max_size=3).map(tuple)
policies = st.builds(replace, plain, steps=steps, evaluator=st.none() | plain)


@given(policies)
def test_a_policy_survives_json_and_keeps_its_id(policy: Policy):
    again = Policy.from_dict(json.loads(policy.canonical_json))
    assert again == policy
    assert again.policy_id == policy.policy_id


def test_the_order_of_label_words_does_not_change_the_identity():
    assert (
        Policy(label_words=(("a", "x"), ("b", "y"))).policy_id
        == Policy(label_words=(("b", "y"), ("a", "x"))).policy_id
    )


def test_a_label_word_that_is_the_choice_itself_is_the_same_as_none():
    assert Policy(label_words=(("a", "a"),)) == Policy()


def test_the_identity_is_pinned_so_that_old_lineages_stay_readable():
    assert Policy().canonical_json == "{}"
    policy = Policy("Sort.", (Demonstration("é", "b"),), Template("Q: ", "\nA:"), (("b", "bad"),))
    assert (
        policy.canonical_json
        == '{"demonstrations":[["é","b"]],"instruction":"Sort.","label_words":{"b":"bad"},'
        '"template":["Q: ","\\nA:","\\n\\n"]}'
    )
    assert policy.policy_id == "f3591e684df537fb"


@given(policies, policies)
def test_different_content_has_a_different_id(a: Policy, b: Policy):
    assert (a == b) == (a.policy_id == b.policy_id)


def test_an_output_prefix_that_ends_in_a_space_is_refused_with_the_cure():
    with pytest.raises(UserError, match=r"write '\\nA:'"):
        Template("Q: ", "\nA: ")


def test_an_unknown_slot_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'instruction'"):
        Policy.from_dict({"instructions": "x"})


def test_an_evaluator_has_no_evaluator_or_steps_of_its_own():
    for evaluator in (Policy(evaluator=Policy("judge")), Policy(steps=("What is asked?",))):
        with pytest.raises(UserError, match="of its own"):
            Policy(evaluator=evaluator)


def test_a_step_that_ends_in_a_space_is_refused():
    with pytest.raises(UserError, match="do not end in white space"):
        Policy(steps=("What is asked? ",))
