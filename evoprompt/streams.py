"""What a program writes to: any text in any encoding, and to nobody who has gone."""

from __future__ import annotations

import io
import os
import sys


def take_any_text() -> None:
    """From now on write characters that the terminal's encoding lacks as escapes, rather than fail
    after the work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def leave_full_output() -> None:
    """Write to nowhere from now on where the output takes no more: what is left would fail again as
    Python ends.
    """
    try:
        sys.stdout.flush()
    except OSError:
        leave_closed_pipe()


def leave_closed_pipe() -> None:
    """Write to nowhere from now on: who read the output (`| head`) has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
