"""A curriculum as a job: how its folder is known, gone on with, reported and used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprompt.jobs.base import Champion, complete_summary, page_of, sync_owned
from evoprompt.policy import Policy
from evoprompt.store.folder import CONFIG, SUMMARY, RunFolder
from evoprompt.store.form import in_form


class CurriculumJob:
    """Prompts for several regions, with examples from where there is regret. Implements
    `base.Job`.
    """

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has the configuration of a curriculum."""
        return (folder / CONFIG).exists() and "regions" in RunFolder(folder).config_values()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Evolve prompts for several regions, with examples from where there is regret."""
        from evoprompt.jobs.curriculum.config import load_curriculum
        from evoprompt.jobs.curriculum.session import start

        start(load_curriculum(config, overrides), out)
        return 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a curriculum after the last round that it committed."""
        from evoprompt.jobs.curriculum.session import resume

        resume(folder, overrides, accept_changes=accept_changes)
        return 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told."""
        from evoprompt.jobs.curriculum.folder import CurriculumFolder
        from evoprompt.jobs.curriculum.tracked import sync

        opened = CurriculumFolder.open(folder)
        return sync_owned(opened, opened.config(), sync)

    def report(self, folder: Path) -> Path:
        """Write the page of a curriculum, finished or not."""
        from evoprompt.jobs.curriculum.folder import CurriculumFolder
        from evoprompt.jobs.curriculum.page import write_curriculum_page

        return page_of(CurriculumFolder.open(folder), write_curriculum_page)

    def champion(self, folder: Path) -> Champion:
        """Return the protagonist's best, which answers by the likeliest choice; inputs are read and
        choices offered as in the first region.
        """
        from evoprompt.jobs.curriculum.folder import CurriculumFolder

        opened = CurriculumFolder.open(folder)
        summary = complete_summary(opened)
        with in_form(folder / SUMMARY):
            policy = Policy.from_dict(summary["champion"]["policy"])
            prompt = str(summary["champion"]["prompt"])
        config = opened.config()
        first = next(iter(config.regions.values())).task
        return Champion(config.model_copy(update={"task": first}), policy, None, prompt=prompt)
