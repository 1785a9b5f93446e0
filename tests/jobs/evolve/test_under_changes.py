"""Runs that look at what their prompts are worth under changes: the traits are what the files say,
count in the fitness, are paid from the budget, resume to the same bytes, and have their place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
from check_price import check

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.build import build, check_task
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import (
    FINALISTS_UNDER_CHANGES,
    LINEAGE,
    UNDER_CHANGES,
    EvolveFolder,
)
from evoprompt.jobs.evolve.measurement_lines import measurement_of
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.policy import Policy
from evoprompt.store.folder import SUMMARY
from evoprompt.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("no_pages")

INSTANT = ("workers.backend=toys.instant:InstantBackend", "task.starting_demonstrations=[0,1,2]")
LOOKS = (
    "robustness={draws: 4, examples: 4, sources: [format, input_casing, paraphrase, input_typos]}",
)
WEIGHED = (*LOOKS, "robustness.weight=0.5")
RACE = ("evolution.racing.method=halving", "evolution.racing.first=2", "evolution.generations=3")
PARETO = (
    "evolution.survival_selection.method=nsga2",
    "evolution.survival_selection.objectives=[fitness, under_changes]",
)


def rows(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(shared_config: Path) -> Path:
    folder = shared_config.with_name("whole")
    start(load_config(shared_config, [*INSTANT, *RACE, *WEIGHED]), folder)
    return folder


def test_fitness_is_that_without_less_the_part_of_the_drop_that_the_file_says(finished: Path):
    folder = EvolveFolder.open(finished)
    assert check(finished)[0] < 1e-12
    looked = {
        r["policy_id"]: {int(d): measurement_of(m) for d, m in r["draws"].items()}
        for r in rows(finished, UNDER_CHANGES)
    }
    assert all(set(s.example_ids).__len__() == 4 for d in looked.values() for s in d.values())
    config, measured = folder.config(), folder.measurements()
    plain = build(config.model_copy(update={"robustness": None}), Path("nowhere"))
    drops = []
    for birth in rows(finished, LINEAGE):
        policy, policy_id = Policy.from_dict(birth["policy"]), birth["policy_id"]
        scores = measured[policy_id].first(birth["examples"])
        worth = plain.interpret(policy, scores)[0].fitness
        num = min(4, birth["examples"])
        # by hand, of a task whose answers are not calibrated: the drop by the worst draw
        found = looked[policy_id].values()
        given = [s.at(range(num)) for s in found] + [scores.at(range(num))] * (len(found) < 4)
        cases = [plain.fitness.cases(s)[0] for s in (scores.at(range(num)), *given)]
        drop = float((cases[0] - np.min(cases[1:], axis=0)).mean())
        drops.append(drop)
        assert birth["traits"]["under_changes"] == pytest.approx(worth - drop, abs=3e-6)
        assert birth["fitness"] == pytest.approx(worth - 0.5 * drop, abs=3e-6)
        assert birth["traits"]["fitness"] == birth["fitness"]
        assert 0 <= birth["traits"]["accuracy_under_changes"] <= 1
    assert np.std(drops) > 0.01


def test_it_resumes_to_the_same_bytes(finished: Path, config_file: Path, tmp_path: Path):
    parted = tmp_path / "parted"
    overrides = [*INSTANT, *RACE, *WEIGHED]
    start(load_config(config_file, [*overrides, "evolution.generations=1"]), parted)
    (parted / SUMMARY).unlink()
    resume(parted, ["evolution.generations=3"])
    for name in (LINEAGE, UNDER_CHANGES):
        assert (parted / name).read_bytes() == (finished / name).read_bytes()
    once = [r["policy_id"] for r in rows(finished, UNDER_CHANGES)]
    assert len(set(once)) == len(once)


def test_whom_a_race_gives_up_before_is_not_measured_under_changes(
    config_file: Path, tmp_path: Path
):
    # races on 2, 4, 8 examples; changes from 4 on
    start(
        load_config(config_file, [*INSTANT, *RACE, *WEIGHED, "robustness.after=4"]), tmp_path / "r"
    )
    folder, births = EvolveFolder.open(tmp_path / "r"), rows(tmp_path / "r", LINEAGE)
    assert check(folder.path)[0] < 1e-12
    looked = [r["policy_id"] for r in rows(folder.path, UNDER_CHANGES)]
    most = {p: len(s.example_ids) for p, s in folder.measurements().items()}
    assert sorted(looked) == sorted(p for p, num in most.items() if num >= 4)
    assert len(looked) < len(most)
    dropped = [b for b in births if b["examples"] < 4]
    assert dropped
    plain = build(folder.config().model_copy(update={"robustness": None}), Path("nowhere"))
    measured, taken = folder.measurements(), 0.0
    for birth in births:
        policy = Policy.from_dict(birth["policy"])
        told = birth.get("rungs") or [{"examples": birth["examples"], "traits": birth["traits"]}]
        for rung in told:
            scores, traits = measured[birth["policy_id"]].first(rung["examples"]), rung["traits"]
            worth = plain.interpret(policy, scores)[0]
            drop = worth.fitness - traits["under_changes"]
            assert traits["fitness"] == pytest.approx(worth.fitness - 0.5 * drop, abs=3e-6)
            if rung["examples"] < 4:
                assert drop == 0
                assert traits["accuracy_under_changes"] == worth.traits["accuracy"]
            taken += drop
    assert taken > 0.1


@pytest.mark.pages
def test_changes_of_finalists_alone_leave_the_search_as_it_is(config_file: Path, tmp_path: Path):
    short = [*INSTANT, *RACE, "evolution.generations=2"]
    start(load_config(config_file, short), tmp_path / "without")
    start(load_config(config_file, [*short, *WEIGHED, "robustness.after=1000"]), tmp_path / "with")
    without, looks = (rows(tmp_path / name, LINEAGE) for name in ("without", "with"))
    for birth in looks:
        for traits in (birth["traits"], *(r["traits"] for r in birth.get("rungs", ()))):
            assert traits.pop("under_changes") == traits["fitness"]
            assert traits.pop("accuracy_under_changes") == traits["accuracy"]
    assert looks == without
    assert rows(tmp_path / "with", UNDER_CHANGES) == []
    found = rows(tmp_path / "with", FINALISTS_UNDER_CHANGES)
    asked = {r["policy_id"] for r in rows(tmp_path / "with", "predictions.jsonl")}
    assert {r["policy_id"] for r in found} == asked
    assert any(r["drop"] > 0 for r in found)
    less = json.loads((tmp_path / "with" / SUMMARY).read_text())
    assert less["tokens"]["by_phase"]["robustness"] > 0
    page = (tmp_path / "with" / "report.html").read_text()
    assert "No generation met so many." in page


def test_what_changes_take_from_a_finalist_counts_in_the_choice(config_file: Path, tmp_path: Path):
    parts = build(load_config(config_file, [*INSTANT, *WEIGHED, "robustness.after=1000"]), tmp_path)
    ledger, policy = Ledger(), parts.task.starting_policies[-1]
    examples = parts.task.fitness
    [(scores, _)] = parts.measurer.measure(
        [policy], examples, lambda _: None, ledger.timed
    ).values()
    [row] = parts.under_changes.finish([policy], {policy.policy_id: scores}, ledger)
    assert row["drop"] > 0
    assert parts.taken(policy) == pytest.approx(0.5 * row["drop"], abs=1e-6)
    assert ledger.tokens["robustness"].body_tokens > 0
    spent = ledger.tokens["robustness"].body_tokens
    assert parts.under_changes.finish([policy], {policy.policy_id: scores}, ledger) == [row]
    assert ledger.tokens["robustness"].body_tokens == spent  # measured once


def test_page_metrics_and_costs_tell_of_it(finished: Path):
    folder, summary = EvolveFolder.open(finished), json.loads((finished / SUMMARY).read_text())
    assert summary["tokens"]["by_phase"]["robustness"] > 0
    line = folder.generations()[-1]
    told = generation_metrics(line)
    assert told["robust/under_changes"] == line.account.traits["under_changes"]
    page = (finished / "report.html").read_text()
    assert page.count(">Under changes</h2>") == 1
    assert "0.5 of it counts in the fitness" in page


def test_as_a_trait_alone_it_leaves_the_search_as_it_is(config_file: Path, tmp_path: Path):
    short = [*INSTANT, "evolution.generations=2"]
    start(load_config(config_file, short), tmp_path / "without")
    start(load_config(config_file, [*short, *LOOKS]), tmp_path / "with")
    without, looks = (rows(tmp_path / name, LINEAGE) for name in ("without", "with"))
    for birth in looks:
        birth["traits"].pop("under_changes")
        birth["traits"].pop("accuracy_under_changes")
    assert looks == without
    assert not (tmp_path / "without" / UNDER_CHANGES).exists()


def test_it_is_an_objective_of_selection(config_file: Path, tmp_path: Path):
    start(load_config(config_file, [*INSTANT, *RACE, *LOOKS, *PARETO]), tmp_path / "pareto")
    assert check(tmp_path / "pareto")[0] < 1e-12
    with pytest.raises(UserError, match="needs the section robustness"):
        load_config(config_file, PARETO)


def test_a_budget_pays_for_it(config_file: Path, tmp_path: Path):
    short = ("task.starting_demonstrations=[0,1]", "evolution.generations=1")
    looks = load_config(config_file, [*short, *LOOKS])
    parts = build(looks, tmp_path)
    plain = build(looks.model_copy(update={"robustness": None}), tmp_path)
    policy = parts.task.starting_policies[1]
    weight = parts.under_changes.weigh(policy)
    assert weight.rows > 0
    assert parts.costs.of([policy]) == plain.costs.of([policy]) + weight.rows
    # what is charged when it is measured is what was forecast
    start(looks, tmp_path / "run")
    folder = EvolveFolder.open(tmp_path / "run")
    policies = {b["policy_id"]: b["policy"] for b in rows(folder.path, LINEAGE)}
    weights = [parts.under_changes.weigh(Policy.from_dict(p)).rows for p in policies.values()]
    charged = folder.restore().ledger.tokens["robustness"].floor_body_tokens
    # two policies may have the same changed prompt, which is then measured once
    assert 0 < charged <= sum(weights)


def test_a_budget_keeps_room_for_changes_of_finalists(config_file: Path, tmp_path: Path):
    late = load_config(config_file, [*LOOKS, "robustness.after=1000"])
    parts = build(late, tmp_path)
    plain = build(late.model_copy(update={"robustness": None}), tmp_path)
    pool = list(parts.task.starting_policies)
    assert parts.costs.of(pool) == plain.costs.of(pool)
    early = build(load_config(config_file, LOOKS), tmp_path)
    assert early.costs.of(pool) > plain.costs.of(pool)
    # kept for the finalists and the baseline
    num = min(len(pool), late.final.candidates + 1)
    most = sorted((parts.under_changes.weigh(p).rows for p in pool), reverse=True)[:num]
    more = parts.costs.reserve(pool) - early.costs.reserve(pool)
    assert max(most) <= more <= sum(most)


@pytest.mark.slow
@pytest.mark.pages
def test_the_head_is_fitted_under_changes_too(config_file: Path, tmp_path: Path):
    """The search stays as it is, and so do the offsets' examples; the head is another."""
    heads = [*RACE, "fitness.calibration=head", "evolution.generations=1"]
    learns = [*heads, "robustness={draws: 4, examples: 0, calibration_examples: 6}"]
    start(load_config(config_file, heads), tmp_path / "plain")
    start(load_config(config_file, learns), tmp_path / "learned")
    plain, learned = (EvolveFolder.open(tmp_path / name) for name in ("plain", "learned"))
    assert rows(plain.path, LINEAGE) == rows(learned.path, LINEAGE)
    assert not (learned.path / UNDER_CHANGES).exists()
    own, other = (f.read(SUMMARY)["champion"]["calibration"] for f in (plain, learned))
    assert own["examples"] == other["examples"]
    assert own["head"]["mean"] != other["head"]["mean"]
    page = (learned.path / "report.html").read_text()
    assert "is fitted on 6 validation examples under 4 changes too" in page
    assert "counts in the fitness" not in page
    # its tokens are those that the budget keeps
    before, tokens = (f.read(SUMMARY)["tokens"]["by_phase"] for f in (plain, learned))
    assert "robustness" not in tokens
    parts = build(load_config(config_file, learns), tmp_path)
    bare = build(load_config(config_file, heads), tmp_path)
    champion = Policy.from_dict(learned.read(SUMMARY)["champion"]["policy"])
    weight = parts.learned_changes.weigh(champion).rows
    both = [champion, parts.task.starting_policies[0]]
    more = parts.costs.reserve(both) - bare.costs.reserve(both)
    assert more >= weight + parts.learned_changes.weigh(both[1]).rows > weight > 0
    assert 0 < tokens["calibration"] - before["calibration"] <= weight
    with pytest.raises(UserError, match="there is none: fitness.calibration is 'labelled'"):
        check_task(load_config(config_file, [*learns, "fitness.calibration=labelled"]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{sources: [format, format]}", "name twice"),
        ("{examples: 0}", "calibration_examples is 0 too"),
        ("{examples: 0, calibration_examples: 8, weight: 0.5}", "weight counts"),
        ("{weight: 2}", "weight"),
        ("{draws: 0}", "draws"),
    ],
)
def test_a_section_that_cannot_be_is_refused(config_file: Path, values: str, message: str):
    with pytest.raises(UserError, match=message):
        load_config(config_file, [f"robustness={values}"])


def test_changes_that_a_task_does_not_have_are_refused(config_file: Path):
    with pytest.raises(UserError, match="did you mean 'format'"):
        check_task(load_config(config_file, ["robustness={sources: [formats]}"]))
    with pytest.raises(UserError, match="names 'nowhere', which is no choice"):
        check_task(load_config(config_file, ["robustness={label_synonyms: {nowhere: [x]}}"]))
