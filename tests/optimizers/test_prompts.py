"""Prompts of MLflow as policies: what is not varied comes back to the letter."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.optimizers.prompts import form_of
from evoprompt.policy import Demonstration, Policy
from evoprompt.tasks.render import render_prompt

SYSTEM = {"role": "system", "content": "Be brief."}
ASKS = {"role": "user", "content": "Text: {{text}}, please"}


@pytest.mark.parametrize(
    ("text", "instruction", "has_place"),
    [
        ("Label it.\n\nText: {{text}}\nLabel:", "Label it.", True),
        ("Label it.\nShort.\n\nText: {{text}}\nLabel: ", "Label it.\nShort.", True),
        ("Label it.\nText: {{ text }}\nLabel:", "Label it.", True),
        ("Label it. Text: {{text}}\nLabel:", "Label it.", False),
        ("Label: {{text}}", "", True),
        ("{{premise}} {{text}} Answer with a word.", "", False),
        ("You are a friend.", "You are a friend.", False),
    ],
)
def test_a_text_is_parted_and_comes_back(text, instruction, has_place):
    form = form_of("p", text)
    assert form.text(form.policy) == text
    assert (form.policy.instruction, form.has_place) == (instruction, has_place)


@given(st.text(alphabet="ab .:\n{}tex", max_size=40))
def test_any_text_comes_back(text):
    form = form_of("p", text)
    assert form.text(form.policy) == text


@pytest.mark.parametrize("after", ["\nLabel:", "\nLabel: ", "\nLabel:\n", ""])
def test_demonstrations_stand_as_the_engine_shows_them(after):
    form = form_of("p", f"Label it.\n\nText: {{{{text}}}}{after}")
    policy = replace(form.policy, demonstrations=(Demonstration("a film", "good"),))
    said = form.text(policy).replace("{{text}}", "a meal")
    engine = str(render_prompt(policy, "a meal"))
    assert said.rstrip() == engine.rstrip()
    assert said.count("Text: ") == 2


def test_demonstrations_of_a_chat_are_turns():
    shown = [{"role": "user", "content": "Text: a, please"}, {"role": "assistant", "content": "A"}]
    form = form_of("p", json.dumps([SYSTEM, *shown, ASKS]))
    assert form.policy.demonstrations == (Demonstration("a, please", "A"),)
    assert json.loads(form.text(form.policy)) == [SYSTEM, *shown, ASKS]
    assert form.filled({"text": "b"}) == "b, please"
    bare = replace(form.policy, instruction="", demonstrations=())
    assert json.loads(form.text(bare)) == [ASKS]
    told = replace(form_of("p", json.dumps([ASKS])).policy, instruction="Go.")
    assert json.loads(form_of("p", json.dumps([ASKS])).text(told))[0]["role"] == "system"


def test_what_mlflow_would_take_for_a_variable_is_not_shown():
    form = form_of("p", "Text: {{text}}\nLabel:")
    assert form.filled({"text": "a {{b}} c"}) is None
    assert form.filled({"text": "a {% if %} c"}) is None
    assert form.filled({"other": "a"}) is None
    assert form.filled({"text": "a {b} c"}) == "a {b} c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% if a %}b{% endif %}{{text}}", "statements of Jinja"),
        (json.dumps([SYSTEM, SYSTEM, ASKS]), "expected one of the system"),
        (json.dumps([ASKS, {"role": "assistant", "content": "a"}, ASKS]), "which alone has"),
        (json.dumps([{"role": "user", "content": [{"type": "text"}]}]), "all of text"),
    ],
)
def test_what_no_policy_says_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        form_of("p", text)


def test_a_prompt_without_variables_is_an_instruction():
    form = form_of("p", "You are a friend.")
    assert form.text(Policy("You are a judge.")) == "You are a judge."
    assert form.filled({"text": "a"}) is None
