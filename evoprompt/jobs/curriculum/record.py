"""What is written down of each round: a line of `rounds.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

#: Digits of utilities and weights in the lines.
DIGITS = 6

Values = tuple[float | None, ...]  #: by region; None where it was not measured


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A round of a curriculum. What is there by region is in the order of the configuration.
    Utilities are probabilities of the right choice, of members that were selected before on other
    examples.
    """

    round: int  #: 0 is that of the founders, who have no members before them
    weights: tuple[float, ...]  #: of regions, by which this round's examples count or were drawn
    draws: tuple[int, ...]  #: how often each region came
    protagonist: Values  #: mean utility of the protagonist's members
    best: Values  #: of the member, of either population, that did best in the region before
    regret: Values  #: best less protagonist
    regret_error: Values  #: standard error of that, over examples
    entropy: float  #: of the weights, over that of equal ones
    best_fitness: float  #: of the protagonist after this round's survival
    #: of this round's members, in equal shares, against the weights; None where not all regions
    #: came
    duality_gap: float | None
    worst_regret: float | None  #: of that mixture, in its worst region
    minimax_regret: float | None  #: the least that any mixture of them has in its worst region
    logical_tokens: int  #: that search has taken so far
    prefill_tokens: int  #: that all has forwarded so far
    time_ms: int  #: when it was committed

    @property
    def weighted_regret(self) -> float | None:
        """The mean regret under the weights, over the regions that came; None where none is
        known.
        """
        known = [(w, r) for w, r in zip(self.weights, self.regret, strict=True) if r is not None]
        total = sum(w for w, _ in known)
        return sum(w * r for w, r in known) / total if total else None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as `rounds.jsonl` has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the line of `to_dict`'s values."""
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**plain)
