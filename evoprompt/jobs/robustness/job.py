"""A measurement under changes as a job: how its folder is known, gone on with and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form


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
        config = opened.config()
        if not config.tracking.enabled:
            raise UserError(f"nobody is told of {folder}: its tracking.enabled is false")
        with opened.owned():
            reason = sync(config, opened)
        return [] if reason is None else [reason]

    def report(self, folder: Path) -> Path:
        """Write the page of a measurement, finished or not."""
        from evoprompt.jobs.robustness.folder import RobustnessFolder
        from evoprompt.jobs.robustness.page import write_robustness_page

        opened = RobustnessFolder.open(folder)
        if not opened.has_commit:
            raise UserError(f"nothing is committed in {folder} yet; there is nothing to report")
        with in_form(folder):
            return write_robustness_page(opened)

    def champion(self, folder: Path) -> Champion:
        """Refuse: nothing is searched here."""
        raise UserError(
            f"{folder} measures the champion of another folder and has none of its own; give the "
            f"folder of a run"
        )
