"""What is written down of each number of demonstrations: a line of `shots.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

#: The context of a prompt without demonstrations, where it has no champion's own.
NONE = "none"
#: Digits of nats in the lines.
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """One prompt on the test examples."""

    model: str
    task: str
    context: str  #: how its demonstrations were found; `none` where there are none
    draw: int
    number: int  #: of demonstrations
    num_choices: int  #: of an example; 0 where they differ, 1 in free form
    demonstrations: tuple[tuple[str, str], ...]  #: input and target of each
    right: tuple[int, ...]  #: 1 for each test example that is answered right, else 0
    #: nats, of the right answer to each test example, summed over its tokens
    log_likelihood: tuple[float, ...]
    #: the same with answers compared by offsets that validation examples gave; None where there
    #: are none
    calibrated_right: tuple[int, ...] | None = None
    #: nats, of the right answer among the choices, so calibrated
    calibrated_log_likelihood: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as `shots.jsonl` has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the cell of `to_dict`'s values."""
        shown = tuple((text, target) for text, target in values["demonstrations"])
        rows = {
            key: None if values[key] is None else tuple(values[key])
            for key in (
                *("right", "log_likelihood", "calibrated_right", "calibrated_log_likelihood"),
            )
        }
        return cls(**{**values, **rows, "demonstrations": shown})
