"""Of a very long run few births are shown: those of some generations, and all that led to the
champion; sums are over all.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.instant import SMALL

from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import generations
from evoprompt.jobs.evolve import page, shown
from evoprompt.jobs.evolve.ancestry import ancestry, operator_effects
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.session import conduct
from evoprompt.jobs.evolve.shown import WHOLE, shown_of, spread_births
from evoprompt.jobs.evolve.tracked import ending_of

SETTINGS = (
    *SMALL,
    "evolution.generations=40",
    "evolution.restart.patience=9",
    "fitness.calibration=batch",
)


def birth(generation: int, name: str, *parents: str, fitness: float = 0.0):
    return {
        "generation": generation,
        "birth_id": name,
        "policy_id": name.upper(),
        "parent_ids": list(parents),
        "shares": [1 / len(parents) for _ in parents],
        "operator": "edit" if parents else "found",
        "fitness": fitness,
        "traits": {"fitness": fitness},
    }


#: d comes of c (the fitter) and b, c of a.
SMALL = [
    birth(0, "a", fitness=1.0),
    birth(0, "x", fitness=2.0),
    birth(1, "b", "x", fitness=1.0),
    birth(1, "c", "a", fitness=3.0),
    birth(2, "d", "b", "c", fitness=4.0),
    birth(2, "y", "b"),
    birth(3, "e", "d"),
    birth(3, "z", "y"),
]


def test_a_chosen_generation_has_the_one_before_it_and_the_champion_its_forebears():
    names = [b["birth_id"] for b in spread_births(SMALL, frozenset({3}), "D")]
    assert names == ["a", "b", "c", "d", "y", "e", "z"]  # without x, a parent of nobody followed
    assert [b["birth_id"] for b in spread_births(SMALL, frozenset({3}), None)] == [
        *("d", "y"),
        *("e", "z"),
    ]


@st.composite
def lineages(draw: st.DrawFn):
    rows, before = [], []
    for generation in range(draw(st.integers(1, 9))):
        now = []
        for i in range(draw(st.integers(1, 4))):
            parents = (
                draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
            )
            fitness = draw(st.integers(0, 3))
            now.append(f"{generation}-{i}")
            rows.append(birth(generation, now[-1], *parents, fitness=float(fitness)))
        before = now
    return rows


@given(lineages(), st.frozensets(st.integers(0, 8)), st.randoms())
def test_what_is_shown_is_of_the_lineage_and_has_the_whole_descent(rows, chosen, random):
    champion = random.choice(rows)["policy_id"]
    found = spread_births(rows, chosen, champion)
    assert [s.birth for s in ancestry(found, champion)] == [
        s.birth for s in ancestry(rows, champion)
    ]
    assert ancestry(found, champion)[-1].gain == ancestry(rows, champion)[-1].gain
    ids = {b["birth_id"] for b in found}
    assert len(ids) == len(found)
    assert [b["generation"] for b in found] == sorted(b["generation"] for b in found)
    for row in rows:  # the slow twin: what is of a chosen generation, or comes before it
        if row["generation"] in chosen or row["generation"] + 1 in chosen:
            assert row["birth_id"] in ids
    for operator, gains in operator_effects(found).items():  # no gain that is not one of all
        known = operator_effects(rows)[operator]
        assert all(gains.count(g) <= known.count(g) for g in gains)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EvolveFolder:
    place = tmp_path_factory.mktemp("shown")
    (place / "long.yaml").write_text("task: {name: inbox}")
    return conduct(load_config(place / "long.yaml", SETTINGS), place / "run", show=False)


def test_sums_are_over_all_generations_however_few_are_kept(run: EvolveFolder):
    whole, few = History(), History(3)
    for births in run.births():
        whole.add(births)
        few.add(births)
    assert few.summary() == whole.summary()
    assert few.num_generations == len(whole.lines) == 41
    assert few.growth == whole.growth
    assert few.restarts == whole.restarts
    assert few.restarts  # there is something to tell
    sizes = [s for line in whole.lines if (s := line.diversity["effective_size"])]
    assert few.effective_size == whole.effective_size == pytest.approx(np.mean(sizes), abs=1e-12)
    numbers = [line.generation for line in few.lines]
    assert numbers == [0, 8, 16, 24, 32, 40]  # evenly spread, and the last
    assert not few.gains
    assert len(whole.gains) == 40
    rows = [row for row in run.lines(LINEAGE) if row["operator"] != "survive"]
    assert few.num_births == len(rows)


def test_restarts_and_births_are_those_of_the_lines(run: EvolveFolder):
    history = History(2)
    for births in generations(run.committed(LINEAGE)):
        history.add(births)
    told = {row["generation"] for row in run.lines(LINEAGE) if row["operator"] == "restart"}
    assert history.restarts == sorted(told)


def test_a_long_run_is_shown_by_some_of_its_generations(run, tmp_path: Path, monkeypatch):
    whole = (run.path / "report.html").read_text()
    dynamics = json.loads((run.path / "dynamics.json").read_text())
    monkeypatch.setattr(shown, "WHOLE", 20)
    monkeypatch.setattr(page, "WHOLE", 20)
    found = shown_of(run, run.summary().champion.policy_id)
    assert found.num_generations == 41
    assert not found.is_whole
    assert [line.generation for line in found.lines] == [0, 4, 9, 13, 18, 22, 27, 31, 36, 40]
    text = page.write_page(run).read_text()
    assert "Of 41 generations, sums and tables are over all" in text
    assert "Of 41 generations" not in whole
    assert "Shown are" in text
    short = json.loads((run.path / "dynamics.json").read_text())
    for name in ("operators", "coalescence", "drift", "gradients", "reward"):
        assert short[name] == dynamics[name]
    for trait, total in dynamics["price"].items():
        own = {k: v for k, v in total.items() if k not in ("standard_error", "degrees")}
        assert short["price"][trait] == own
    ending = ending_of(run, "full")
    assert ending is not None
    assert all(make() for make in ending.pages.values())
    columns = ending.tables["population.json"]()
    assert set(columns["generation"]) == {b["generation"] for b in found.lineage}


def test_a_short_run_is_shown_whole(run: EvolveFolder):
    found = shown_of(run, None)
    assert found.is_whole
    assert found.num_generations <= WHOLE
    assert len(found.lineage) == len(run.lines(LINEAGE))
    assert [line.generation for line in found.lines] == list(range(41))
