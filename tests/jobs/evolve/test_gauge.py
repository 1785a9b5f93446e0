"""Births that are measured on more and more examples, within a budget of either kind."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest

from evoprompt.config.evolution import RacingConfig
from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.likelihood import LabelNormalized
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import GENERATIONS, LINEAGE, MEASUREMENTS, EvolveFolder
from evoprompt.jobs.evolve.gauge import Gauge
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.policy import Policy
from evoprompt.records import LabelScores
from evoprompt.store.folder import SUMMARY

pytestmark = pytest.mark.usefixtures("no_pages")

RACED = [
    "task.fitness_examples=16",
    "evolution.racing={method: halving, first: 4}",
    "evolution.examples={first: 8, grow: [0.5]}",
    "evolution.generations=5",
    "fitness.calibration=auto",
]


def lines(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def made(shared_config: Path) -> Path:
    start(load_config(shared_config, RACED), shared_config.with_name("raced"))
    return shared_config.with_name("raced")


@pytest.fixture
def raced(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "raced")


@pytest.mark.slow
def test_the_better_half_goes_on_and_the_number_grows(raced: Path):
    births = lines(raced, LINEAGE)
    for generation in range(6):
        rows = [b for b in births if b["generation"] == generation]
        # it grows when half of five generations are behind
        n = 8 if generation <= 3 else 16
        children = [b for b in rows if b["operator"] not in ("survive", "clone")]
        numbers = [4, 8, 16][: 2 + (n == 16)]
        alive = len(children)
        for number in numbers[1:]:
            reached = sum(b["examples"] >= number for b in children)
            assert reached <= -(-alive // 2)
            alive = reached
        assert all(b["examples"] == n for b in rows if b["selected"])
        for birth in rows:
            assert [r["examples"] for r in birth["rungs"]] == [
                m for m in numbers if m <= birth["examples"]
            ]
            assert birth["rungs"][-1]["traits"] == birth["traits"]


def test_no_example_is_measured_twice_and_prices_parts_add_up(raced: Path):
    asked = [(m["policy_id"], e) for m in lines(raced, MEASUREMENTS) for e in m["example_ids"]]
    assert len(asked) == len(set(asked))
    summary = json.loads((raced / SUMMARY).read_text())
    assert summary["price_residual_max"] < 1e-12
    # all policies were measured on the same first examples
    order = max((s.example_ids for s in EvolveFolder.open(raced).measurements().values()), key=len)
    for scores in EvolveFolder.open(raced).measurements().values():
        assert scores.example_ids == order[: len(scores.example_ids)]


@pytest.mark.slow
def test_a_raced_run_goes_on_as_if_it_had_not_stopped(
    config_file: Path, tmp_path: Path, raced: Path
):
    short = [s if "generations" not in s else "evolution.generations=2" for s in RACED]
    # the number of examples follows from the generations, which are given up to now
    short.append("evolution.examples={first: 8, grow: [0.9]}")
    long = [*RACED, "evolution.examples={first: 8, grow: [0.9]}"]
    start(load_config(config_file, long), tmp_path / "whole")
    start(load_config(config_file, short), tmp_path / "begun")
    (tmp_path / "begun" / SUMMARY).unlink()
    resume(tmp_path / "begun", ["evolution.generations=5"])
    whole, begun = (tmp_path / n / LINEAGE for n in ("whole", "begun"))
    assert begun.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("racing", ["off", "halving"])
def test_a_budget_in_logical_tokens_is_kept(config_file: Path, tmp_path: Path, racing: str):
    given = [*RACED, "evolution.generations=50", f"evolution.racing.method={racing}"]
    limit = 24_000
    start(load_config(config_file, [*given, f"budget.logical_tokens={limit}"]), tmp_path / "run")
    tokens = json.loads((tmp_path / "run" / SUMMARY).read_text())["tokens"]
    assert limit / 3 < tokens["logical"] <= limit
    assert len(lines(tmp_path / "run", GENERATIONS)) > 2
    # what was measured, counted anew: the tiny tokenizer has one token a byte
    assert tokens["logical"] > tokens["floor"] / 2


def test_a_budget_is_of_one_kind(config_file: Path):
    both = ["budget.logical_tokens=9000", "budget.prefill_tokens=9000"]
    with pytest.raises(UserError, match="give either"):
        load_config(config_file, both)


def scores_of(num: int, choices: int, begin: int = 0) -> LabelScores:
    shape = (1, num, choices)
    return LabelScores(
        ("p",),
        tuple(f"e{begin + i}" for i in range(num)),
        np.zeros(num, dtype=np.int64),
        np.arange(num * choices, dtype=float).reshape(shape),
        np.ones(shape, dtype=np.int64),
        np.ones(shape, dtype=np.int64),
        np.zeros(shape, dtype=bool),
    )


def test_scores_on_more_examples_are_joined_and_cut():
    joined = scores_of(2, 2).joined(scores_of(3, 3, begin=2))
    assert joined.example_ids == ("e0", "e1", "e2", "e3", "e4")
    assert joined.log_likelihood.shape == (1, 5, 3)
    # an example of two candidates has no third
    assert joined.present[0].sum(axis=1).tolist() == [2, 2, 3, 3, 3]
    assert joined.log_likelihood[0, 0, 2] == -np.inf
    first = joined.first(2)
    assert first.example_ids == ("e0", "e1")
    assert (first.log_likelihood[..., :2] == scores_of(2, 2).log_likelihood).all()
    assert joined.first(9) is joined


def test_a_search_ends_where_the_best_gains_nothing_more(config_file: Path, tmp_path: Path):
    given = [*RACED, "evolution.generations=40", "evolution.examples.grow=[]"]
    patient = [*given, "evolution.stop={patience: 2, smallest_gain: 1000}"]
    start(load_config(config_file, patient), tmp_path / "run")
    # no gain can be shown to be 1,000 nats, so it ends as soon as two generations have passed
    assert len(lines(tmp_path / "run", GENERATIONS)) == 3
    before = (tmp_path / "run" / LINEAGE).read_bytes()
    (tmp_path / "run" / SUMMARY).unlink()
    resume(tmp_path / "run")
    assert (tmp_path / "run" / LINEAGE).read_bytes() == before


SETS = [*RACED, "task.starting_demonstrations=[0, 2]", "task.starting_sets=2"]


def test_a_run_tells_what_a_search_could_win_by_its_founders(config_file: Path, tmp_path: Path):
    start(load_config(config_file, SETS), tmp_path / "run")
    found = json.loads((tmp_path / "run" / SUMMARY).read_text())["headroom"]
    births = [b for b in lines(tmp_path / "run", LINEAGE) if b["generation"] == 0]
    first = {b["policy_id"]: b["rungs"][0]["traits"]["fitness"] for b in births}
    shown = {b["policy_id"] for b in births if b["policy"].get("demonstrations")}
    # on the 4 examples that all founders met, without what the prior takes off on each
    assert found["gain"]["num"] == 4
    assert found["best_of_sets"] == pytest.approx(max(first[p] for p in shown), abs=1e-6)
    others = max(f for p, f in first.items() if p not in shown)
    handicap = FitnessConfig().demonstrations_prior / 4
    assert found["calibrated"] == pytest.approx(others + handicap, abs=1e-6)


@pytest.mark.slow
def test_what_side_effects_take_is_not_in_what_a_search_could_win(
    config_file: Path, tmp_path: Path
):
    found = []
    for name, coefficient in (("without", 0), ("with", 5)):
        section = f"side_effects={{random: 2, examples: 4, coefficient: {coefficient}}}"
        start(load_config(config_file, [*SETS, section]), tmp_path / name)
        summary = json.loads((tmp_path / name / SUMMARY).read_text())
        found.append([summary["headroom"][key] for key in ("best_of_sets", "optimism")])
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    births = [b for b in lines(tmp_path / "with", LINEAGE) if b["generation"] == 0]
    shown = [b["traits"]["side_effects"] for b in births if b["policy"].get("demonstrations")]
    assert max(shown) > 0.5, "a set is penalized"


@pytest.mark.slow
def test_a_search_ends_at_its_founders_where_they_show_little_to_win(
    config_file: Path, tmp_path: Path
):
    hopeless = [*SETS, "evolution.stop={headroom: true, smallest_gain: 1000}"]
    start(load_config(config_file, hopeless), tmp_path / "run")
    assert len(lines(tmp_path / "run", GENERATIONS)) == 1
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert summary["headroom"]["verdict"] == "little to win"
    # power: where it is not asked for, the same verdict does not end it
    start(
        load_config(config_file, [*hopeless, "evolution.stop.headroom=false"]), tmp_path / "other"
    )
    assert len(lines(tmp_path / "other", GENERATIONS)) > 1


@pytest.mark.slow
def test_a_start_has_as_many_sets_as_the_budget_has_room_for(config_file: Path, tmp_path: Path):
    many = [*RACED, "task.starting_demonstrations=[0, 2]", "task.starting_sets=6"]
    for name, limit in (("poor", 14_000), ("rich", 200_000)):
        given = [*many, "evolution.generations=1", f"budget.logical_tokens={limit}"]
        start(load_config(config_file, given), tmp_path / name)
        summary = json.loads((tmp_path / name / SUMMARY).read_text())
        assert summary["tokens"]["logical"] <= limit
    founders = {
        name: [b for b in lines(tmp_path / name, LINEAGE) if b["generation"] == 0]
        for name in ("poor", "rich")
    }
    plain = {
        name: {b["policy_id"] for b in births if "demonstrations" not in b["policy"]}
        for name, births in founders.items()
    }
    # what was given is never left out
    assert plain["poor"] == plain["rich"]
    assert len(plain["poor"]) < len(founders["poor"]) < len(founders["rich"])


@pytest.mark.parametrize(("racing", "seen"), [("certified", -0.5), ("halving", -1.25)])
def test_a_certified_race_goes_by_what_is_measured_without_the_prior(racing: str, seen: float):
    parts = SimpleNamespace(
        config=SimpleNamespace(evolution=SimpleNamespace(racing=RacingConfig(method=racing))),
        fitness=Fitness("label_normalized", LabelNormalized(), demonstrations_prior=3.0),
        task=SimpleNamespace(fitness=()),
        handicap=lambda policy, num: 3.0 / num,
        is_plain=True,
        strategy=SimpleNamespace(bonus=0.0),
    )
    worth = {"fitness": np.full(4, -1.25)}
    journal = SimpleNamespace(worth=lambda policy_id, num: (None, worth), policies={"a": Policy()})
    cases = Gauge(parts, journal, None)._cases("a", 4)
    np.testing.assert_allclose(cases, np.full(4, seen))
