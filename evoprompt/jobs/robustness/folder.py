"""The lines of a measurement under changes in its folder."""

from __future__ import annotations

from evoprompt.config.reader import check_section
from evoprompt.jobs.robustness.config import RobustnessConfig
from evoprompt.jobs.robustness.record import Cell
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form

ROBUSTNESS = "robustness.jsonl"


class RobustnessFolder(RunFolder):
    """The folder of a measurement under changes."""

    def config(self) -> RobustnessConfig:
        """Return the configuration that it was begun with."""
        return check_section(RobustnessConfig, self.config_values(), str(self.path / CONFIG))

    def cells(self) -> list[Cell]:
        """Return what is committed."""
        with in_form(self.path / ROBUSTNESS):
            return [Cell.from_dict(line) for line in self.lines(ROBUSTNESS)]
