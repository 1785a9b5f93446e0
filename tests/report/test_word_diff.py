"""What changed between two texts, word by word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evoprompt.report.word_diff import diff_hover, diff_html, word_changes


def test_words_that_went_and_came_are_told_in_order():
    assert word_changes("Is the answer yes?", "Is this answer yes, or no?") == [
        *(("same", "Is "), ("out", "the"), ("in", "this"), ("same", " answer ")),
        *(("out", "yes?"), ("in", "yes, or no?")),
    ]


@given(st.text("ab \n", max_size=30), st.text("ab \n", max_size=30))
def test_both_texts_can_be_read_off(before: str, after: str):
    changes = word_changes(before, after)
    assert "".join(text for kind, text in changes if kind != "in") == before
    assert "".join(text for kind, text in changes if kind != "out") == after


def test_a_page_marks_what_changed_and_no_text_is_markup():
    assert diff_html("a <b>", "a <i> c") == "a <del>&lt;b&gt;</del><ins>&lt;i&gt; c</ins>"


def test_a_label_has_what_changed_and_is_cut_with_a_mark():
    assert diff_hover("one two", "one <three>", 40) == "- two<br>+ &lt;three&gt;"
    assert diff_hover("one", "one and many more words", 7) == "+ and man…"
    assert diff_hover("same", "same", 7) == ""
