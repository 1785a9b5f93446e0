"""A wish to stop that cannot get lost: an interrupt that is raised inside a callback of C code may
be swallowed there.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

_interrupted = False


def install_signal_handlers() -> None:
    """From now on end by `KeyboardInterrupt` on Ctrl-C and on a polite kill, checkpoint and all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable


def raise_if_interrupted() -> None:
    """Raise `KeyboardInterrupt` if a signal came that `install_signal_handlers` has seen, whatever
    became of the first one.
    """
    if _interrupted:
        raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Return whether a signal came that `install_signal_handlers` has seen."""
    return _interrupted


def _unraisable(found: Any) -> None:
    """Say what was swallowed, but for an interrupt: `raise_if_interrupted` knows of it."""
    if not issubclass(found.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(found)


def _interrupt(_number: int, _frame: Any) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt
