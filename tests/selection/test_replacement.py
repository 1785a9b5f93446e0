"""Who takes whose place, and who is best on examples: numbers worked by hand, and a search whose
places are taken so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.evolution import SelectionConfig
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import start
from evoprompt.records import SURVIVE
from evoprompt.selection.base import Candidates
from evoprompt.selection.pareto import front_counts
from evoprompt.selection.select import select_survivors, survival_probabilities


def survivors(method: str, fitness, replaces, num: int) -> list[int]:
    values = np.array(fitness, dtype=float)
    pool = Candidates(values, values[:, None], np.zeros(len(values)), np.array(replaces))
    settings = SelectionConfig(method=method)
    kept = select_survivors(pool, num, settings, np.random.default_rng(0))
    chances = survival_probabilities(pool, num, settings, np.random.default_rng(1)).probability
    assert chances.tolist() == [float(i in kept) for i in range(len(values))]
    return kept


#: Three incumbents (0, 1, 2), two children of the first (3, 4), one of the second (5), and one
#: whose parent is not there (6).
FITNESS = [-3.0, -1.0, -2.0, -2.5, -0.5, -1.0, -4.0]
REPLACES = [0, 1, 2, 0, 0, 1, -1]


@pytest.mark.parametrize(
    ("method", "num", "kept"),
    [
        ("incumbents", 3, [0, 1, 2]),
        ("incumbents", 2, [1, 2]),
        # the best newcomers, -0.5 and -1
        ("incumbents", 5, [0, 1, 2, 4, 5]),
        ("newcomers", 4, [3, 4, 5, 6]),
        ("newcomers", 5, [1, 3, 4, 5, 6]),
        ("newcomers", 2, [4, 5]),
        # families {0, 3, 4}, {1, 5}, {2}, {6}: 4 wins the first, and in the second a tie leaves 1
        ("one_to_one", 4, [1, 2, 4, 6]),
        ("one_to_one", 3, [1, 2, 4]),
        ("one_to_one", 5, [1, 2, 4, 5, 6]),
        ("one_to_one", 1, [4]),
    ],
)
def test_places_are_taken_as_the_scheme_says(method, num, kept):
    assert survivors(method, FITNESS, REPLACES, num) == kept


@pytest.mark.parametrize("method", ["incumbents", "newcomers", "one_to_one"])
def test_where_nobody_is_new_the_fittest_stay(method):
    assert survivors(method, FITNESS, range(7), 3) == [1, 4, 5]


def test_who_is_best_nowhere_alone_is_left_out_the_least_fit_first():
    cases = np.array(
        [
            [0.0, 0.0, -9.0, -9.0],  # best on 0 and 1
            [0.0, -1.0, -1.0, -1.0],  # on 0 it ties, and is best on 3
            [-1.0, 0.0, 0.0, -2.0],  # on 1 it ties, and is best on 2
            [-5.0, -5.0, -5.0, -5.0],  # nowhere
        ]
    )
    pool = Candidates(cases.mean(axis=1), cases, np.zeros(4))
    # the first has the mean -4.5: the others are as good on both of its examples
    assert front_counts(pool).tolist() == [0, 2, 2, 0]
    twins = Candidates(np.zeros(2), np.zeros((2, 3)), np.zeros(2))
    assert front_counts(twins).tolist() == [0, 3]


def run(config_file: Path, out: Path, *overrides: str) -> list:
    """Return a run's lineage."""
    nothing = "evolution.other_operators=none"
    chosen = "evolution.operators={instruction_insert: 1, demonstration_add: 1}"
    start(load_config(config_file, [nothing, chosen, *overrides]), out)
    return EvolveFolder(out).lineage()


def test_in_a_random_search_every_child_is_a_founders(config_file: Path, tmp_path: Path):
    lineage = run(
        config_file,
        tmp_path / "run",
        "evolution.survival_selection.method=incumbents",
        "evolution.parent_selection={method: tournament, tournament_size: 1}",
    )
    founders = {e.member.birth.policy for e in lineage if e.generation == 0}
    by_id = {e.member.birth.birth_id: e.member.birth.policy for e in lineage}
    new = [e.member.birth for e in lineage if e.generation > 0 and e.member.birth.parent_ids]
    assert len(founders) == 4
    assert {by_id[b.parent_ids[0]] for b in new} <= founders
    # the founders are 4 and the places too; a fitter child is not kept
    last = max(e.generation for e in lineage)
    assert {e.member.birth.policy for e in lineage if e.selected and e.generation == last} == (
        founders
    )


def test_with_differential_matings_each_member_meets_its_own_child(
    config_file: Path, tmp_path: Path
):
    lineage = run(
        config_file,
        tmp_path / "run",
        "evolution.survival_selection.method=one_to_one",
        "evolution.mating=differential",
    )
    for _, entries in itertools.groupby(lineage, key=lambda e: e.generation):
        births = [(e.member.birth, e.member.evaluation.fitness, e.selected) for e in entries]
        if not births[0][0].parent_ids:
            continue
        own = {b.parent_ids[0]: (f, kept) for b, f, kept in births if b.operator == SURVIVE}
        new = [(b.parent_ids[0], f, kept) for b, f, kept in births if b.operator != SURVIVE]
        assert Counter(parent for parent, _, _ in new) == dict.fromkeys(own, 1)
        for parent, fitness, kept in new:
            before, stayed = own[parent]
            assert (kept, stayed) == (fitness > before, fitness <= before)
