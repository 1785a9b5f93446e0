"""The contract of selection schemes over the package's, and broken ones that it must catch.

Seeds are fixed; `evoprompt.testing.selection` says how rare a false alarm is with fresh ones.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, SimulatedScheme, draw_survivors
from evoprompt.selection.schemes import SCHEMES, Tournament, Truncation
from evoprompt.testing.selection import check_order_alone, check_scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_of_the_package_holds_the_contract(name):
    check_scheme(SCHEMES[name]())


def test_temperatures_hold_it_too():
    check_scheme(SCHEMES["sus"](), SelectionConfig(method="sus", weights="boltzmann"))


@given(
    st.lists(st.floats(-50, 0), min_size=1, max_size=8), st.sampled_from(list(SCHEMES)), st.data()
)
def test_survivors_are_different_indices_in_order_for_any_fitness(fitness, name, data):
    num = data.draw(st.integers(1, len(fitness)))
    values = np.array(fitness)
    none = np.zeros(len(values))
    pool = Candidates(values, values[:, None], none, traits={"num_demonstrations": none})
    chosen = draw_survivors(SCHEMES[name](), pool, num, SelectionConfig(), np.random.default_rng(0))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == num
    assert set(chosen) <= set(range(len(fitness)))


@pytest.mark.parametrize("name", ["tournament", "truncation", "sus"])
def test_a_scheme_of_ranks_looks_at_the_order_of_fitness_alone(name):
    check_order_alone(SCHEMES[name](), SelectionConfig())


def test_power_twin_temperatures_look_at_more_than_the_order():
    with pytest.raises(AssertionError, match="of the same order"):
        check_order_alone(SCHEMES["sus"](), SelectionConfig(weights="boltzmann"))


class WrongChances(Tournament):
    """Says the chances of another tournament."""

    def parent_chances(self, candidates, num, settings, rng):
        other = SelectionConfig(tournament_size=3)
        return super().parent_chances(candidates, num, other, rng)


class Twice(SimulatedScheme):
    """Claims to choose a set, and gives the same candidate again and again."""

    chooses_set = True

    def draw(self, candidates, num, settings):
        return [random.randrange(len(candidates.fitness))] * num


class Changes(Truncation):
    """Changes what it is given."""

    def draw(self, candidates, num, settings):
        candidates.fitness[0] += 1
        return super().draw(candidates, num, settings)


class Short(Tournament):
    """Leaves a slot empty."""

    def draw(self, candidates, num, settings):
        return super().draw(candidates, num, settings)[: max(1, num - 1)]


class ClaimsIndependence(Truncation):
    """Fills its slots by a set, and says that they are independent."""

    def parent_chances(self, candidates, num, settings, rng):
        said = super().parent_chances(candidates, num, settings, rng)
        return replace(said, filling="independent")


class ClaimsSpacing(Tournament):
    """Fills its slots independently, and says that they are spaced."""

    def parent_chances(self, candidates, num, settings, rng):
        said = super().parent_chances(candidates, num, settings, rng)
        return replace(said, filling="spaced")


class ClaimsSurvival(Tournament):
    """Says the chances of survivors that may come twice."""

    def survival_chances(self, candidates, num, settings, rng):
        said = super().survival_chances(candidates, num, settings, rng)
        return replace(
            said, probability=num * self.parent_chances(candidates, num, settings, rng).probability
        )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (WrongChances, "stated chance"),
        (Twice, "not different"),
        (Changes, "was changed"),
        (Short, "slots were filled"),
        (ClaimsIndependence, "not independent"),
        (ClaimsSpacing, "not spaced"),
        (ClaimsSurvival, "stated chance"),
    ],
)
def test_a_broken_scheme_is_caught_for_what_is_wrong_with_it(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_scheme(broken())
