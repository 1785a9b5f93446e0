"""(Policy, Example) -> text: what stands between a prompt and an answer, and which of the two has
it.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example
from evoprompt.tasks.judge import verdict_queries
from evoprompt.tasks.render import (
    render_answer,
    render_prefix,
    render_prompt,
    render_queries,
    render_step,
    render_stops,
)

EXAMPLE = Example("e", "空は青い", "はい", ("はい", "いいえ"))
SHOWN = (Demonstration("雪は黒い", "いいえ"),)


@pytest.mark.parametrize(
    ("answer_prefix", "prompt_end", "answer"),
    [
        (" ", ":", " はい"),
        ("", ":", "はい"),
        ("\n", ":\n", "はい"),
        ("\n  ", ":\n", "  はい"),
        (" \n", ": \n", "はい"),
        ("\u3000", ":\u3000", "はい"),  # no token of a word begins with an ideographic space
    ],
)
def test_a_prompt_ends_before_the_spaces_that_an_answer_brings(answer_prefix, prompt_end, answer):
    policy = Policy("", SHOWN, Template("問:", "\n答:", "\n\n", answer_prefix))
    [query, _] = render_queries(policy, [EXAMPLE])
    shown = f"問:雪は黒い\n答:{answer_prefix}いいえ\n\n"
    assert query.context == f"{shown}問:空は青い\n答{prompt_end}"
    assert query.continuation == answer


texts = st.text(max_size=8)
whites = st.text(" \n\t", max_size=4)


@given(texts, texts, whites, texts)
def test_an_example_reads_as_a_demonstration_does(output_prefix, separator, white, word):
    policy = Policy("", (), Template("T: ", output_prefix, separator, white))
    shown = Policy("", (Demonstration("x", word),), policy.template)
    whole = render_prompt(policy, "x") + render_answer(policy, word)
    assert whole + separator == render_prefix(shown)
    assert not render_prompt(policy, "x").endswith(" ")


def test_a_chat_format_can_be_said():
    turn = Template("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n")
    [yes, _] = render_queries(Policy("", (), turn), [Example("e", "On?", "yes", ("yes", "no"))])
    assert yes.context == "<|im_start|>user\nOn?<|im_end|>\n<|im_start|>assistant\n"
    assert (yes.continuation, yes.end) == ("yes", "<|im_end|>\n")


@pytest.mark.parametrize(
    ("separator", "stops"),
    [
        ("\n\n", ("\n",)),
        (" \n", ("\n",)),
        ("", ("\n",)),
        ("\n###\n", ("\n",)),
        ("<|im_end|>\n", ("\n", "<|im_end|>")),
        (" ;\n\n", ("\n", " ;")),
        (" | ", ("\n", " | ")),
    ],
)
def test_a_written_answer_ends_where_a_demonstrated_one_does(separator, stops):
    assert render_stops(Policy(template=Template("", ":", separator))) == stops


def test_answers_to_steps_stand_where_answers_do():
    policy = Policy("", (), Template("", "\n答:", "\n", ""), steps=("理由は?", "確か?"))
    assert render_step(policy, "空", ()) == "空\n理由は?"
    assert render_step(policy, "空", ("青",)) == "空\n理由は?青\n確か?"
    assert render_prompt(policy, "空", ("青", "確か")) == "空\n理由は?青\n確か?確か\n答:"
    lines = Policy("", (), Template("", "\nA:", "\n", "\n"), steps=("Why?",))
    assert render_step(lines, "x", ()) == "x\nWhy?\n"
    assert render_prompt(lines, "x", ("so",)) == "x\nWhy?\nso\nA:\n"


def test_a_self_evaluation_clause_has_its_own():
    clause = Policy("", (), Template("", "\n正しい?", "\n", ""), (("TRUE", "はい"),))
    contexts = {q.context for q in verdict_queries(clause, [EXAMPLE])}
    assert all(context.endswith("\n正しい?") for context in contexts)
    assert {q.continuation for q in verdict_queries(clause, [EXAMPLE])} == {"はい", "FALSE"}
