"""Runs whose births are measured on more and more examples: Price's terms add up, an independent
reckoning of the files says the same, and the folder alone gives them again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
from check_price import check

from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.page import history_of, run_fitness
from evoprompt.jobs.evolve.session import start

pytestmark = pytest.mark.usefixtures("no_pages")

#: The second and third set of examples are twice as many; a brood begins with two.
RACE = (
    "evolution.racing.method=halving",
    "evolution.racing.first=2",
    "evolution.examples.first=4",
    "evolution.examples.grow=[0.5]",
)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["plus", "comma"])
def test_the_terms_of_a_race_add_up_and_are_those_of_its_files(
    scheme: str, config_file: Path, tmp_path: Path
):
    run = tmp_path / "run"
    start(load_config(config_file, [*RACE, f"evolution.scheme={scheme}"]), run)
    residual, distance, generations = check(run)
    assert residual < 1e-12
    assert distance < 1e-12
    assert generations == 4
    folder = EvolveFolder.open(run)
    lines = folder.generations()
    ladders = [list(line.account.price["fitness"].rungs) for line in lines[1:]]
    assert ["2", "4"] in ladders
    assert ladders[-1][-1] == "8"
    history = history_of(folder, run_fitness(folder, folder.summary()))
    for line, again in zip(lines, history.lines, strict=True):
        for trait, account in line.account.price.items():
            told, found = account.terms(), again.price[trait].terms()
            assert found == pytest.approx(told, abs=1e-12)
    assert history.summary()["price"]["fitness"]["standard_error"]["racing/selection"] > 0


@pytest.mark.slow
def test_the_reckoning_sees_a_term_that_is_wrong(config_file: Path, tmp_path: Path):
    """Power twin: one recorded term is changed by 1e-6."""
    run = tmp_path / "run"
    start(load_config(config_file, [*RACE, "evolution.generations=2"]), run)
    lines = [json.loads(line) for line in (run / "generations.jsonl").open(encoding="utf-8")]
    lines[1]["price"]["fitness"]["rungs"]["2"]["selection"] += 1e-6
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "generations.jsonl").write_text(text, encoding="utf-8")
    assert check(run)[1] == pytest.approx(1e-6, rel=1e-3)
