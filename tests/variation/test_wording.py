"""Edits of an instruction by its words and sentences."""

from __future__ import annotations

from itertools import chain

import numpy as np

from evoprompt.policy import Policy
from evoprompt.records import Materials
from evoprompt.tasks.banks import GENERAL_SYNONYMS
from evoprompt.variation.catalog import OPERATORS

BY_NAME = {operator.name: operator for operator, _ in OPERATORS}
MATERIALS = Materials(
    phrases=("Be kind.", "Look twice."),
    choices=(("good", "query"),),
    synonyms=(("sort", "classify"), ("question", "query"), ("kind", "type"), ("if", "whether")),
)


def made(name: str, policy: Policy | str, materials: Materials = MATERIALS) -> set[str | None]:
    parent = Policy(policy) if isinstance(policy, str) else policy
    children = [
        BY_NAME[name].apply((parent,), materials, np.random.default_rng(seed))
        for seed in range(100)
    ]
    return {child and child.instruction for child in children}


def test_one_word_is_left_out_with_its_marks():
    assert made("instruction_word_drop", "Sort  the mail:\n- red, please.") == {
        "the mail:\n- red, please.",
        "Sort mail:\n- red, please.",
        "Sort the\n- red, please.",
        "Sort the mail:\nred, please.",
        "Sort the mail:\n- please.",
        "Sort the mail:\n- red,",
    }
    assert made("instruction_word_drop", "Sort.") == made("instruction_word_drop", "") == {None}


def test_one_sentence_is_left_out_where_there_are_two():
    assert made("instruction_sentence_drop", "Read it: all, please. Why? Now!\nSort") == {
        "Why? Now!\nSort",
        "Read it: all, please. Now!\nSort",
        "Read it: all, please. Why?\nSort",
        "Read it: all, please. Why? Now!",
    }
    assert made("instruction_sentence_drop", "Read it: all, please.") == {None}


def test_a_phrase_of_the_bank_is_added_beside_the_sentences():
    assert made("instruction_sentence_add", "Sort it, now. Look twice.") == {
        "Be kind. Sort it, now. Look twice.",
        "Sort it, now. Be kind. Look twice.",
        "Sort it, now. Look twice. Be kind.",
    }
    assert made("instruction_sentence_add", "") == {"Be kind.", "Look twice."}
    assert made("instruction_sentence_add", "Be kind. Look twice.") == {None}


def test_a_synonym_has_the_capitals_of_the_word_and_choices_keep_their_words():
    assert made("instruction_synonym", "Sort it. IF it is a kind, a query or a type.") == {
        "Classify it. IF it is a kind, a query or a type.",
        "Sort it. WHETHER it is a kind, a query or a type.",
        "Sort it. IF it is a type, a query or a type.",
        "Sort it. IF it is a kind, a query or a kind.",
    }
    worded = Policy("Sort it.", label_words=(("good", "sort"),))
    assert made("instruction_synonym", worded) == {None}
    assert made("instruction_synonym", "Sorting questions; a kind-hearted question.") == {
        "Sorting questions; a type-hearted question."
    }


def test_no_word_of_the_table_is_in_two_groups():
    words = list(chain(*GENERAL_SYNONYMS))
    assert len(set(words)) == len(words)
    assert all(len(group) > 1 for group in GENERAL_SYNONYMS)
    assert all(word == word.lower() and word.isalpha() for word in words)
