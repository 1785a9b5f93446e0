"""The published algorithms, as configurations: each runs, draws what it names alone, and writes
where it has operators that do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.config import Config, load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.records import CLONE, FOUND, SURVIVE
from evoprompt.store.folder import SUMMARY
from evoprompt.variation.base import Need

pytestmark = pytest.mark.usefixtures("no_pages")

FOLDER = Path(__file__).parents[3] / "configs" / "algorithms"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
EXPECTED = {
    *("random_search", "random_demonstrations", "hill_climbing", "evoprompt_ga", "evoprompt_de"),
    *("promptbreeder", "opro", "ape", "capo", "gepa_like", "triple", "evoprompt"),
}


def small(path: Path) -> Config:
    """Return a configuration that runs in a second, two generations long, with a backend that
    answers at once.
    """
    return load_config(
        path,
        [
            *("model={name: instant, memo: false}", "workers.backend=toys.instant:InstantBackend"),
            *("task.fitness_examples=8", "task.validation_examples=8", "task.test_examples=8"),
            *("evolution.children=4", "evolution.generations=2", "budget.prefill_tokens=null"),
            *("writer.max_tokens=16", "tracking.enabled=false"),
        ],
    )


def test_every_algorithm_is_there():
    assert {path.stem for path in CONFIGS} == EXPECTED


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_algorithm_runs_and_makes_children_as_it_says(path: Path, tmp_path: Path):
    config = small(path)
    summary = start(config, tmp_path / "run")
    assert summary["generations"] == 2
    operators = strategy_of(config, check_task(config)[0]).operators
    lineage = EvolveFolder(tmp_path / "run").lineage()
    made = {e.member.birth.operator for e in lineage} - {FOUND, SURVIVE, CLONE}
    assert made <= set(operators)
    writing = {name for name, o in operators.items() if Need.WRITER in o.needs}
    assert bool(made & writing) == bool(writing)
    assert ("variation" in summary["tokens"]["by_phase"]) == bool(writing)


@pytest.mark.parametrize("name", ["opro", "gepa_like"])
def test_what_is_written_from_the_run_so_far_is_the_same_after_a_resume(name: str, tmp_path: Path):
    config = small(FOLDER / f"{name}.yaml")
    start(config, tmp_path / "whole")
    once = config.evolution.model_copy(update={"generations": 1})
    start(config.model_copy(update={"evolution": once}), tmp_path / "parted")
    (tmp_path / "parted" / SUMMARY).unlink()
    resume(tmp_path / "parted", ["evolution.generations=2"])
    whole, parted = ((tmp_path / run / LINEAGE).read_bytes() for run in ("whole", "parted"))
    assert whole == parted
