"""What changed between two texts, word by word. Pure."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from html import escape

#: Words, line ends, and the white space between.
PIECES = re.compile(r"\n|[^\S\n]+|[^\s]+")


def word_changes(before: str, after: str) -> list[tuple[str, str]]:
    """Return the pieces of both texts in order, each with what became of it: `same`, `out` (only
    before) or `in` (only after). Without `in` they are the text before, without `out` the one
    after.
    """
    old, new = PIECES.findall(before), PIECES.findall(after)
    found = []
    for _, begin, end, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[begin:end] == new[first:last]:
            found.append(("same", "".join(old[begin:end])))
            continue
        found += [("out", "".join(old[begin:end]))] * (end > begin)
        found += [("in", "".join(new[first:last]))] * (last > first)
    return found


def diff_html(before: str, after: str) -> str:
    """Return the text after with what came in and what went out marked, as HTML."""
    marks = {"same": "{}", "in": "<ins>{}</ins>", "out": "<del>{}</del>"}
    return "".join(marks[kind].format(escape(text)) for kind, text in word_changes(before, after))


def diff_hover(before: str, after: str, most: int) -> str:
    """Return what came in and what went out, a line each, in the few tags that plotly's labels
    know; at most so many characters of each, and eight of them.
    """
    changes = []
    for kind, text in word_changes(before, after):
        shown = " ".join(text.split()) or "(white space)"
        if kind != "same":
            mark = "+" if kind == "in" else "-"
            changes.append(f"{mark} {escape(shown[:most])}{'…' if len(shown) > most else ''}")
    return "<br>".join(changes[:8])
