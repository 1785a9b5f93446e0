"""(Policy, Example) -> conversation: who says what, and what of the answer the prompt has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evoprompt.conversation import Conversation, Turn
from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, QueryKind
from evoprompt.tasks.base import rendered
from evoprompt.tasks.judge import DEFAULT_EVALUATOR, evaluator_of
from evoprompt.tasks.render import (
    render_answer,
    render_end,
    render_prefix,
    render_prompt,
    render_queries,
    render_step,
    render_stops,
)

SHOWN = (Demonstration("rain", "bad"), Demonstration("sun", "good"))
POLICY = Policy(
    "Sort.",
    SHOWN,
    Template("Text: ", "\nMood:"),
    label_words=(("good", "fine"),),
    chat="turns",
)


def test_demonstrations_are_turns_and_the_prompt_has_what_stands_before_the_answer():
    assert render_prompt(POLICY, "snow") == Conversation(
        (
            Turn("system", "Sort."),
            Turn("user", "Text: rain"),
            Turn("assistant", "Mood: bad"),
            Turn("user", "Text: sun"),
            Turn("assistant", "Mood: fine"),
            Turn("user", "Text: snow"),
        ),
        "Mood:",
    )
    assert render_answer(POLICY, "good") == " fine"
    assert (render_end(POLICY), render_stops(POLICY)) == ("", ("\n",))


def test_in_a_single_turn_demonstrations_stand_as_in_a_plain_prompt():
    assert render_prompt(replace(POLICY, chat="single"), "snow") == Conversation(
        (
            Turn("system", "Sort."),
            Turn("user", "Text: rain\nMood: bad\n\nText: sun\nMood: fine\n\nText: snow"),
        ),
        "Mood:",
    )


@pytest.mark.parametrize(
    ("output_prefix", "answer_prefix", "question", "begun", "answer"),
    [
        ("\nMood:", " ", "Text: snow", "Mood:", " fine"),
        ("\n気分\uff1a", "", "Text: snow", "気分\uff1a", "fine"),
        ("\nMood:", "\n", "Text: snow", "Mood:\n", "fine"),
        ("", " ", "Text: snow", "", "fine"),  # it begins the turn, so no space stands before it
        ("\nIs it fine?", " ", "Text: snow\nIs it fine?", "", "fine"),
        ("\n良いですか\uff1f", " ", "Text: snow\n良いですか\uff1f", "", "fine"),
    ],
)
@pytest.mark.parametrize("chat", ["turns", "single"])
def test_an_answer_has_a_space_before_it_where_the_prompt_begins_it(
    chat, output_prefix, answer_prefix, question, begun, answer
):
    template = Template("Text: ", output_prefix, "\n\n", answer_prefix)
    policy = replace(POLICY, template=template, demonstrations=(), chat=chat)
    prompt = render_prompt(policy, "snow")
    assert (prompt.turns[-1].content, prompt.begun) == (question, begun)
    assert render_answer(policy, "good") == answer
    if chat == "turns":  # an example reads as a demonstration does
        shown = replace(policy, demonstrations=(Demonstration("snow", "good"),))
        assert [t.content for t in render_prompt(shown, "?").turns[1:3]] == [
            question,
            begun + answer,
        ]


def test_the_model_answers_steps_in_its_turn():
    policy = replace(POLICY, steps=("Cold?", "Wet?"), demonstrations=())
    before = (Turn("system", "Sort."), Turn("user", "Text: snow"))
    assert render_step(policy, "snow", ["yes"]) == Conversation(before, "Cold? yes\nWet?")
    assert render_prompt(policy, "snow", ["yes", "no"]).begun == "Cold? yes\nWet? no\nMood:"
    asking = replace(policy, template=Template("Text: ", "\nFine?"))
    assert render_prompt(asking, "snow", ["yes", "no"]).begun == "Cold? yes\nWet? no\n"
    assert render_answer(asking, "good") == "fine"


@pytest.mark.parametrize("chat", ["turns", "single"])
def test_all_conversations_of_a_policy_begin_with_its_prefix(chat):
    policy = replace(POLICY, chat=chat)
    prefix, whole = render_prefix(policy), render_prompt(policy, "snow")
    assert prefix.is_open
    assert prefix.turns[:-1] == whole.turns[: len(prefix.turns) - 1]
    assert whole.turns[-1].content == prefix.turns[-1].content + "Text: snow"


def test_a_query_of_the_prompt_itself_has_it_as_its_context():
    queries = render_queries(POLICY, [Example("e", "x", "bad", ("bad", "good"))], with_prompt=True)
    [whole] = [q for q in queries if q.kind is QueryKind.PROMPT]
    assert (whole.context, whole.continuation) == (render_prompt(POLICY, "N/A"), "")


def test_a_policy_that_is_no_chat_is_known_as_it_was():
    """Its canonical JSON has no slot for it."""
    assert "chat" not in replace(POLICY, chat="off").canonical_json
    assert Policy.from_dict(POLICY.to_dict()) == POLICY
    with pytest.raises(UserError, match="a policy's chat is 'turn'.*turns"):
        replace(POLICY, chat="turn")


def test_a_policy_is_judged_in_the_rendering_that_it_has():
    assert evaluator_of(POLICY) == replace(DEFAULT_EVALUATOR, chat="turns")
    assert evaluator_of(replace(POLICY, chat="off")) is not None
    own = replace(POLICY, chat="off", evaluator=Policy("Judge."))
    off, turns = rendered(own, ("off", "turns"))
    assert off == own
    assert (turns.chat, turns.evaluator.chat) == ("turns", "turns")
    assert rendered(POLICY, ("off", "single")) == (POLICY,)
