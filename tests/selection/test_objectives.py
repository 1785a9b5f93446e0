"""Selection by several objectives: by hand, and against DEAP's trap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evoprompt.config.evolution import SelectionConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import check_config
from evoprompt.selection.base import Candidates
from evoprompt.selection.objectives import objectives_of
from evoprompt.selection.select import select_survivors

FITNESS = np.array([-1.0, -2.0, -3.0, -2.5])
TOKENS = np.array([300.0, 100.0, 10.0, 200.0])


def pool(**traits: list[float]) -> Candidates:
    cases = np.stack([FITNESS - 1, FITNESS, FITNESS + 1, FITNESS], axis=1)
    found = {name: np.array(values) for name, values in traits.items()}
    return Candidates(FITNESS, cases, TOKENS, traits=found)


def test_every_objective_is_better_where_it_is_higher():
    settings = SelectionConfig(
        objectives=["fitness", "tokens", "fluency", "robustness", "accuracy"]
    )
    known = pool(prompt_cross_entropy=[4, 3, 2, 1], accuracy=[0.5, 0.25, 0, 1])
    found = objectives_of(known, settings)
    # of the cases f - 1, f, f, f + 1 the lower quartile is f - 1 + .75
    expected = [FITNESS, -TOKENS, [-4, -3, -2, -1], FITNESS - 0.25, [0.5, 0.25, 0, 1]]
    assert found == pytest.approx(np.stack(expected, axis=1))


@pytest.mark.parametrize("method", ["nsga2", "nsga3"])
def test_who_is_best_by_a_further_objective_is_on_the_front(method):
    more = SelectionConfig(method=method, objectives=["fitness", "tokens", "accuracy"])
    known = pool(accuracy=[0.5, 0.5, 0.5, 0.9])
    # 3 is behind 1 in fitness and length, and ahead of all in accuracy
    fewer = SelectionConfig(method=method)
    assert 3 not in select_survivors(known, 3, fewer, np.random.default_rng(0))
    kept = {
        index
        for seed in range(20)
        for index in select_survivors(known, 3, more, np.random.default_rng(seed))
    }
    assert 3 in kept


def test_reference_points_do_not_care_where_an_objective_begins():
    """The front f = -k, tokens = 12 - 2 k (k = 0 to 6), and 1000 tokens more for everybody."""
    steps = np.arange(7.0)
    near = Candidates(-steps, -steps[:, None], 12 - 2 * steps)
    far = replace(near, prompt_tokens=near.prompt_tokens + 1000)
    settings = SelectionConfig(method="nsga3")
    kept = [select_survivors(c, 3, settings, np.random.default_rng(1)) for c in (near, far)]
    # both ends, and the middle of the three points (1, 0), (1/2, 1/2), (0, 1)
    assert kept == [[0, 3, 6], [0, 3, 6]]


def test_objectives_that_do_not_differ_are_no_reason_to_fail():
    same = Candidates(np.full(5, -1.0), np.full((5, 3), -1.0), np.full(5, 7.0))
    kept = select_survivors(same, 2, SelectionConfig(method="nsga3"), np.random.default_rng(0))
    assert len(set(kept)) == 2


def test_an_objective_that_is_not_measured_is_refused():
    with pytest.raises(UserError, match="accuracy"):
        objectives_of(pool(), SelectionConfig(objectives=["accuracy"]))
    search = {"survival_selection": {"method": "nsga3", "objectives": ["fitness", "fluency"]}}
    values = {"task": {"name": "inbox"}, "evolution": search}
    with pytest.raises(UserError, match=r"traits\.prompt_cross_entropy=true"):
        check_config(values, "test.yaml")
    check_config(values | {"traits": {"prompt_cross_entropy": True}}, "test.yaml")
    with pytest.raises(UserError, match="each objective once"):
        check_config(
            {"task": {"name": "inbox"}}
            | {"evolution": {"parent_selection": {"objectives": ["fitness", "fitness"]}}},
            "test.yaml",
        )
