"""A sweep as a job: how its folder is known, gone on with and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.jobs.base import SWEEP, Champion
from evoprompt.store.form import in_form


class SweepJob:
    """Many runs in one folder. Implements `base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has the state of a sweep."""
        return (folder / SWEEP).exists()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Run a sweep as a file says; 1 when a run failed."""
        from evoprompt.jobs.sweep.loop import start

        return 1 if start(config, out, overrides) else 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a sweep; 1 when a run failed."""
        from evoprompt.jobs.sweep.loop import resume

        return 1 if resume(folder, overrides, accept_changes=accept_changes) else 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told of a sweep and of its runs."""
        from evoprompt.jobs.sweep.tracked import sync

        return sync(folder.resolve())

    def report(self, folder: Path) -> Path:
        """Write the table and the page of a sweep, finished or not."""
        from evoprompt.jobs.sweep.page import write_results

        with in_form(folder):
            return write_results(folder)[1]

    def champion(self, folder: Path) -> Champion:
        """Refuse: each run of a sweep has a champion of its own."""
        raise UserError(
            f"{folder} is a sweep, and each of its runs has a champion of its own; give the "
            f"folder of one, e.g. one that sweep.csv names"
        )
