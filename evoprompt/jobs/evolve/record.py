"""What a run writes down of a generation: its line of `generations.jsonl`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.population import Filling
from evoprompt.store.ledger import TokenSummary


@dataclass(frozen=True, slots=True)
class ParentSelection:
    """The chance that each selected birth of the generation before had to fill a parent slot."""

    probability: Sequence[float]
    how: str  #: the chances are known
    filling: Filling | None  #: of the slots; None where it is not known
    num_slots: int


@dataclass(frozen=True, slots=True)
class GenerationLine:
    """A generation of an island: what it was, how parents were chosen, what it cost so far."""

    island: int
    time_ms: int  #: when it was committed, since 1970
    account: GenerationAccount
    parent_selection: ParentSelection | None  #: None of founders
    tokens: TokenSummary
    seconds: float

    @property
    def generation(self) -> int:
        """The generation's number."""
        return self.account.generation

    def to_dict(self) -> dict[str, object]:
        """Return the line as `generations.jsonl` has it."""
        return {
            "island": self.island,
            "time_ms": self.time_ms,
            **self.account.to_dict(),
            "parent_selection": asdict(self.parent_selection) if self.parent_selection else None,
            "tokens": asdict(self.tokens),
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the line of `to_dict`'s values."""
        chances = values["parent_selection"]
        return cls(
            island=values["island"],
            time_ms=values["time_ms"],
            account=GenerationAccount.from_dict(values),
            parent_selection=ParentSelection(**chances) if chances else None,
            tokens=TokenSummary(**values["tokens"]),
            seconds=values["seconds"],
        )
