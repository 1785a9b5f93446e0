"""The lines of a curriculum in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.config.reader import check_section
from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.record import RoundLine
from evoprompt.jobs.evolve.folder import LINEAGE, lineage_line
from evoprompt.records import LineageEntry
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form

ROUNDS = "rounds.jsonl"


class CurriculumFolder(RunFolder):
    """The folder of a curriculum."""

    def config(self) -> CurriculumConfig:
        """Return the configuration that it was begun with."""
        return check_section(CurriculumConfig, self.config_values(), str(self.path / CONFIG))

    def rounds(self) -> list[RoundLine]:
        """Return what is committed."""
        with in_form(self.path / ROUNDS):
            return [RoundLine.from_dict(line) for line in self.lines(ROUNDS)]

    def commit(
        self, line: RoundLine, entries: Sequence[LineageEntry], content: Mapping[str, Any]
    ) -> None:
        """Append a round, and make it count."""
        lines = {ROUNDS: [line.to_dict()], LINEAGE: [lineage_line(e) for e in entries]}
        self.commit_lines(lines, content)
