"""What counts as seen before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evoprompt.evolution.novelty import known_as
from evoprompt.policy import Demonstration, Policy, Template

ONE, TWO = Demonstration("First text", "yes"), Demonstration("second", "no")
POLICY = Policy(
    "Read  the text.\nDecide.",
    (ONE, TWO),
    Template("Text: ", "\nLabel:", "\n\n"),
    (("yes", "Good"), ("no", "bad")),
    ("Who?", "Why?"),
    Policy("Judge."),
)


@pytest.mark.parametrize(
    "changes",
    [
        {"demonstrations": (TWO, ONE)},
        {"demonstrations": (Demonstration("first  TEXT\n", "yes"), TWO)},
        {"instruction": "read the text. decide."},
        {"template": Template("TEXT:", " Label:", "\n")},
        {"label_words": (("no", "Bad"), ("yes", "good"))},
        {"evaluator": Policy("judge.")},
    ],
    ids=str,
)
def test_order_of_demonstrations_case_and_white_space_are_nothing_new_as_a_set(changes):
    other = replace(POLICY, **changes)
    assert known_as(other, "set") == known_as(POLICY, "set")
    assert known_as(other, "id") == other.policy_id != POLICY.policy_id


@pytest.mark.parametrize(
    "changes",
    [
        {"demonstrations": (ONE,)},
        {"demonstrations": (ONE, Demonstration("second", "yes"))},
        {"demonstrations": (Demonstration("Firsttext", "yes"), TWO)},
        {"instruction": "Decide. Read the text."},
        {"template": Template("Text: ", "\nAnswer:", "\n\n")},
        {"label_words": (("yes", "bad"), ("no", "good"))},
        {"steps": ("Why?", "Who?")},
        {"evaluator": None},
    ],
    ids=str,
)
def test_anything_else_is_new(changes):
    assert known_as(replace(POLICY, **changes), "set") != known_as(POLICY, "set")
