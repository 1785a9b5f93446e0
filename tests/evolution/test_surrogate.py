"""A regression that chooses who is born: its R squared is that of fits without each birth, it finds
what makes policies fit, and finds nothing in noise.
"""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.dynamics.evolvability import Gain
from evoprompt.evolution.surrogate import LEAST_BIRTHS, _ridge, chosen, fit
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import CLONE, Birth

POOL = tuple(Demonstration(f"input {i}", "ab"[i % 2]) for i in range(12))
FOUNDER = Policy("Say it.")


def drawn(rng: np.random.Generator) -> Policy:
    places = rng.choice(len(POOL), size=rng.integers(1, 6), replace=False)
    return Policy("Say it.", tuple(POOL[i] for i in places))


def run(seed: int, noise: float, effect: float) -> tuple[dict[Policy, float], list[Gain]]:
    """40 births of one founder; demonstration 0 is worth `effect`, and noise has sd `noise`."""
    rng = np.random.default_rng(seed)
    fitness = {FOUNDER: -0.5}
    while len(fitness) < 41:
        policy = drawn(rng)
        fitness[policy] = -0.5 + effect * (POOL[0] in policy.demonstrations) + rng.normal(0, noise)
    born = [p for p in fitness if p is not FOUNDER]
    return fitness, [Gain("set", p.policy_id, (FOUNDER.policy_id,), 0.0, 8) for p in born]


def test_r_squared_is_that_of_fits_without_each_birth():
    """By brute force: centred columns, one fit without each row, which has its own mean; against
    the mean of the other births.
    """
    rng = np.random.default_rng(0)
    columns, born = rng.normal(size=(20, 6)), np.arange(20) >= 4
    columns -= columns.mean(axis=0)
    values = columns @ rng.normal(size=6) + rng.normal(size=20)
    values -= values.mean()
    errors, spread = [], []
    for i in np.flatnonzero(born):
        kept = np.arange(20) != i
        design = np.hstack([np.ones((19, 1)), columns[kept]])
        penalty = np.diag([0.0] + [3.0] * 6)
        b = np.linalg.solve(design.T @ design + penalty, design.T @ values[kept])
        errors.append(values[i] - b[0] - columns[i] @ b[1:])
        spread.append(values[i] - values[kept & born].mean())
    expected = 1 - np.sum(np.square(errors)) / np.sum(np.square(spread))
    assert _ridge(columns, values, 3.0, born)[1] == pytest.approx(expected)


def test_what_makes_policies_fit_is_found_and_chosen():
    fitness, births = run(0, noise=0.02, effect=0.2)
    found = fit(fitness, births, ("a", "b"))
    assert found is not None
    assert found.r_squared > 0.5
    proposed = [Policy("Say it.", (POOL[i], POOL[j])) for i in range(4) for j in (6, 7, 8)]
    children = [Birth("", p, ("f",), (1.0,), "set") for p in proposed]
    children.insert(0, Birth("", FOUNDER, ("f",), (1.0,), CLONE))
    assert chosen(found, children, [-0.5] * len(children), 3) == [1, 2, 3]


def test_nothing_is_found_in_noise():
    """Of 20 runs of 40 births at most two of noise have an R squared above the default bound, .1.
    Power twin: of 20 with an effect of two standard deviations, which would be .43 if the effect
    were known, at least twelve have.
    """

    def above(effect: float) -> int:
        fits = (fit(*run(seed, noise=0.1, effect=effect), ("a", "b")) for seed in range(20))
        return sum(each is not None and each.r_squared > 0.1 for each in fits)

    assert above(0.0) <= 2
    assert above(0.2) >= 12


def test_nothing_is_said_of_few_births_or_of_equal_ones():
    fitness, births = run(0, 0.1, 0.1)
    few = births[: LEAST_BIRTHS - 1]
    kept = {
        p: f
        for p, f in fitness.items()
        if p is FOUNDER or p.policy_id in {b.policy_id for b in few}
    }
    assert fit(kept, few) is None
    assert fit(dict.fromkeys(fitness, 0.0), births) is None


def test_the_better_of_two_parents_is_told_and_counts():
    """Fitness is that of the parent: the same child is worth more of a better parent."""
    rng = np.random.default_rng(1)
    founders = [Policy(f"Founder {i}.") for i in range(4)]
    fitness = {p: -float(i) for i, p in enumerate(founders)}
    births = []
    while len(births) < 24:
        policy, parent = drawn(rng), founders[len(births) % 4]
        if policy not in fitness:
            fitness[policy] = fitness[parent]
            ids = (parent.policy_id, founders[3].policy_id)
            births.append(Gain("set", policy.policy_id, ids, 0.0, 8))
    found = fit(fitness, births)
    assert found is not None
    worse, better = found.predict([Policy("New.")] * 2, [-3.0, 0.0])
    assert better > worse + 1
