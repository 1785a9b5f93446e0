"""What every command says alike in a terminal: where it prints, how it is called again, times and
paths for people.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from evoprompt.errors import printable

#: Of lines that go to a file or a pipe: no table is broken that another program may read.
PIPE_WIDTH = 200


class PlainConsole(Console):
    """A console that shows text as it is: no markup, no emoji codes, and no character of a text
    acts on the terminal.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print as any console does; texts first lose what rich would drop without a word."""
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is shown of anything; every character of a text can be seen."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)


def new_console(*, quiet: bool = False) -> Console:
    """Return where a command prints: as wide as the terminal is, or `PIPE_WIDTH` without one."""
    return PlainConsole(width=None if sys.stdout.isatty() else PIPE_WIDTH, quiet=quiet)


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
