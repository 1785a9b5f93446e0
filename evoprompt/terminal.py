"""What every command says alike in a terminal: where it prints, how it is called again, times and
paths for people.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.console import Console

#: Of lines that go to a file or a pipe: no table is broken that another program may read.
PIPE_WIDTH = 200


def new_console() -> Console:
    """Return where a command prints: as wide as the terminal is, or `PIPE_WIDTH` without one."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def program() -> str:
    """Return how the user can call this program again: by name where it is on the path, else by
    where it lies.
    """
    return "evoprompt" if shutil.which("evoprompt") else short_path(Path(sys.argv[0]).absolute())


def clock(seconds: float) -> str:
    """Return a time for people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def short_path(path: Path) -> str:
    """Return a path as seen from where the user is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
