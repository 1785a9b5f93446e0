"""How a measurement tells its tracker and its user that it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console

from evoprompt.config.sections import JobConfig
from evoprompt.jobs.base import home
from evoprompt.store.folder import RunFolder
from evoprompt.terminal import program, short_path
from evoprompt.tracking.base import Ending
from evoprompt.tracking.courier import Courier, warn_untold
from evoprompt.tracking.open import open_tracker

F = TypeVar("F", bound=RunFolder)


@contextmanager
def telling(
    config: JobConfig, folder: F, console: Console, ending: Callable[[F], Ending | None]
) -> Iterator[Courier]:
    """Lend the tracker of a measurement; tell it in the end whether that finished, was interrupted,
    which the user is told too, or failed.

    Args:
        config: of the measurement.
        folder: of it.
        console: where the user reads.
        ending: what the tracker is told of a folder that is complete.
    """
    tracker, status = open_tracker(config, home(folder.path)), "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        console.print(
            f"interrupted; what is committed is kept. To go on: {program()} resume "
            f"{short_path(folder.path)}",
            soft_wrap=True,
        )
        raise
    finally:
        found = ending(folder) if status == "FINISHED" else None
        warn_untold(folder.path, tracker.finish(status, found))
