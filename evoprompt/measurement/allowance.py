"""How much those who write for operators may still take: one account for all of them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from evoprompt.records import TokenCount


class Allowance:
    """Counts work until that is asked for, and says whether there is room for more.

    Args:
        logical: tokens are counted as if nothing were shared, else as they are forwarded.
    """

    def __init__(self, *, logical: bool = False) -> None:
        self._logical = logical
        self._count = TokenCount()
        self._left = inf

    def allow(self, tokens: int | None) -> None:
        """From now on begin nothing once this many tokens were taken; None ends the limit."""
        self._left = inf if tokens is None else tokens

    def has_room(self, tokens: int = 1) -> bool:
        """Return whether so many tokens may still be taken."""
        return tokens <= self._left

    def add(self, work: TokenCount) -> None:
        """Count work that was done."""
        self._count += work
        self._left -= work.logical_tokens if self._logical else work.floor_body_tokens

    def take_count(self) -> TokenCount:
        """Return the work since this was asked last."""
        count, self._count = self._count, TokenCount()
        return count


class Uncharged(Allowance):
    """Of work that no budget is charged for: its tokens are told, and there is always room.

    Args:
        account: where it is told.
    """

    def __init__(self, account: Allowance) -> None:
        super().__init__()
        self._account = account

    def add(self, work: TokenCount) -> None:
        """Tell of work that was done."""
        self._account.add(replace(work, floor_body_tokens=0, logical_tokens=0))
