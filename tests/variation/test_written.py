"""What of a text that a model wrote is an instruction."""

from __future__ import annotations

import pytest

from evoprompt.variation.written import MOST, instruction_of, plain


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        (" Sort the mail. ", "Sort the mail."),
        ('"Sort the mail."', "Sort the mail."),
        ("\u201cSort  the\tmail.\u201d", "Sort the mail."),
        ("1. Sort the mail.", "Sort the mail."),
        ("- (2) Sort the mail.", "Sort the mail."),
        ("Sort the mail.\nOutput: complaint", "Sort the mail."),
        # an example on the same line, with its answer
        ("Sort the mail. Input: I want my money. Output: complaint", "Sort the mail."),
        ("Sort the mail. Label: praise", "Sort the mail."),
        # it begins as what it was shown did
        ("Instruction: Sort the mail.", "Sort the mail."),
        ("Combined: Sort. Instruction: Read.", "Sort."),
        ("Is it one of these: good, bad?", "Is it one of these: good, bad?"),
        ("1984 was a book; which year is it?", "1984 was a book; which year is it?"),
    ],
)
def test_it_is_the_first_line_without_what_is_around_it(text, instruction):
    assert instruction_of(text) == instruction


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("  \n Sort", None),
        ("ab", "too short"),
        ("x" * (MOST + 1), "too long"),
        ("?! 12 ...", "no word"),
        ("Output: ", "an example alone"),
        ("very very very very very very very very good", "it repeats itself"),
        ("the mail " * 8, "it repeats itself"),
    ],
)
def test_what_is_no_instruction_is_none(text, why):
    assert (instruction_of(text) is None) is (why is not None), why


def test_an_input_that_was_shown_is_not_in_it():
    shown = ["Where is my Parcel?", " ", "art"]
    assert instruction_of("Say what 'where is my parcel' is.", shown) is None
    assert instruction_of("Say where my parcel is.", shown) == "Say where my parcel is."
    assert instruction_of("Start party.", shown) == "Start party."
    assert instruction_of("Look at art.", shown) is None


def test_texts_that_read_the_same_have_the_same_words():
    assert plain(" Sort the  Mail!") == plain("sort the mail") != plain("sort mails")
