"""Matings of differential evolution, and the chances that they give."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from evoprompt.errors import UserError
from evoprompt.evolution.differential import differential_chances, differential_matings
from evoprompt.records import Mating

FITNESS = np.array([-3.0, -1.0, -2.0, -1.0])


def matings(counts, fitness=FITNESS, seed=0):
    named = [(f"op{count}", count) for count in counts]
    return differential_matings(fitness, named, np.random.default_rng(seed))


def test_each_member_is_the_old_one_in_turn_and_the_best_comes_last():
    for seed in range(50):
        found = matings([4] * 6, seed=seed)
        assert [m.parents[0] for m in found] == [0, 1, 2, 3, 0, 1]
        for mating in found:
            old, one, other, best = mating.parents
            assert len({old, one, other}) == 3
            assert best == 1  # of two that tie the first
    assert {m.operator for m in found} == {"op4"}


def test_an_operator_takes_as_many_as_it_needs():
    assert [len(m.parents) for m in matings([1, 2, 3, 4])] == [1, 2, 3, 4]
    with pytest.raises(UserError, match="'op5' takes 5 parents.*gives 4"):
        matings([5])


def test_few_members_are_taken_more_than_once():
    assert matings([4], np.array([-1.0])) == (Mating((0, 0, 0, 0), "op4"),)
    assert matings([4, 4], np.array([-2.0, -1.0]))[0].parents == (0, 1, 1, 1)


def test_chances_are_the_shares_of_many_draws():
    counts = [4, 4, 2, 1, 3]
    said = differential_chances(FITNESS, counts)
    drawn = Counter()
    for seed in range(4000):
        for mating in matings(counts, seed=seed):
            drawn.update(mating.parents)
    found = np.array([drawn[i] for i in range(4)]) / (4000 * 14)
    # By hand: old ones 0, 1, 2, 3, 0; two others of 0, 1 and 0, one of 2, none of 3; the best, 1,
    # of the two with four. A third of each "other" goes to everybody else:
    # 0: 2 + (2 + 1) / 3, 1: 1 + (2 + 1 + 2) / 3 + 2, 2: 1 + (2 + 2 + 2) / 3, 3: 1 + 7 / 3
    assert said.probability == pytest.approx(np.array([3, 14 / 3, 3, 10 / 3]) / 14)
    assert said.num == 14
    # the SE of a share is at most 0.002
    assert found == pytest.approx(said.probability, abs=0.01)
