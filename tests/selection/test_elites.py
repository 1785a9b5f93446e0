"""A grid of cells that keep their fittest policies: by hand, and a run whose archive is its
population.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from toys.populations import instant, whole_and_parted

from evoprompt.config.evolution import SelectionConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.archive_page import best_by_cell
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.selection.base import Candidates
from evoprompt.selection.elites import archive_of, cells_of
from evoprompt.selection.select import select_survivors, survival_probabilities
from experiments.check_price import check

CELLS = {"num_demonstrations": [1.0, 3.0], "prompt_tokens": [10.0]}
#: By policy; the places are (0, 0), (1, 0), (1, 0), (1, 1), (2, 1), (2, 1).
TRAITS = {
    "num_demonstrations": np.array([0.0, 1, 2, 2, 3, 9]),
    "prompt_tokens": np.array([5.0, 5, 9, 10, 50, 90]),
    "fitness": np.array([-4.0, -3, -2, -1, -0.5, -0.5]),
}


@pytest.mark.parametrize(
    ("num", "kept"),
    [
        # one of each cell; of the two that tie in (2, 1) the one that was there before
        (4, [0, 2, 3, 5]),
        # the fittest elites
        (2, [3, 5]),
        # the fittest others take the places that are left
        (5, [0, 2, 3, 4, 5]),
    ],
)
def test_each_cell_keeps_its_fittest(num, kept):
    traits = {n: TRAITS[n] for n in CELLS}
    replaces = np.array([0, 1, 2, 3, -1, 5])
    fitness = TRAITS["fitness"]
    pool = Candidates(fitness, fitness[:, None], traits["prompt_tokens"], replaces, traits)
    settings = SelectionConfig(method="map_elites", cells=CELLS)
    assert select_survivors(pool, num, settings, np.random.default_rng(0)) == kept
    chances = survival_probabilities(pool, num, settings, np.random.default_rng(0)).probability
    assert np.flatnonzero(chances).tolist() == kept


def test_what_an_archive_holds():
    places = cells_of(TRAITS, CELLS).tolist()
    assert places == [[0, 0], [1, 0], [1, 0], [1, 1], [2, 1], [2, 1]]
    found = archive_of(TRAITS, CELLS, least=-3.0)
    # four of 3 x 2 cells; 0 for the one that is worse than -3, and 1, 2 and 2.5
    assert (found.filled, found.coverage, found.qd_score) == (4, pytest.approx(4 / 6), 5.5)


def test_the_figure_shows_the_fittest_over_further_traits():
    three = {"a": [1.0], "b": [1.0], "c": [1.0]}
    rows = [{"a": 0, "b": 2, "c": c, "fitness": f} for c, f in ((0, -2), (5, -1), (0, -3))]
    nan = np.nan
    assert best_by_cell(rows, three) == pytest.approx(
        np.array([[nan, -1], [nan, nan]]), nan_ok=True
    )
    assert best_by_cell(rows, {"c": [1.0]}) == pytest.approx(np.array([[-2], [-1]]))


def test_a_grid_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="num_demonstrations"):
        cells_of({"prompt_tokens": np.zeros(2)}, CELLS)
    search = {"survival_selection": {"method": "map_elites", "cells": {"prompt_tokens": [5, 5]}}}
    with pytest.raises(UserError, match="bounds in ascending order"):
        check_config({"task": {"name": "inbox"}, "evolution": search}, "test.yaml")
    search = {"survival_selection": {"method": "map_elites"}, "racing": {"method": "fast"}}
    with pytest.raises(UserError, match=r"racing\.method=halving or off"):
        check_config({"task": {"name": "inbox"}, "evolution": search}, "test.yaml")


def test_the_archive_of_a_run_is_its_population_and_the_same_after_a_resume(
    task_file: Path, tmp_path: Path
):
    cells = {"num_demonstrations": [1, 2, 3], "prompt_tokens": [60, 90]}
    config = instant(
        task_file,
        {
            "population": 12,
            "survival_selection": {"method": "map_elites", "cells": cells},
            "parent_selection": {"tournament_size": 1},
            "examples": {"first": 4, "grow": []},
            "racing": {"method": "halving", "first": 2},
        },
    )
    folder, parted = whole_and_parted(config, tmp_path)
    whole = folder.path
    assert (whole / LINEAGE).read_bytes() == (parted.path / LINEAGE).read_bytes()
    residual, distance, _ = check(whole)
    assert max(residual, distance) < 1e-12

    lines = folder.generations()
    for line, (_, entries) in zip(
        lines, itertools.groupby(folder.lineage(), key=lambda e: e.generation), strict=True
    ):
        births = list(entries)
        best: dict[tuple[int, int], float] = {}
        for e in births:
            if e.selected:
                own = e.member.evaluation
                shown, tokens = own.traits["num_demonstrations"], own.traits["prompt_tokens"]
                place = int(shown), int(tokens >= 60) + int(tokens >= 90)
                best[place] = max(own.fitness, best.get(place, own.fitness))
        assert line.archive is not None
        assert line.archive.filled == len(best)
        assert generation_metrics(line)["archive/coverage"] == pytest.approx(len(best) / 12)
    # no cell that was filled is empty again, where there is room for all
    assert [x.archive.filled for x in lines] == sorted(x.archive.filled for x in lines)
    assert lines[-1].archive.filled > lines[0].archive.filled
    assert [x.archive for x in parted.generations()] == [x.archive for x in lines]
    assert re.search(r"Archive</h2>", (whole / "report.html").read_text())
