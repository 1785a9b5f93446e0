"""What operators are told of what was scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evoprompt.config.evolution import EvolutionConfig
from evoprompt.evolution.engine import Strategy
from evoprompt.evolution.knowledge import informed
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.variation.catalog import OPERATORS
from evoprompt.variation.credit import demonstration_credit

POOL = tuple(Demonstration(f"{i}", "x") for i in range(6))
POLICIES = [Policy(str(i), POOL[i % 6 : i % 6 + 1]) for i in range(18)]
FITNESS = dict(zip(POLICIES, np.sin(range(18)).tolist(), strict=True))


def strategy(*names: str) -> Strategy:
    drawn = {o.name: o for o, _ in OPERATORS if o.name in names}
    materials = Materials(demonstrations=POOL)
    return Strategy(EvolutionConfig(), drawn, dict.fromkeys(drawn, 1.0), materials)


def test_credit_is_of_all_that_was_scored_in_whatever_order():
    asked = strategy("demonstration_add", "demonstration_add_best")
    told = informed(asked, lambda: FITNESS)
    order = sorted(POLICIES, key=lambda p: p.policy_id)
    assert told.materials.credit == demonstration_credit(order, [FITNESS[p] for p in order])
    assert told.materials.credit.gains
    assert informed(asked, lambda: dict(reversed(FITNESS.items()))) == told
    assert replace(told, materials=asked.materials) == asked


def test_nothing_is_asked_where_nothing_is_needed():
    plain = strategy("demonstration_add")
    assert informed(plain, lambda: 1 / 0) is plain
