"""Runs whose births are steered by what the run has learned: they resume to the same lineage,
Price's terms add up, and the files, MLflow and the page say what was done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
from check_price import check

from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import GENERATIONS, LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.page import history_of, run_fitness
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.store.folder import SUMMARY
from evoprompt.tracking.dashboards import GROUPS

pytestmark = pytest.mark.usefixtures("no_pages")

RACE = (
    "workers.backend=toys.instant:InstantBackend",
    "evolution.racing.method=halving",
    "evolution.racing.first=2",
    "evolution.examples.first=4",
    "evolution.examples.grow=[0.5]",
)


def run_and_resume(config_file: Path, folder: Path, *overrides: str) -> EvolveFolder:
    """Return the folder of a run, after it was made once whole and once in two parts, the same."""
    whole, parted = folder / "whole", folder / "parted"
    start(load_config(config_file, [*RACE, *overrides]), whole)
    start(load_config(config_file, [*RACE, *overrides, "evolution.generations=2"]), parted)
    (parted / SUMMARY).unlink()
    resume(parted, ["evolution.generations=4"])
    assert (parted / LINEAGE).read_bytes() == (whole / LINEAGE).read_bytes()
    return EvolveFolder.open(whole)


def lines(folder: EvolveFolder, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder.path / name).read_text().splitlines()]


def gains_of(folder: EvolveFolder) -> list[tuple[str, float]]:
    history = history_of(folder, run_fitness(folder, folder.summary()))
    return [(g.operator, pytest.approx(g.gain)) for brood in history.gains for g in brood]


def recomputed_gains(births: list[dict]) -> list[tuple[str, float]]:
    """Of every birth by an operator, on the first rung: its fitness less its best parent's, which
    is known by the parent's survival.
    """

    def first(birth: dict) -> float:
        return birth["rungs"][0]["traits"]["fitness"]

    survived = {b["parent_ids"][0]: first(b) for b in births if b["operator"] == "survive"}
    born = [b for b in births if b["operator"] not in ("survive", "found")]
    return [(b["operator"], first(b) - max(survived[p] for p in b["parent_ids"])) for b in born]


@pytest.mark.pages
def test_steered_births_are_the_same_after_a_resume_and_the_record_says_how(
    config_file: Path, tmp_path: Path
):
    folder = run_and_resume(
        config_file,
        tmp_path,
        # the number of examples depends on the number of generations unless it does not grow
        "evolution.examples.grow=[]",
        "evolution.adaptation={method: matching, floor: 0.1}",
        "evolution.surrogate={pool: 3, least_r2: 0.0}",
        "evolution.children=10",
        # a surrogate can tell the length of a prompt, of which nearly all of this fitness is made
        "fitness.prompt_token_penalty=1",
    )
    residual, distance, _ = check(folder.path)
    assert max(residual, distance) < 1e-12
    check_rates(folder)
    check_surrogate(folder)


def check_rates(folder: EvolveFolder) -> None:
    """Rates follow the gains, and are told in the lines, in MLflow and on the page."""
    assert gains_of(folder) == recomputed_gains(lines(folder, LINEAGE))
    written = [line.get("operator_rates") for line in lines(folder, GENERATIONS)]
    assert written[0] is None
    assert all(sum(rates.values()) == pytest.approx(1) for rates in written[1:])
    assert written[-1] != written[1]
    told = [line.steering.operator_rates for line in folder.generations()]
    assert told == written
    metrics = generation_metrics(folder.generations()[-1])
    assert metrics["steering/greatest_operator_rate"] == max(written[-1].values())
    assert 1 < metrics["steering/effective_operators"] < len(written[-1])
    assert {name.rpartition("/")[0] for name in metrics} <= set(GROUPS)
    full = generation_metrics(folder.generations()[-1], "full")
    assert all(full[f"steering/rate_of_{name}"] == rate for name, rate in written[-1].items())
    assert "How operators were drawn" in (folder.path / "report.html").read_text()


def check_surrogate(folder: EvolveFolder) -> None:
    """The best of thrice as many are born once 8 births are known; the unborn are no births."""
    told = [line.steering.surrogate for line in folder.generations()]
    assert told[0] is None
    assert (told[1].r_squared, told[1].is_used, told[1].proposed) == (None, False, 10)
    used = [line for line in folder.generations()[1:] if line.steering.surrogate.is_used]
    assert [line.steering.surrogate.proposed for line in used] == [30, 30, 30]
    births = lines(folder, LINEAGE)
    for line in used:
        assert sum(b["generation"] == line.generation for b in births) == 4 + 10
        # nobody's chance to be a parent is known where more than the scheme chooses
        assert line.account.price["fitness"].reproduction.drift is None
        assert line.parent_selection is None
    assert "Children chosen by a surrogate" in (folder.path / "report.html").read_text()
    assert generation_metrics(used[0])["steering/surrogate_used"] == 1.0


@pytest.mark.slow
@pytest.mark.pages
def test_a_population_that_gains_nothing_begins_anew_and_prices_terms_add_up(
    config_file: Path, tmp_path: Path
):
    given = ("evolution.restart.patience=1", "evolution.examples.grow=[]")
    few = ("evolution.children=1", "evolution.population=3")
    folder = run_and_resume(config_file, tmp_path, *given, *few)
    residual, distance, _ = check(folder.path)
    assert max(residual, distance) < 1e-12
    births = lines(folder, LINEAGE)
    again = {b["generation"] for b in births if b["operator"] == "restart"}
    assert again
    for generation in again:
        brood = [b for b in births if b["generation"] == generation]
        assert [b["operator"] for b in brood] == ["survive", "restart", "restart"]
        assert all(b["selected"] for b in brood)
        before = [b for b in births if b["generation"] == generation - 1 and b["selected"]]
        assert brood[0]["policy_id"] == max(before, key=lambda b: b["fitness"])["policy_id"]
        known = {b["policy_id"] for b in births if b["generation"] < generation}
        assert {b["policy_id"] for b in brood} <= known
        line = folder.generations()[generation].account.price["fitness"]
        assert line.immigration != 0
    assert "was begun anew in generation" in (folder.path / "report.html").read_text()
    assert not {g + 1 for g in again} & again, "it was begun anew before its time"


@pytest.mark.pages
def test_a_run_that_is_not_steered_says_nothing_of_it(config_file: Path, tmp_path: Path):
    start(load_config(config_file, ["evolution.generations=1"]), tmp_path / "run")
    folder = EvolveFolder.open(tmp_path / "run")
    assert "operator_rates" not in lines(folder, GENERATIONS)[-1]
    assert not any("steering" in name for name in generation_metrics(folder.generations()[-1]))
    assert "How operators were drawn" not in (folder.path / "report.html").read_text()
