"""How a job tells its tracker and its user that it ends, then or later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from evoprompt.backends.base import ModelInfo
from evoprompt.config.sections import JobConfig
from evoprompt.jobs.base import home
from evoprompt.store.folder import RunFolder
from evoprompt.terminal import clock, program, short_path
from evoprompt.tracking.base import Ending
from evoprompt.tracking.courier import SYNC_SECONDS, Courier, is_told, warn_untold
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


def model_line(name: str, info: ModelInfo) -> str:
    """Return what a model is, and how it is scored."""
    return f"{name} ({info.dtype}) on {info.placement}; scoring path: {info.path} ({info.reason})"


def print_end(console: Console, summary: Mapping[str, Any], location: str, page: Path) -> None:
    """Print what a measurement took, and where it is shown."""
    tokens, seconds = summary["tokens"]["prefill"], summary["seconds"]["total"]
    console.print(
        f"{tokens:,} tokens forwarded in {clock(seconds)}; MLflow: {location}", soft_wrap=True
    )
    console.print(f"page {page}", soft_wrap=True)


def tell_rest(
    config: JobConfig,
    folder: F,
    begin: Callable[[Courier], None],
    ending: Callable[[F], Ending | None],
    parent: str | None = None,
) -> Exception | None:
    """Tell the tracker all that it was not told of a folder; return why that was not possible, None
    where it knows all.

    Args:
        config: of the job.
        folder: of it.
        begin: tells what is committed.
        ending: what the tracker is told of a folder that is complete; None of another.
        parent: the tracker's run that this one is shown under.
    """
    courier = open_tracker(config, home(folder.path), parent)
    if is_told(folder):
        return None
    begin(courier)
    found = ending(folder)
    return courier.finish("KILLED" if found is None else "FINISHED", found, SYNC_SECONDS)
