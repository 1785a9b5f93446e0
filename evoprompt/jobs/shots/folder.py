"""The lines of a measurement by number of demonstrations in its folder."""

from __future__ import annotations

from evoprompt.config.reader import check_section
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.record import Cell
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form

SHOTS = "shots.jsonl"


class ShotsFolder(RunFolder):
    """The folder of a measurement by number of demonstrations."""

    def config(self) -> ShotsConfig:
        """Return the configuration that it was begun with."""
        return check_section(ShotsConfig, self.config_values(), str(self.path / CONFIG))

    def cells(self) -> list[Cell]:
        """Return what is committed."""
        with in_form(self.path / SHOTS):
            return [Cell.from_dict(line) for line in self.lines(SHOTS)]
