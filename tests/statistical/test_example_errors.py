"""Intervals over examples cover at their rate where a generation is measured on several numbers of
the first examples.
"""

from __future__ import annotations

import numpy as np
import pytest
from toys.races import birth, on

from evoprompt.dynamics.account import example_degrees, example_errors, example_terms
from evoprompt.dynamics.cases import CaseColumns
from evoprompt.dynamics.population import Births, generations
from evoprompt.stats.significance import t_quantile

LADDER = (6, 12, 24)
TERMS = (
    "batch_shift",
    "selection_honest",
    "transmission/edit",
    "rungs/6/selection",
    "rungs/12/shift",
    "racing/selection",
    "racing/shift",
    "change",
)


def race() -> tuple[Births, Births]:
    """Three parents that survive, and six children of which two and two go on."""
    empty = {m: {"fitness": 0.0} for m in LADDER}
    parents = [birth(f"p{i}", 0, {}, "found") | on({24: {"fitness": 0.0}}, 1) for i in range(3)]
    brood = [birth(f"s{i}", 1, {f"p{i}": 1.0}, "survive") | on(empty, 3) for i in range(3)]
    for j, reached in enumerate((3, 3, 2, 2, 1, 1)):
        own = birth(f"c{j}", 1, {f"p{j // 3}": 1.0}, ("edit", "mix")[j % 2])
        brood.append(own | on(empty, reached))
    kept = ("s0", "c0", "c1")
    rows = [row | {"selected": True} for row in parents]
    rows += [row | {"selected": row["birth_id"] in kept} for row in brood]
    first, second = generations(rows)
    return first, second


def columns(births: Births, cases: np.ndarray) -> CaseColumns:
    """Cases of the births, of which the first are the parents again; shape (birth, example)."""
    assert births.rungs is not None
    return CaseColumns(cases[:3], [cases[:, :m] for m in births.rungs.examples], cases[:3, :6])


@pytest.mark.statistical
def test_intervals_over_the_first_examples_cover_at_their_rate():
    """2,000 samples of 24 examples, of which all births see six: coverage by Student's t within
    0.93 and 0.97 for each of eight terms (a true 0.95 leaves this with probability 4e-5 each).
    """
    rng = np.random.default_rng(1)
    first, second = race()
    ability = rng.normal(size=(9, 1))
    inside = dict.fromkeys(TERMS, 0)
    by_normal = halved = 0
    truth = {
        name: values.mean()
        for name, values in example_terms(
            first, second, columns(second, np.repeat(ability, 24, axis=1))
        ).items()
    }
    quantile: dict[float, float] = {}
    for _ in range(2000):
        cases = ability + rng.normal(size=(9, 24)) + rng.normal(size=24)
        terms = example_terms(first, second, columns(second, cases))
        errors, degrees = example_errors(terms, LADDER), example_degrees(terms, LADDER)
        for name in TERMS:
            free = round(degrees[name], 1)
            if free not in quantile:
                quantile[free] = t_quantile(0.975, free)
            off = abs(terms[name].mean() - truth[name])
            inside[name] += off < quantile[free] * errors[name]
            if name == "transmission/edit":
                by_normal += off < 1.96 * errors[name]
                halved += off < quantile[free] * errors[name] / 2
    assert {n: c / 2000 for n, c in inside.items() if not 0.93 < c / 2000 < 0.97} == {}
    # power: the normal quantile for six examples, and an error half as large
    assert by_normal / 2000 < 0.92
    assert halved / 2000 < 0.8
