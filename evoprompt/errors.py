"""The exception that means the user can mend it; the command line prints its sentence and exits
with 2. How what a user gave is quoted in a sentence. And the exception that means a run has to
begin again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Characters of a value that is quoted, and of a whole message.
QUOTED, MESSAGE = 200, 4000

#: What acts on a terminal rather than being seen: control characters but tab and line break, marks
#: that turn the direction of a line, other line breaks, halves of surrogate pairs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class UserError(ValueError):
    """A mistake in what the user gave: the message says what was given, what is valid, and how to
    mend it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(clip(message, MESSAGE)))


def printable(text: str) -> str:
    """Return text in which every character can be seen: those that would act on a terminal are
    written as escapes, as `repr` does.
    """
    return _UNSEEN.sub(lambda found: _escaped(found[0]), text)


def clip(text: str, length: int = QUOTED) -> str:
    """Return text of at most this many characters; of a longer one the beginning, with a mark."""
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"


def quoted(value: object) -> str:
    """Return a value as a sentence quotes it: on one line, and short."""
    if isinstance(value, str):  # a long text is cut before it is written with escapes
        return clip(repr(clip(value, QUOTED + 1)))
    if isinstance(value, list | tuple | set | dict) and len(value) > QUOTED:
        return f"a {type(value).__name__} of {len(value)} parts"
    return clip(repr(value))


class MachineError(RuntimeError):
    """What a run needs of the machine failed for good, by nobody's mistake; the message says it."""


class StoppedError(Exception):
    """Who watches a job wants no more of it; what it committed is kept."""


class InexactScoringError(Exception):
    """The way of scoring gives other numbers than the plain forward on a run's own requests."""


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return a hint naming the valid word nearest to `given`, or all valid words when none is
    near.
    """
    words = sorted(valid)
    close = difflib.get_close_matches(clip(given), words, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"valid are: {', '.join(words)}"


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
