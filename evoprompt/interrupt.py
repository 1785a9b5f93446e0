"""A wish to stop that cannot get lost: an interrupt that is raised inside a callback of C code may be swallowed there."""

from __future__ import annotations

import signal
from typing import Any

_wished = False


def heed() -> None:
    """From now on end by `KeyboardInterrupt` on Ctrl-C and on a polite kill, checkpoint and all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _wish)


def stop_if_wished() -> None:
    """Raise `KeyboardInterrupt` if a signal came that `heed` has seen, whatever became of the first one."""
    if _wished:
        raise KeyboardInterrupt


def _wish(_number: int, _frame: Any) -> None:
    global _wished
    _wished = True
    raise KeyboardInterrupt
