"""What policies are worth on examples: the probability of the right choice among the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.choices import choice_log_probabilities
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import logical_tokens
from evoprompt.policy import Policy
from evoprompt.records import Example, TokenCount
from evoprompt.store.ledger import Ledger


class Meter(Protocol):
    """Measures policies. A utility is a number from 0 to 1 for each example."""

    def utilities(
        self, policies: Sequence[Policy], examples: Sequence[Example], ledger: Ledger
    ) -> tuple[dict[str, Floats], TokenCount]:
        """Return the utilities of policies that all differ, by policy id, and what they cost."""

    def logical(self, policies: Sequence[Policy], examples: Sequence[Example]) -> int:
        """Return the tokens that measuring takes where nothing is shared."""

    def fits(self, policy: Policy) -> bool:
        """Return whether a policy's prompt can be measured."""

    def length(self, policy: Policy) -> int:
        """Return how many tokens a policy's prompt has before the input."""


class ModelMeter:
    """Measures with a model. Implements `Meter`.

    Args:
        measurer: measures likelihoods.
        longest: examples whose prompts show whether a policy's fit the model's window.
    """

    def __init__(self, measurer: Measurer, longest: Sequence[Example]) -> None:
        self._measurer = measurer
        self._longest = longest

    def utilities(
        self, policies: Sequence[Policy], examples: Sequence[Example], ledger: Ledger
    ) -> tuple[dict[str, Floats], TokenCount]:
        """As `Meter`."""
        found = self._measurer.measure(policies, examples, lambda _: None, ledger.timed)
        values, total = {}, TokenCount()
        for key, (scores, count) in found.items():
            logs = scores.of_gold(choice_log_probabilities(scores))[0]
            values[key] = np.asarray(np.exp(logs), dtype=np.float64)
            total += count
        return values, total

    def logical(self, policies: Sequence[Policy], examples: Sequence[Example]) -> int:
        """As `Meter`."""
        return sum(logical_tokens(u.asked) for u in self._measurer.prepare(policies, examples))

    def fits(self, policy: Policy) -> bool:
        """As `Meter`."""
        return self._measurer.fits(policy, self._longest)

    def length(self, policy: Policy) -> int:
        """As `Meter`."""
        return self._measurer.prompt_tokens(policy)


def longest_of(splits: Sequence[Sequence[Example]], num: int = 3) -> tuple[Example, ...]:
    """Return the examples of each split whose input and choices have the most characters."""

    def size(example: Example) -> int:
        return len(example.input) + max(map(len, example.candidates))

    return tuple(e for split in splits for e in sorted(split, key=size)[-num:])
