"""A loop's lines in its folder: rounds, answers, and the pairs it accepted."""

from __future__ import annotations

from evoprompt.config.reader import check_section
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.record import RoundLine
from evoprompt.jobs.boost.state import Judged
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form

RECURRENCE, ANSWERS, ACCEPTED = "recurrence.jsonl", "answers.jsonl", "accepted.jsonl"
OWN = "own_answers.jsonl"


class BoostFolder(RunFolder):
    """The folder of a self-evaluation loop."""

    def config(self) -> BoostConfig:
        """Return the configuration that a self-evaluation loop was begun with."""
        return check_section(BoostConfig, self.config_values(), str(self.path / CONFIG))

    def answers(self) -> tuple[tuple[Judged, bool | None], ...]:
        """Return the answers of the rounds that are committed, those to the test questions before
        the first included, and whether each is right; None where that is not known.
        """
        rows = [dict(row) for row in self.lines(ANSWERS)]
        with in_form(self.path / ANSWERS):
            return tuple((Judged(**row), right) for row in rows for right in [row.pop("is_right")])

    def rounds(self) -> list[RoundLine]:
        """Return the lines of the rounds that are committed."""
        with in_form(self.path / RECURRENCE):
            return [RoundLine.from_dict(line) for line in self.lines(RECURRENCE)]
