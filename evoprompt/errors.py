"""The one exception that means the user can mend it; the command line prints its sentence and exits
with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: the message says what was given, what is valid, and how to
    mend it.
    """


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return a hint naming the valid word nearest to `given`, or all valid words when none is
    near.
    """
    words = sorted(valid)
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"valid are: {', '.join(words)}"
