"""A measurement by number of demonstrations as a job: how its folder is known, gone on with and
reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion, page_of, sync_owned
from evoprompt.store.folder import CONFIG, RunFolder


class ShotsJob:
    """Accuracy and likelihood by the number of demonstrations. Implements `base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has the configuration of such a measurement."""
        return (folder / CONFIG).exists() and "evolved_runs" in RunFolder(folder).config_values()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Measure models on tasks by the number of demonstrations."""
        from evoprompt.jobs.shots.config import load_shots
        from evoprompt.jobs.shots.session import start

        start(load_shots(config, overrides), out)
        return 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a measurement after what it committed."""
        from evoprompt.jobs.shots.session import resume

        resume(folder, overrides, accept_changes=accept_changes)
        return 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told."""
        from evoprompt.jobs.shots.folder import ShotsFolder
        from evoprompt.jobs.shots.tracked import sync

        opened = ShotsFolder.open(folder)
        return sync_owned(opened, opened.config(), sync)

    def report(self, folder: Path) -> Path:
        """Write the page of a measurement, finished or not."""
        from evoprompt.jobs.shots.folder import ShotsFolder
        from evoprompt.jobs.shots.page import write_shots_page

        return page_of(ShotsFolder.open(folder), write_shots_page)

    def champion(self, folder: Path) -> Champion:
        """Refuse: nothing is searched here."""
        raise UserError(
            f"{folder} measures prompts by their number of demonstrations and has no champion; "
            f"give the folder of a run"
        )
