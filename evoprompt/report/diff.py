"""Two texts -> what stayed, went and came, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from typing import Literal

Kind = Literal["same", "gone", "new"]

#: Words, and what stands between them: each is compared whole.
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")
_WORDS = re.compile(r"\w+")
#: The share of words that two lines have in common, by which they are told word by word.
ALIKE = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that stayed, went or came."""

    kind: Kind
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """Return the stretches in order: `same` and `gone` together are the first text, `same` and
    `new` the second. Lines that have little in common are told whole, not by the words that they
    happen to share.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return tuple(_joined(_lines(old, new)))


def is_same(pieces: Sequence[Piece]) -> bool:
    """Return whether nothing went and nothing came."""
    return all(piece.kind == "same" for piece in pieces)


def diff_html(pieces: Sequence[Piece]) -> str:
    """Return a difference for a page, with the elements that say so to a screen reader too."""
    tags = {"gone": "del", "new": "ins"}
    shown = (
        escape(p.text) if p.kind == "same" else f"<{tags[p.kind]}>{escape(p.text)}</{tags[p.kind]}>"
        for p in pieces
    )
    return f"<pre>{''.join(shown)}</pre>"


def diff_text(pieces: Sequence[Piece]) -> str:
    """Return a difference as text, with the marks of `git diff --word-diff`."""
    marks = {"same": ("", ""), "gone": ("[-", "-]"), "new": ("{+", "+}")}
    return "".join(f"{marks[p.kind][0]}{p.text}{marks[p.kind][1]}" for p in pieces)


def _lines(old: list[str], new: list[str]) -> Iterator[Piece]:
    for _, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[i:j] == new[k:m]:
            yield Piece("same", "".join(old[i:j]))
        elif j - i == m - k:
            for first, last in zip(old[i:j], new[k:m], strict=True):
                yield from _words(first, last)
        else:
            yield Piece("gone", "".join(old[i:j]))
            yield Piece("new", "".join(new[k:m]))


def _words(first: str, last: str) -> Iterator[Piece]:
    """Yield a line's stretches word by word, where the two are alike."""
    old, new = _PIECES.findall(first), _PIECES.findall(last)
    found = SequenceMatcher(None, old, new, autojunk=False)
    was, now = _WORDS.findall(first), _WORDS.findall(last)
    if SequenceMatcher(None, was, now, autojunk=False).ratio() < ALIKE:
        yield from (Piece("gone", first), Piece("new", last))
        return
    for _, i, j, k, m in found.get_opcodes():
        if old[i:j] == new[k:m]:
            yield Piece("same", "".join(old[i:j]))
        else:
            yield Piece("gone", "".join(old[i:j]))
            yield Piece("new", "".join(new[k:m]))


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield the pieces with neighbours made one: what went before what came."""
    gone = new = same = ""
    for piece in pieces:
        if piece.kind == "same":
            yield from (p for p in (Piece("gone", gone), Piece("new", new)) if p.text)
            gone = new = ""
            same += piece.text
            continue
        if same:
            yield Piece("same", same)
            same = ""
        gone += piece.text if piece.kind == "gone" else ""
        new += piece.text if piece.kind == "new" else ""
    yield from (p for p in (Piece("same", same), Piece("gone", gone), Piece("new", new)) if p.text)
