"""A self-evaluation loop with all that surrounds it: build, go round, tell how it ended, give the
workers back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprompt.errors import InexactScoringError
from evoprompt.jobs.base import (
    begin,
    begin_again,
    begun_again,
    going_on,
    home,
    identify,
    taken_away,
    tell_data,
)
from evoprompt.jobs.boost.build import build_boost, check_boost
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.display import BoostDisplay, print_result
from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.loop import boost
from evoprompt.jobs.boost.tracked import ending_of
from evoprompt.jobs.provenance import check_unchanged, provenance, with_settings
from evoprompt.store.folder import SUMMARY
from evoprompt.terminal import PlainConsole, new_console
from evoprompt.tracking.courier import warn_untold


def start(config: BoostConfig, out: Path | None) -> Mapping[str, Any]:
    """Run a loop in a new folder; return the summary.

    Raises:
        UserError: before anything is written, where that can be known; a folder without a round is
            taken away again.
    """
    summary: Mapping[str, Any] = conduct(config, out).read(SUMMARY)
    return summary


def conduct(config: BoostConfig, out: Path | None, *, show: bool = True) -> BoostFolder:
    """Run a loop in a new folder to its end; return the folder.

    Raises:
        UserError: as `start`.
    """
    asked, *_ = check_boost(config)
    console = new_console(quiet=not show)
    folder = begin(BoostFolder, config, out, asked.account(), console)
    with taken_away(folder):
        tell_data(console, asked.summary(), asked.notes)
        _carry_out(config, folder, show=show)
    return folder


def resume(
    path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
) -> Mapping[str, Any]:
    """Go on with a loop from its last committed round; return the summary.

    Args:
        path: of its folder.
        overrides: `key=value` of what changes no result, and `loop.rounds`.
        accept_changes: go on, and record it, where what the result depends on has changed.

    Raises:
        UserError: it is complete, or its folder is damaged.
    """
    folder = BoostFolder.open(path)
    with going_on(folder, accept_changes=accept_changes):
        settings = with_settings(folder, BoostConfig, overrides, "loop.rounds")
        config = settings.config
        asked, *_ = check_boost(config)
        now = provenance(config, identify(config, new_console()), asked.account())
        check_unchanged(folder, now, settings)
        return _carry_out(config, folder)


def _carry_out(config: BoostConfig, folder: BoostFolder, *, show: bool = True) -> Mapping[str, Any]:
    """Go round to the end; where the scores turn out to be wrong, begin again and forward every
    sequence by itself.
    """
    try:
        return _go_round(config, folder, show=show)
    except InexactScoringError as found:
        config = begin_again(folder, config, found)
        if show:
            PlainConsole(stderr=True).print(begun_again(found))
    return _go_round(config, folder, show=show)


def _go_round(config: BoostConfig, folder: BoostFolder, *, show: bool) -> Mapping[str, Any]:
    begun = time.perf_counter()
    with BoostDisplay(None if show else new_console(quiet=True)) as display:
        parts = build_boost(config, home(folder.path))
        status, summary = "FAILED", None
        try:
            summary = boost(parts, folder, display, startup_seconds=time.perf_counter() - begun)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            display.interrupted(folder.path)
            raise
        finally:
            ending = ending_of(folder) if status == "FINISHED" else None
            warn_untold(folder.path, parts.tracker.finish(status, ending))
            parts.close()
    print_result(display.console, summary, folder.path, parts.tracker.location())
    return summary
