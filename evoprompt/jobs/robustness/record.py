"""What is written down of each changed prompt: a line of `robustness.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

#: The source of a prompt as it is; of one changed to do harm; of one with the change that was
#: found for the other policy; what stands before the source of label words of an attacked prompt.
NONE, ATTACK, TRANSFERRED, ATTACKED = "none", "attack", "transferred", "attack+"
#: Digits of nats in the lines.
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Edit:
    """A step of an attack: a source with what its draw follows from."""

    source: str
    step: int
    candidate: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One prompt on the test examples."""

    subject: str  #: champion or baseline
    source: str  #: a name of `PERTURBATIONS`, or one of those above
    draw: int  #: by which the same change is known for both policies; some numbers are left out
    policy: Mapping[str, Any]  #: as `Policy.to_dict` has it
    answers: tuple[int, ...]  #: the place of the answer among the choices of each test example
    right: tuple[int, ...]  #: 1 for each test example that is answered right, else 0
    #: the same with each choice's mean over these examples taken off first, which no label is
    #: needed for: what is left when a changed favour for labels is set aside
    freed_right: tuple[int, ...]
    log_likelihood: tuple[float, ...]  #: nats, of the right choice among the choices
    edits: tuple[Edit, ...] = ()  #: of an attack, in order

    def to_dict(self) -> dict[str, Any]:
        """Return the line as `robustness.jsonl` has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the cell of `to_dict`'s values."""
        names = ("answers", "right", "freed_right", "log_likelihood")
        rows: dict[str, Any] = {name: tuple(values[name]) for name in names}
        rows["edits"] = tuple(Edit(**edit) for edit in values["edits"])
        return cls(**{**values, **rows})
