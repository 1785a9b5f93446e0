"""A stand-in for a model over regions: what a policy is worth follows from its demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.policy import Policy
from evoprompt.records import Example, TokenCount
from evoprompt.store.ledger import Ledger

CHANCE = 0.25
#: Two regions that ask for demonstrations of their own, and have no room for both; one that every
#: policy has, and one that none has.
REGIONS = """
  left: {task: {name: arithmetic, difficulty: 2, demonstration_pool: 12}}
  right: {task: {name: arithmetic, difficulty: 3, demonstration_pool: 12}}
  trivial: {task: {name: arithmetic, difficulty: 5, demonstration_pool: 0}, answers: shown}
  unsolvable: {task: {name: arithmetic, difficulty: 4, demonstration_pool: 0}, answers: drawn}
"""


@dataclass
class StandIn:
    """Implements `Meter`: a region's utility grows with the share of a prompt's four demonstrations
    that are its own.

    Args:
        homes: the region of each demonstration's input.
        noise: what examples differ by, at most.
        cost: tokens of a policy on an example.
        by_length: whether that is for each demonstration and what stands beside them.
    """

    homes: Mapping[str, str]
    noise: float = 0.1
    cost: int = 10
    by_length: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)  #: ids of examples, by call

    def worth(self, policy: Policy, region: str) -> float:
        """Return the mean of a policy's utilities in a region."""
        if region in ("trivial", "unsolvable"):
            return 0.85 if region == "trivial" else CHANCE
        own = sum(self.homes[d.input] == region for d in policy.demonstrations)
        return CHANCE + 0.6 * min(own, 4) / 4

    def utilities(
        self, policies: Sequence[Policy], examples: Sequence[Example], ledger: Ledger
    ) -> tuple[dict[str, Floats], TokenCount]:
        self.asked.append(tuple(e.example_id for e in examples))
        found = {
            p.policy_id: np.array([self._one(p, e.example_id) for e in examples]) for p in policies
        }
        tokens = self.logical(policies, examples)
        return found, TokenCount(body_tokens=tokens, logical_tokens=tokens)

    def _one(self, policy: Policy, example_id: str) -> float:
        luck = crc32(f"{policy.policy_id} {example_id}".encode()) / 2**31 - 1
        return self.worth(policy, example_id.partition("/")[0]) + self.noise * luck

    def logical(self, policies: Sequence[Policy], examples: Sequence[Example]) -> int:
        lengths = [self.length(policy) if self.by_length else 1 for policy in policies]
        return self.cost * sum(lengths) * len(examples)

    def fits(self, policy: Policy) -> bool:
        return True

    def length(self, policy: Policy) -> int:
        return 1 + len(policy.demonstrations)
