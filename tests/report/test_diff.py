"""What two texts differ by."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evoprompt.report.diff import diff_html, diff_text, is_same, word_diff

TEXTS = st.text("ab \n.", max_size=30)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_from_a_difference(before: str, after: str):
    pieces = word_diff(before, after)
    assert "".join(p.text for p in pieces if p.kind != "new") == before
    assert "".join(p.text for p in pieces if p.kind != "gone") == after
    assert is_same(pieces) == (before == after)
    assert all(a.kind != b.kind for a, b in pairwise(pieces))


def test_a_changed_word_is_told_and_a_changed_line_is_told_whole():
    assert diff_text(word_diff("Say good or bad.", "Say great or bad.")) == (
        "Say [-good-]{+great+} or bad."
    )
    # the two share "the" alone
    told = diff_text(word_diff("Decide the type\nx", "Where is the box?\nx"))
    assert told == "[-Decide the type\n-]{+Where is the box?\n+}x"


def test_marks_of_a_text_stay_text():
    assert diff_html(word_diff("a <b>", "a <i>")) == (
        "<pre>a &lt;<del>b</del><ins>i</ins>&gt;</pre>"
    )
