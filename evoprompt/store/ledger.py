"""What a run has cost so far, by phase: tokens and seconds; and what its standing check has found.
Counts are of work done in this run, resumed parts included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from evoprompt.records import TokenCount

#: What the baseline is measured on, beside search and choice, to be reported as well calibrated as
#: the champion.
REPORT = "baseline"
#: Phases in which nothing is searched or chosen.
UNSEARCHED = ("test", "check", REPORT)


@dataclass(frozen=True, slots=True)
class TokenSummary:
    """What a run has forwarded, as its files have it."""

    prefill: int  #: tokens of prompts and scored continuations
    generated: int  #: tokens that the model wrote
    total: int  #: both together
    #: what each policy's distinct prefixes need by themselves: the store and the memo go below it
    floor: int
    head_rows: int  #: of the vocabulary's head
    floor_head_rows: int
    forwards: int
    stored: int  #: tokens that the prefix store spared
    requests: int
    memo_requests: int  #: of them, that the memo answered
    halvings: int
    by_phase: Mapping[str, int]  #: `total` by phase
    #: of all but test, checks and what the baseline is reported by, where nothing is shared: what
    #: optimizers are compared by
    logical: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """What a standing check has found so far."""

    requests: int = 0  #: that were scored again
    tokens: int = 0  #: of the sequences that they are in, whether or not the memo had them
    measured_tokens: int = 0  #: distinct prefixes of all that was measured
    longest: int = 0  #: tokens of the longest sequence that was checked
    difference: float = 0.0  #: the largest, nats, absolute
    allowed: float = 0.0  #: what is allowed where the largest part of it was used, nats
    used: float = 0.0  #: the largest difference as a part of what is allowed for its request

    @property
    def told(self) -> str:
        """What was found, in a line for people."""
        if not self.requests:
            return "no request was scored again: this backend has one way of scoring"
        return (
            f"{self.requests} requests scored again by the plain forward differ by at most "
            f"{self.difference:.1g} nats, {self.used:.0%} of what is allowed"
        )


@dataclass(slots=True)
class Ledger:
    """Tokens by phase (`search`, `validation`, `calibration`, `baseline`, `test`, `check`) and
    seconds by phase.
    """

    tokens: dict[str, TokenCount] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    checked: Checked = Checked()

    def count(self, phase: str, work: TokenCount) -> None:
        """Add work to a phase."""
        self.tokens[phase] = self.tokens.get(phase, TokenCount()) + work

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time inside the block to a phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add_seconds(phase, time.perf_counter() - begin)

    def add_seconds(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def rounded_seconds(self) -> dict[str, float]:
        """Return the seconds by phase to milliseconds, and as `total` the sum of these."""
        seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        return seconds | {"total": round(sum(seconds.values()), 3)}

    @property
    def total(self) -> TokenCount:
        """All phases together."""
        return sum(self.tokens.values(), TokenCount())

    def token_summary(self) -> TokenSummary:
        """Return the tokens as `summary.json` has them."""
        total = self.total
        return TokenSummary(
            prefill=total.body_tokens,
            generated=total.generated_tokens,
            total=total.body_tokens + total.generated_tokens,
            floor=total.floor_body_tokens,
            head_rows=total.head_rows,
            floor_head_rows=total.floor_head_rows,
            forwards=total.forwards,
            stored=total.stored_tokens,
            requests=total.requests,
            memo_requests=total.memo_requests,
            halvings=total.halvings,
            by_phase={
                phase: work.body_tokens + work.generated_tokens
                for phase, work in self.tokens.items()
            },
            logical=self.logical,
        )

    @property
    def logical(self) -> int:
        """What search and choice would have taken if nothing were shared, tokens."""
        return sum(w.logical_tokens for p, w in self.tokens.items() if p not in UNSEARCHED)

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "tokens": {p: asdict(w) for p, w in self.tokens.items()},
            "seconds": dict(self.seconds),
            "checked": asdict(self.checked),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        """Return the ledger of `to_dict`'s values."""
        return cls(
            {p: TokenCount(**w) for p, w in values["tokens"].items()},
            dict(values["seconds"]),
            Checked(**values.get("checked", {})),
        )
