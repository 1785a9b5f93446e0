"""What a model wrote -> an instruction, or none. Text alone: knows no policies."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Words that begin an example or another part of what a writer was shown: what follows one is no
#: instruction, and may be an answer.
MARKER = re.compile(
    r"\b(?:input|output|text|label|answer|right answer|score|instruction|change|changed|first"
    r"|second|best|old|new|combined|in other words)\s*:",
    re.IGNORECASE,
)
#: What may stand before and after an instruction that is none of it: numbers, bullets, quotes.
BEFORE = re.compile(r"^(?:[-*#>\s]+|\(?\d{1,2}[.)]\s+)+")
AROUND = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb*_ \t"
#: Characters of an instruction.
LEAST, MOST = 3, 400
#: Where more words than this are written, at least half of them are different.
FREE_WORDS = 8


def instruction_of(text: str, shown: Sequence[str] = ()) -> str | None:
    """Return the instruction in a text that a model wrote: its first line up to where an example
    begins, without numbers, quotes and white space around it.

    None where it is too short or too long, has no word, repeats itself, or has one of the inputs in
    it that the model was shown.
    """
    line = text.strip().split("\n")[0]
    marker = MARKER.search(line)
    if marker is not None and not line[: marker.start()].strip(AROUND):
        line = line[marker.end() :]  # it begins with one
        marker = MARKER.search(line)
    line = line[: marker.start()] if marker is not None else line
    line = " ".join(BEFORE.sub("", line).strip(AROUND).split())
    words = re.findall(r"\w+", line.lower())
    if not LEAST <= len(line) <= MOST or not any(any(map(str.isalpha, w)) for w in words):
        return None
    if len(words) > FREE_WORDS and 2 * len(set(words)) < len(words):
        return None
    folded = f" {plain(line)} "
    copied = any(f" {plain(given)} " in folded for given in shown if plain(given))
    return None if copied else line


def plain(text: str) -> str:
    """Return the words of a text in lower case: what two texts have that read the same."""
    return " ".join(re.findall(r"\w+", text.lower()))
