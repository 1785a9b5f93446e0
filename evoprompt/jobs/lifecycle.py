"""What a measurement goes through from its configuration to its summary: read, a folder of its own,
carried out, told, and the same again where it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from evoprompt.config.sections import JobConfig
from evoprompt.errors import InexactScoringError
from evoprompt.jobs.base import begin_again, begun_again, going_on, taken_away, tell_data
from evoprompt.jobs.provenance import check_unchanged, with_settings
from evoprompt.jobs.telling import telling
from evoprompt.store.folder import SUMMARY, RunFolder
from evoprompt.store.ledger import Ledger
from evoprompt.terminal import new_console
from evoprompt.tracking.base import Ending
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.open import opener_of

C = TypeVar("C", bound=JobConfig)
F = TypeVar("F", bound=RunFolder)
S = TypeVar("S")
Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Lifecycle(Generic[C, F, S]):
    """A measurement by what is its own."""

    config: type[C]
    folder: type[F]
    #: reads all that a configuration names, before there is a folder or a model
    read: Callable[[C], S]
    #: how much data there is for what, and what is to be known of it
    data: Callable[[S], Iterable[tuple[str, Iterable[str]]]]
    #: what the result depends on
    provenance: Callable[[C, S, Console], dict[str, object]]
    #: tells the tracker what is committed
    open_tracking: Callable[[Courier, F, C], None]
    #: measures what is not committed, and writes the summary
    carry_out: Callable[[C, S, F, Console, Courier], Summary]
    #: what the tracker is told of a complete folder
    ending: Callable[[F], Ending | None]
    #: prints a summary, and where the tracker has it
    show: Callable[[Console, F, Summary, str], None]

    def start(self, config: C, out: Path | None) -> Summary:
        """Measure in a new folder; return the summary.

        Raises:
            UserError: before anything is written, where that can be known; a folder without a
                commit is taken away again.
        """
        opener_of(config)
        subject, console = self.read(config), new_console()
        now = self.provenance(config, subject, console)
        folder = self.folder.create(out, config.name)
        with taken_away(folder):
            folder.begin(config, now)
            for line, notes in self.data(subject):
                tell_data(console, line, notes)
            return self._to_the_end(config, subject, folder, console)

    def resume(
        self, path: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> Summary:
        """Go on with a measurement after what it committed; return the summary.

        Args:
            path: of its folder.
            overrides: `key=value` of what changes no result.
            accept_changes: go on, and record it, where what the result depends on has changed.

        Raises:
            UserError: it is complete, or its folder is damaged.
        """
        folder, console = self.folder.open(path), new_console()
        with going_on(folder, accept_changes=accept_changes):
            settings = with_settings(folder, self.config, overrides)
            subject = self.read(settings.config)
            now = self.provenance(settings.config, subject, console)
            check_unchanged(folder, now, settings)
            return self._to_the_end(settings.config, subject, folder, console)

    def _to_the_end(self, config: C, subject: S, folder: F, console: Console) -> Summary:
        """Measure to the end; where scores turn out to be wrong, begin again and forward every
        sequence by itself.
        """
        try:
            return self._told(config, subject, folder, console)
        except InexactScoringError as found:
            config = begin_again(folder, config, found)
            console.print(begun_again(found), soft_wrap=True)
        return self._told(config, self.read(config), folder, console)

    def _told(self, config: C, subject: S, folder: F, console: Console) -> Summary:
        with telling(config, folder, console, self.ending) as tracker:
            self.open_tracking(tracker, folder, config)
            summary = self.carry_out(config, subject, folder, console, tracker)
        self.show(console, folder, summary, tracker.location())
        return summary


def write_end(
    folder: F, summary: dict[str, Any], ledger: Ledger, write_page: Callable[[F, Summary], Path]
) -> Summary:
    """Write the page and the summary of a measurement, with its seconds by phase and when it ended;
    return the summary.
    """
    with ledger.timed("report"):
        write_page(folder, summary)
    summary["seconds"] = ledger.rounded_seconds()
    summary["time_ms"] = int(time.time() * 1000)
    folder.write(SUMMARY, summary)
    return summary
