"""What is cut has the tokens of the whole, and what a cut would change is not cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, Sequence, Split
from tokenizers.trainers import BpeTrainer

from evoprompt.scoring.seams import PATTERNS, can_be_cut, lines_of

LINES = 4 * ["Sort the mail.\nThe kettle broke => complaint\nWho is it?\n\n It's 5\nth"]
#: Texts of what a seam could go wrong at.
TEXTS = st.lists(
    st.sampled_from(
        [*"aTh5.=\n\t\r '", "\n\n", ".\nT", "5\nth", "'s", "é", "\u2028", " \n", "\r\n"]
    )
).map("".join)


def trained(words: object, **options: object) -> Tokenizer:
    """Return a byte-pair tokenizer that merges whatever its words have."""
    backend = Tokenizer(BPE(**options))
    backend.pre_tokenizer = words
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator(LINES, trainer)
    return backend


def by_pattern(pattern: str) -> Tokenizer:
    split = Split(Regex(pattern), "isolated")
    return trained(Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)]))


BYTES = ByteLevel(add_prefix_space=False)
CUT = [
    trained(BYTES),
    trained(Sequence([Digits(individual_digits=True), BYTES])),
    *map(by_pattern, sorted(PATTERNS)),
]


def ids(backend: Tokenizer, text: str) -> list[int]:
    return list(backend.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("backend", CUT)
@settings(max_examples=150)
@given(text=TEXTS)
def test_the_parts_have_the_tokens_of_the_whole(backend: Tokenizer, text: str):
    assert can_be_cut(backend)
    assert "".join(lines_of(text)) == text
    assert [i for line in lines_of(text) for i in ids(backend, line)] == ids(backend, text)


def test_a_text_is_cut_between_a_visible_character_and_a_letter():
    assert lines_of("a.\nB\n\nc\n d\n5\ne") == ["a.\n", "B\n\nc\n d\n5\n", "e"]
    assert lines_of("") == [""]


def test_one_that_a_cut_would_change_is_not_cut():
    whole = trained(Split(Regex("$^"), "isolated"))  # words go on over lines
    text = "broke => complaint\nWho is"
    assert [i for line in lines_of(text) for i in ids(whole, line)] != ids(whole, text)
    assert not can_be_cut(whole)
    spaced = trained(ByteLevel(add_prefix_space=True))  # a space before each part
    assert [i for line in lines_of(text) for i in ids(spaced, line)] != ids(spaced, text)
    assert not can_be_cut(spaced)


def test_one_that_is_not_known_is_not_cut():
    normalized, named = trained(BYTES), trained(BYTES)
    normalized.normalizer = normalizers.Strip()
    named.add_tokens([AddedToken("<b>", rstrip=True)])
    for backend in (
        trained(Metaspace()),
        by_pattern(r"[^\n]+\n[A-Z]|[\s\S]"),
        trained(BYTES, dropout=0.5),
        normalized,
        named,
        Tokenizer(BPE()),
    ):
        assert not can_be_cut(backend)
