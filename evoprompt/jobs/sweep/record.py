"""What a sweep writes down: a row for each of its runs, and its state, `sweep.json`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from evoprompt.errors import UserError, quoted
from evoprompt.store.names import folder_name

Status = Literal["waiting", "running", "interrupted", "failed", "stopped", "done"]
Settings = Mapping[str, Any]  #: dotted key of the run configuration to value
Result = Mapping[str, float | None]  #: by the names of `tables.RESULTS` and a few more

VERSION = 1  #: of `sweep.json`


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A run of a sweep, as far as it is."""

    number: int  #: from 1
    folder: str  #: within the sweep's
    settings: Settings
    status: Status = "waiting"
    reason: str | None = None  #: why it failed, or was stopped
    #: by the names of `tables.RESULTS`, `objective` and `memo_share`; None until the run is done,
    #: without objective and accuracies where it was stopped
    result: Result | None = None
    #: its best fitness where it was compared with others, after the number of examples
    rungs: Sequence[tuple[int | None, float]] = ()

    @property
    def is_done(self) -> bool:
        """Whether the run ended well."""
        return self.status == "done"

    @property
    def is_left(self) -> bool:
        """Whether there is something left to do of it."""
        return self.status not in ("done", "stopped")

    def value(self, name: str) -> float | None:
        """Return a result; None where the run, or its summary, has none."""
        return None if self.result is None else self.result.get(name)

    def to_dict(self) -> dict[str, object]:
        """Return the row as `sweep.json` has it."""
        return {
            "number": self.number,
            "folder": self.folder,
            "settings": dict(self.settings),
            "status": self.status,
            "reason": self.reason,
            "result": None if self.result is None else dict(self.result),
            **({"rungs": [list(rung) for rung in self.rungs]} if self.rungs else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the row of `to_dict`'s values.

        Raises:
            UserError: its folder is not one within the sweep's.
        """
        if folder_name(str(values["folder"])) != values["folder"]:
            raise UserError(
                f"a run of a sweep has the folder {quoted(values['folder'])}, which is not the "
                f"name of one in the sweep's; do not use this sweep unless you trust who wrote it"
            )
        return cls(
            values["number"],
            values["folder"],
            values["settings"],
            cast("Status", values["status"]),
            values["reason"],
            values["result"],
            tuple((examples, value) for examples, value in values.get("rungs", ())),
        )


@dataclass(frozen=True, slots=True)
class SweepState:
    """All that pages and tables know of a sweep."""

    name: str
    method: str
    objective: str  #: what is maximised, by its key of `summary.json`
    axes: Sequence[str]  #: the dotted keys that vary
    rows: Sequence[SweepRow]

    def to_dict(self) -> dict[str, object]:
        """Return the state as `sweep.json` has it."""
        return {
            "version": VERSION,
            "name": self.name,
            "method": self.method,
            "objective": self.objective,
            "axes": list(self.axes),
            "runs": [row.to_dict() for row in self.rows],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state of `to_dict`'s values."""
        return cls(
            values["name"],
            values["method"],
            values["objective"],
            values["axes"],
            [SweepRow.from_dict(row) for row in values["runs"]],
        )
