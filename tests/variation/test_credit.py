"""What demonstrations were worth, and the operator that goes by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Credit, Materials
from evoprompt.variation.credit import (
    LEAST_POLICIES,
    LEAST_R_SQUARED,
    PENALTIES,
    PENALTY_OF_NUMBER,
    DemonstrationAddBest,
    demonstration_credit,
)

POOL = tuple(Demonstration(f"text {i}", "x") for i in range(20))


def scored(seed: int, spread: float, num: int = 80) -> tuple[list[Policy], np.ndarray, np.ndarray]:
    """Return different policies of 1 to 4 demonstrations and 2 instructions, their fitness with
    noise of 1, and the worth of each of the pool. The number itself is worth something too.
    """
    rng = np.random.default_rng(seed)
    worth = rng.normal(0, spread, len(POOL))
    found: dict[Policy, float] = {}
    while len(found) < num:
        places = rng.choice(len(POOL), size=int(rng.integers(1, 5)), replace=False)
        policy = Policy("ab"[len(found) % 2], tuple(POOL[i] for i in places))
        value = worth[places].sum() + 0.5 * len(places) + len(found) % 2 + rng.normal()
        found.setdefault(policy, value)
    return list(found), np.array(list(found.values())), worth


def test_gains_by_hand():
    # Six policies each show one of two demonstrations, with fitness 2 and 0. Every one shows one,
    # so the number says nothing, and of the instructions each is one policy's. Ridge draws the
    # effects 1 and -1 towards 0 by 6 / (6 + penalty); without noise the least penalty, 1, is best.
    policies = [Policy(f"{i}", POOL[i % 2 : i % 2 + 1]) for i in range(12)]
    credit = demonstration_credit(policies, [2.0, 0.0] * 6)
    assert credit.gains == pytest.approx({POOL[0]: 6 / 7, POOL[1]: -6 / 7})
    assert credit.r_squared > 0.9


def test_r_squared_is_that_of_models_fitted_without_each_policy():
    """The slow twin: every policy is left out in turn, with and without demonstrations."""
    policies, fitness, _ = scored(1, 0.7, num=30)
    shown = list(dict.fromkeys(d for p in policies for d in p.demonstrations))
    scale = [
        [1.0, len(p.demonstrations), p.instruction == "a", p.instruction == "b"] for p in policies
    ]
    presence = [[d in p.demonstrations for d in shown] for p in policies]
    fixed = np.array(scale, dtype=float)
    fixed[:, 1] -= fixed[:, 1].mean()

    def error(columns: np.ndarray, penalty: float) -> float:
        ridge = np.diag([0.0, PENALTY_OF_NUMBER, *[penalty] * (columns.shape[1] - 2)])
        total = 0.0
        for out in range(len(fitness)):
            kept = np.arange(len(fitness)) != out
            x, y = columns[kept], fitness[kept]
            effects = np.linalg.solve(x.T @ x + ridge, x.T @ y)
            total += (fitness[out] - columns[out] @ effects) ** 2
        return total

    without = min(error(fixed, penalty) for penalty in PENALTIES)
    both = np.hstack([fixed, np.array(presence, dtype=float)])
    expected = 1 - min(error(both, penalty) for penalty in PENALTIES) / without
    assert demonstration_credit(policies, fitness).r_squared == pytest.approx(expected)


def test_what_is_worth_something_is_found_and_what_is_not_is_known_to_be_nothing():
    found = []
    for seed in range(20):
        policies, fitness, worth = scored(seed, spread=1.0)
        credit = demonstration_credit(policies, fitness)
        gains = [credit.gains.get(d, 0.0) for d in POOL]
        found.append((credit.r_squared, np.corrcoef(gains, worth)[0, 1]))
    assert all(r > LEAST_R_SQUARED for r, _ in found)
    assert np.mean([correlation for _, correlation in found]) > 0.7
    # Power twin: where the number alone counts, at most one of twenty passes for something.
    nothing = [demonstration_credit(*scored(seed, spread=0.0)[:2]).r_squared for seed in range(20)]
    assert sum(r > LEAST_R_SQUARED for r in nothing) <= 1


def test_too_little_tells_nothing():
    policies, fitness, _ = scored(0, 1.0)
    few = [*policies[: LEAST_POLICIES - 1], Policy("c")]
    assert demonstration_credit(few, range(len(few))) == Credit({}, 0.0)
    assert demonstration_credit(few * 9, [*range(len(few))] * 9) == Credit({}, 0.0)
    assert demonstration_credit(policies, np.zeros(len(policies))) == Credit({}, 0.0)
    assert demonstration_credit([], []) == Credit({}, 0.0)
    assert demonstration_credit(policies[::-1], fitness[::-1]).r_squared == pytest.approx(
        demonstration_credit(policies, fitness).r_squared
    )


def drawn(credit: Credit | None, shown: int = 1, seeds: int = 600) -> Counter[Demonstration | None]:
    """Count which of three others is added to a policy."""
    materials = Materials(demonstrations=POOL[:4], max_demonstrations=3, credit=credit)
    parent = Policy(demonstrations=POOL[3 : 3 + shown])
    counts: Counter[Demonstration | None] = Counter()
    for seed in range(seeds):
        child = DemonstrationAddBest().apply((parent,), materials, np.random.default_rng(seed))
        new = set(child.demonstrations) - set(parent.demonstrations) if child else {None}
        assert len(new) == 1
        counts.update(new)
    return counts


def test_the_chance_of_one_is_by_softmax_of_its_credit():
    # Gains of 1 and -1 have a standard deviation of 1: e, 1/e and, unknown, 1, over their sum 4.086
    counts = drawn(Credit({POOL[0]: 1.0, POOL[1]: -1.0}, r_squared=0.2))
    expected = {POOL[0]: 0.6652, POOL[1]: 0.0900, POOL[2]: 0.2447}
    for demonstration, p in expected.items():
        # five standard deviations of Binomial(600, p) are missed with probability 6e-7
        assert abs(counts[demonstration] - 600 * p) < 5 * np.sqrt(600 * p * (1 - p))


@pytest.mark.parametrize(
    "credit",
    [
        None,
        Credit({POOL[0]: 1.0, POOL[1]: -1.0}, LEAST_R_SQUARED),
        Credit({POOL[0]: 1.0, POOL[1]: 1.0}, 0.5),
        Credit({}, 0.5),
    ],
    ids=["unknown", "weak", "all alike", "nothing"],
)
def test_without_credit_that_tells_something_nothing_is_added(credit):
    assert set(drawn(credit, seeds=20)) == {None}


def test_a_full_prompt_gets_no_more():
    credit = Credit({POOL[0]: 1.0, POOL[1]: -1.0}, r_squared=0.2)
    materials = Materials(demonstrations=POOL, max_demonstrations=3, credit=credit)
    for other in (materials, replace(materials, demonstrations=POOL[:3], max_demonstrations=9)):
        assert (
            DemonstrationAddBest().apply(
                (Policy(demonstrations=POOL[:3]),), other, np.random.default_rng(0)
            )
            is None
        )
