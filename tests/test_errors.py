"""What a sentence quotes is short and can be seen."""

from __future__ import annotations

import pytest

from evoprompt.errors import MESSAGE, QUOTED, UserError, clip, nearest, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("bell\x07 nul\x00 back\x08 return\r", "bell\\x07 nul\\x00 back\\x08 return\\x0d"),
        ("c1\x9b31m del\x7f", "c1\\x9b31m del\\x7f"),
        ("\u202eevil\u2066 \u200f\ufeff", "\\u202eevil\\u2066 \\u200f\\ufeff"),
        ("line\u2028other \ud800", "line\\u2028other \\ud800"),
        ("tab\tline\n灯 é 👍\u200d🔥", "tab\tline\n灯 é 👍\u200d🔥"),
    ],
)
def test_what_acts_on_a_terminal_is_seen(text: str, shown: str):
    assert printable(text) == shown == printable(shown)
    assert str(UserError(text)) == shown


def test_a_message_of_any_length_is_short():
    assert len(str(UserError("x" * 10**7))) == MESSAGE
    for value in ("x" * 10**7, "\x00" * 10**7, list(range(10**6)), {"a": "x" * 10**7}):
        assert len(quoted(value)) <= QUOTED
    assert (clip("abcd", 4), clip("abcde", 4)) == ("abcd", "abc…")
    assert quoted("it's") == '"it\'s"'
    assert len(nearest("x" * 10**6, ["a", "b"])) < 50
