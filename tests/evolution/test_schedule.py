"""How many examples a generation is measured on, and what selection takes off for side effects."""

from __future__ import annotations

import pytest

from evoprompt.config.evolution import ExamplesConfig
from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.evolution.schedule import examples_at, relief_at


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 16), (0.39, 16), (0.4, 32), (0.69, 32), (0.7, 64), (1.0, 64)]
)
def test_the_number_doubles_at_each_share_of_the_budget(progress: float, expected: int):
    assert examples_at(progress, ExamplesConfig(first=16), 200) == expected


def test_there_are_never_more_than_there_are():
    assert examples_at(1.0, ExamplesConfig(first=16), 40) == 40
    assert examples_at(0.0, ExamplesConfig(first=64), 40) == 40


def test_without_a_first_number_all_are_asked():
    assert examples_at(0.0, ExamplesConfig(first=None), 48) == 48


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.4), (0.2, 0.2), (0.4, 0.0), (1.0, 0.0)])
def test_what_is_given_back_falls_in_a_line(progress: float, expected: float):
    """A coefficient of .4 that is reached at .4 of the search."""
    config = SideEffectsConfig(random=1, coefficient=0.4, until=0.4)
    assert relief_at(progress, config) == pytest.approx(expected, abs=1e-12)
    assert relief_at(progress, config.model_copy(update={"until": None})) == 0.0
