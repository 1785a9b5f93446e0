"""The contract of selection schemes over the package's, and broken ones that it must catch.

Chances are held against 400 draws with fixed seeds, five standard errors: a false alarm in about
50,000 runs of all of them.
"""

from __future__ import annotations

import random

import pytest

from evoprompt.config.sections import SelectionConfig
from evoprompt.selection.base import SimulatedScheme
from evoprompt.selection.schemes import SCHEMES, Tournament, Truncation
from evoprompt.testing.selection import check_scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_of_the_package_holds_the_contract(name):
    check_scheme(SCHEMES[name]())


def test_temperatures_hold_it_too():
    check_scheme(SCHEMES["sus"](), SelectionConfig(method="sus", weights="boltzmann"))


class WrongChances(Tournament):
    """Says the chances of another tournament."""

    def parent_chances(self, candidates, num, settings, rng):
        other = SelectionConfig(tournament_size=5)
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


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (WrongChances, "stated chance"),
        (Twice, "not different"),
        (Changes, "was changed"),
        (Short, "slots were filled"),
    ],
)
def test_a_broken_scheme_is_caught_for_what_is_wrong_with_it(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_scheme(broken())
