"""A measurement under changes as a job: how its folder is known, gone on with and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion, page_of, sync_owned
from evoprompt.store.folder import CONFIG, RunFolder


class RobustnessJob:
    """Champion and baseline under changes that leave the meaning. Implements `base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has the configuration of such a measurement."""
        return (folder / CONFIG).exists() and (
            {"run", "attack"} <= RunFolder(folder).config_values().keys()
        )

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Measure a run's champion and baseline under changes that leave the meaning as it is."""
        from evoprompt.jobs.robustness.session import start

        start(config, overrides, out)
        return 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a measurement after what it committed."""
        from evoprompt.jobs.robustness.session import resume

        resume(folder, overrides, accept_changes=accept_changes)
        return 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told."""
        from evoprompt.jobs.robustness.folder import RobustnessFolder
        from evoprompt.jobs.robustness.tracked import sync

        opened = RobustnessFolder.open(folder)
        return sync_owned(opened, opened.config(), sync)

    def report(self, folder: Path) -> Path:
        """Write the page of a measurement, finished or not."""
        from evoprompt.jobs.robustness.folder import RobustnessFolder
        from evoprompt.jobs.robustness.page import write_robustness_page

        return page_of(RobustnessFolder.open(folder), write_robustness_page)

    def champion(self, folder: Path) -> Champion:
        """Refuse: nothing is searched here."""
        raise UserError(
            f"{folder} measures the champion of another folder and has none of its own; give the "
            f"folder of a run"
        )
