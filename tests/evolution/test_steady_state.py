"""One birth at a time: who goes, and a run that is counted in births."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from evolution.test_engine import evolve, strategy
from toys.populations import instant, whole_and_parted

from evoprompt.config.evolution import EvolutionConfig, SelectionConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.records import FOUND, SURVIVE
from experiments.check_price import check


@pytest.mark.parametrize("method", ["truncation", "newcomers"])
def test_a_birth_takes_the_place_of_the_worst(method):
    survival = SelectionConfig(method=method)
    strat = strategy(scheme="steady_state", children=1, population=3, survival_selection=survival)
    refused = 0
    for (before, _), (after, entries) in pairwise(evolve(strat, 20)):
        born = [e for e in entries if e.member.birth.operator != SURVIVE]
        assert len(born) == 1
        [birth] = born
        worst = min(m.evaluation.fitness for m in before.members)
        is_worse = birth.member.evaluation.fitness < worst
        assert birth.selected or (is_worse or birth.member.evaluation.fitness == worst)
        refused += not birth.selected
        kept = {m.birth.policy for m in after.members}
        left = [m.evaluation.fitness for m in before.members if m.birth.policy not in kept]
        assert left == ([worst] if birth.selected else [])
    # by newcomers a birth is never refused; by truncation a worse one is
    assert (refused == 0) == (method == "newcomers")


def test_generations_are_births_by_default():
    steady, plain = EvolutionConfig(scheme="steady_state"), EvolutionConfig()
    assert steady.generations * steady.children == plain.generations * plain.children
    with pytest.raises(UserError, match="one birth at a time"):
        instant(Path("none.jsonl"), {"scheme": "steady_state", "children": 4})


@pytest.mark.slow
def test_a_run_has_exact_terms_and_the_same_lineage_after_a_resume(task_file: Path, tmp_path: Path):
    config = instant(
        task_file,
        {
            **{"scheme": "steady_state", "children": 1, "generations": 6, "population": 3},
            "examples": {"first": 4, "grow": []},
            "racing": {"method": "fast", "first": 2},
        },
    )
    whole, parted = whole_and_parted(config, tmp_path)
    assert (whole.path / LINEAGE).read_bytes() == (parted.path / LINEAGE).read_bytes()
    assert max(check(whole.path)[:2]) < 1e-12
    born = [
        e.generation for e in whole.lineage() if e.member.birth.operator not in (SURVIVE, FOUND)
    ]
    assert born == [1, 2, 3, 4, 5, 6]
