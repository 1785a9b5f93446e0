"""Invariants: (1) equal content, equal id; (2) JSON there and back; (3) a slot at its default does
not touch the id; (4) what is declared of a slot holds for every one of them.
"""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.config.task import PolicyConfig
from evoprompt.errors import UserError
from evoprompt.policy import SLOTS, Demonstration, Policy, Template
from evoprompt.tasks.load import policy_of

text = st.text(max_size=20)
plain = st.builds(
    Policy,
    instruction=text,
    demonstrations=st.lists(st.builds(Demonstration, text, text), max_size=4).map(tuple),
    template=st.builds(
        Template, text, text, text, st.sampled_from((" ", "", "\n", "\n ", "\t", "「")) | text
    ),
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


def test_every_field_is_declared_as_a_slot_in_their_order():
    assert [slot.name for slot in SLOTS] == [field.name for field in fields(Policy)]
    assert Policy.from_dict({slot.name: slot.plain_default for slot in SLOTS}) == Policy()


@given(policies)
def test_each_slot_reads_what_it_writes(policy: Policy):
    for slot in SLOTS:
        value = getattr(policy, slot.name)
        assert slot.read(json.loads(json.dumps(slot.write(value)))) == value


def config_values(policy: Policy) -> dict:
    """The keys of a starting prompt that stand for a policy, those at their default left out."""
    values: dict = {}
    for name, plain in policy.to_dict().items():
        keys = next(slot.keys for slot in SLOTS if slot.name == name)
        if name == "evaluator":
            plain = config_values(policy.evaluator)
        values |= dict(zip(keys, plain, strict=False)) if keys else {name: plain}
    return values


@given(policies)
def test_a_config_can_say_every_policy(policy: Policy):
    assert policy_of(PolicyConfig.model_validate(config_values(policy))) == policy


def test_the_keys_of_a_starting_prompt_are_pinned():
    first = dict(list(PolicyConfig().model_dump().items())[:9])
    assert first == {
        "instruction": "",
        "demonstrations": [],
        "input_prefix": "Input: ",
        "output_prefix": "\nOutput:",
        "separator": "\n\n",
        "answer_prefix": " ",
        "label_words": {},
        "steps": [],
        "evaluator": None,
    }


@given(policies, policies)
def test_different_content_has_a_different_id(a: Policy, b: Policy):
    assert (a == b) == (a.policy_id == b.policy_id)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("", "A:"), ["", "A:", "\n\n"]),  # the default is left out
        (("", "A: "), ["", "A:", "\n\n"]),
        (("", "A:", "\n\n", ""), ["", "A:", "\n\n", ""]),
        (("", "A:", "\n\n", "\n"), ["", "A:", "\n\n", "\n"]),
        (("", "A:\n"), ["", "A:", "\n\n", "\n"]),
        (("", "A:\n", "\n\n", "\n "), ["", "A:", "\n\n", "\n\n "]),
        (("", "答え:", "\n", "「"), ["", "答え:「", "\n", ""]),
        (("", "A", "\n", ":\n"), ["", "A:", "\n", "\n"]),
        (("", "\n", "\n"), ["", "", "\n", "\n"]),
    ],
)
def test_what_reads_the_same_before_an_answer_is_the_same_template(given, parts):
    template = Template(*given)
    assert Policy(template=template).to_dict().get("template") == parts
    assert Template(*parts) == template


def test_an_unknown_slot_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'instruction'"):
        Policy.from_dict({"instructions": "x"})


def test_an_evaluator_has_no_evaluator_or_steps_of_its_own():
    sentence = (
        "^a policy's evaluator has steps or an evaluator.* of its own; it takes an instruction, "
        "demonstrations, template, label words"
    )
    for evaluator in (Policy(evaluator=Policy("judge")), Policy(steps=("What is asked?",))):
        with pytest.raises(UserError, match=sentence):
            Policy(evaluator=evaluator)


def test_a_step_that_ends_in_a_space_is_refused():
    with pytest.raises(UserError, match="do not end in white space"):
        Policy(steps=("What is asked? ",))


def test_choices_that_are_compared_have_words_of_their_own():
    choices = ("yes", "no", "maybe")
    assert Policy().mistake_in_words(choices) is None
    swapped = Policy(label_words=(("yes", "no"), ("no", "yes")))
    assert swapped.mistake_in_words(choices) is None
    shared = Policy(label_words=(("yes", "no "),))
    assert shared.mistake_in_words(choices) == "the choices 'yes' and 'no' have the same word, 'no'"
    blank = Policy(label_words=(("maybe", " "),))
    assert "'maybe' has the word ' ', which is blank" in str(blank.mistake_in_words(choices))
