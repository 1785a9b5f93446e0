"""The curriculum with a stand-in for the model: where weights go, and what is compared."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.curricula import REGIONS, StandIn

from evoprompt.errors import UserError
from evoprompt.evolution.curriculum import exploration_share
from evoprompt.jobs.curriculum.config import CurriculumConfig, load_curriculum
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.loop import Progress, begin, restore, rounds
from evoprompt.jobs.curriculum.players import ANTAGONIST, PROTAGONIST, best_by_region
from evoprompt.jobs.curriculum.record import RoundLine
from evoprompt.jobs.curriculum.regions import Regions, load_regions

NAMES = ("left", "right", "trivial", "unsolvable")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CurriculumConfig:
    path = tmp_path_factory.mktemp("curriculum") / "toy.yaml"
    settings = "rounds: 30\nrate: 1.5\nchildren: 3\nmax_demonstrations: 4\nexamples: 40\n"
    path.write_text(f"regions: {REGIONS}\n{settings}")
    return load_curriculum(path)


@pytest.fixture(scope="module")
def regions(config: CurriculumConfig) -> Regions:
    return load_regions(config)


def stand_in(regions: Regions) -> StandIn:
    homes = {d.input: t.name for t in regions.tasks for d in t.demonstrations}
    return StandIn(homes)


def played(
    config: CurriculumConfig, regions: Regions, out: Path, **changes: object
) -> tuple[list[RoundLine], Progress, StandIn]:
    own = config.model_copy(update=changes)
    meter, progress = stand_in(regions), begin(own, regions)
    folder = CurriculumFolder(out)
    return list(rounds(own, regions, meter, progress, folder)), progress, meter


def test_weights_leave_what_cannot_be_solved_and_what_all_solve(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """In the regions that compete for four demonstrations a specialist has .85 and half a
    generalist .55, a regret of .3; elsewhere it is 0. With half of that, 30 rounds at a rate of 1.5
    leave a region without regret exp(-6.75) = .1 % of the weight of one with it.
    """
    lines, progress, _ = played(config, regions, tmp_path)
    assert len(lines) == 31
    assert lines[0].regret == (None,) * 4
    *_, trivial, unsolvable = lines[-1].weights
    assert unsolvable < 0.01
    assert trivial < 0.01
    late = np.array([line.regret for line in lines[15:]], dtype=float).mean(axis=0)
    assert late[:2].mean() > 0.05
    assert abs(late[2:]).max() < 0.02
    assert all(line.duality_gap is not None and line.duality_gap >= 0 for line in lines[1:])
    assert progress.round == 31


def test_against_the_worst_region_an_adversary_gives_all_to_what_cannot_be_solved(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """The power twin: by the protagonist's own utility the unsolvable region weighs the most."""
    lines, progress, _ = played(config, regions, tmp_path, sampling="minimax", rounds=12)
    assert np.argmax(lines[-1].weights) == 3
    assert lines[-1].weights[3] > 0.5
    assert ANTAGONIST not in progress.players
    assert lines[-1].regret == (None,) * 4


def test_regret_of_equals_is_nothing_though_the_best_of_many_would_look_better(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """Where no policy is better than another and examples are noise, the mean regret is 0 within 4
    standard errors (a false alarm in 16,000). The power twin, the best of the round's policies on
    the same examples, is far above it.
    """
    own = config.model_copy(update={"rounds": 20})
    meter, progress = stand_in(regions), begin(own, regions)
    meter.noise, meter.worth = 0.3, lambda policy, region: 0.5  # type: ignore[method-assign]
    luck: list[float] = []
    measure = meter.utilities

    def watched(policies: Any, examples: Any, ledger: Any) -> Any:
        values, count = measure(policies, examples, ledger)
        luck.append(max(v.mean() for v in values.values()) - 0.5)
        return values, count

    meter.utilities = watched  # type: ignore[method-assign]
    lines = list(rounds(own, regions, meter, progress, CurriculumFolder(tmp_path)))
    found = np.array([line.regret for line in lines[1:]], dtype=float).mean(axis=1)
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean()) < 4 * error
    assert np.mean(luck) > 4 * error


@pytest.mark.parametrize(("num", "expected"), [(2, PROTAGONIST), (20, ANTAGONIST)])
def test_who_did_best_is_of_either_population_and_not_by_luck_on_few_examples(
    config: CurriculumConfig, regions: Regions, tmp_path: Path, num: int, expected: int
):
    """All members have .5 of 40 examples, but one of the protagonist's .75 of 40, and one of the
    antagonist's 1 of 2, or of 20. With eight more of the mean of all six, .625, these count as
    .729, .7 and .893.
    """
    _, progress, _ = played(config, regions, tmp_path, rounds=3)
    players = progress.players
    assert len(progress.policies) == 6
    for own in players.values():
        own.counts = {key: np.full(4, 40.0) for key in own.counts}
        own.sums = {key: np.full(4, 20.0) for key in own.sums}
    only = {
        place: next(p for p in own.policies if p not in players[1 - place].policies)
        for place, own in players.items()
    }
    players[PROTAGONIST].sums[only[PROTAGONIST].policy_id][0] = 30.0
    for values in (players[ANTAGONIST].sums, players[ANTAGONIST].counts):
        values[only[ANTAGONIST].policy_id][0] = float(num)
    assert best_by_region(list(players.values()), 4)[0] == only[expected]


@pytest.mark.parametrize("sampling", ["uniform", "random"])
def test_without_rewards_weights_stay_equal(
    config: CurriculumConfig, regions: Regions, tmp_path: Path, sampling: str
):
    lines, _, _ = played(config, regions, tmp_path, sampling=sampling, rounds=12)
    assert {line.weights for line in lines} == {(0.25,) * 4}
    drawn = {line.draws for line in lines}
    assert (drawn == {(1, 1, 1, 1)}) == (sampling == "uniform")
    assert {sum(line.draws) for line in lines} == ({4} if sampling == "uniform" else {2})


def test_exp3_is_told_of_the_regions_that_were_drawn(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """Each round adds (regret + 1) / 2 to a region that was drawn, by how often and over its
    weight; regions that were not have no regret.
    """
    lines, _, _ = played(config, regions, tmp_path, update="exp3", rounds=8, rate=0.2)
    share, totals = exploration_share(4, 16), np.zeros(4)
    for line, after in pairwise(lines):
        assert sum(line.draws) == 2
        assert line.round == 0 or [n > 0 for n in line.draws] == [
            r is not None for r in line.regret
        ]
        for place, regret in enumerate(line.regret):
            if regret is not None:
                totals[place] += (regret + 1) / 2 * line.draws[place] / line.weights[place]
        raised = np.exp(0.2 * totals)
        expected = (1 - share) * raised / raised.sum() + share / 4
        assert after.weights == pytest.approx(expected, abs=1e-4)
    assert max(lines[-1].weights) > 0.3


def test_examples_are_fresh_until_a_region_has_given_all(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """60 a region, 10 a round: six rounds share none, and the next six have them again, in another
    order.
    """
    few = replace(regions, tasks=tuple(replace(t, fitness=t.fitness[:60]) for t in regions.tasks))
    _, progress, meter = played(config, few, tmp_path, rounds=11)
    first, again = ([e for ids in part for e in ids] for part in (meter.asked[:6], meter.asked[6:]))
    assert len(set(first)) == len(first) == 240
    assert set(again) == set(first)
    assert again != first
    assert progress.used == [120] * 4
    assert {e.partition("/")[0] for e in first} == set(NAMES)
    tested = {e.example_id for t in regions.tasks for e in (*t.test, *t.validation)}
    assert not tested & set(first)


def test_the_tokens_of_both_players_and_of_the_choice_are_kept(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """Ten tokens for each policy on each example. A choice between at most 6 members and the
    starting policies takes (6 + n) 256 examples.
    """
    tokens = 60_000
    lines, progress, _ = played(config, regions, tmp_path, tokens=tokens)
    examples = sum(len(task.validation) for task in regions.tasks)
    choice = 10 * examples * len({*progress.policies, *regions.given})
    spent = lines[-1].logical_tokens
    assert spent + choice <= tokens
    rounds_of = [b.logical_tokens - a.logical_tokens for a, b in pairwise(lines)]
    assert spent + choice + max(rounds_of) + 10 * examples > tokens
    entries = CurriculumFolder(tmp_path).lines("lineage.jsonl")
    born = [e for e in entries if e["generation"] == lines[-1].round]
    assert {e["island"] for e in born} == {PROTAGONIST, ANTAGONIST}
    assert rounds_of[-1] == 10 * 40 * len({e["policy_id"] for e in born})


def test_no_choice_is_dearer_than_what_was_kept_for_it(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    """Children that take more tokens than those whose places they take."""
    meter = replace(stand_in(regions), by_length=True)
    for tokens in range(60_000, 160_000, 10_000):
        own, out = config.model_copy(update={"tokens": tokens}), tmp_path / str(tokens)
        out.mkdir()
        progress = begin(own, regions)
        [*_, last] = rounds(own, regions, meter, progress, CurriculumFolder(out))
        chosen = tuple({*progress.policies, *regions.given})
        examples = [e for task in regions.tasks for e in task.validation]
        assert last.logical_tokens + meter.logical(chosen, examples) <= tokens


def test_tokens_that_do_not_suffice_for_the_founders_are_refused(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    with pytest.raises(UserError, match=r"tokens is 100, and the founders .* take up to 1?\d,\d+;"):
        played(config, regions, tmp_path, tokens=100)
    assert not CurriculumFolder(tmp_path).has_commit


def test_what_was_committed_is_gone_on_with(
    config: CurriculumConfig, regions: Regions, tmp_path: Path
):
    short = config.model_copy(update={"rounds": 6})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    list(rounds(short, regions, stand_in(regions), begin(short, regions), CurriculumFolder(whole)))
    going = rounds(
        short, regions, stand_in(regions), begin(short, regions), CurriculumFolder(parts)
    )
    for _ in range(3):
        next(going)
    folder = CurriculumFolder(parts)
    progress = restore(folder, short, regions)
    assert progress.round == 3
    list(rounds(short, regions, stand_in(regions), progress, folder))
    lines = [CurriculumFolder(p).rounds() for p in (whole, parts)]
    assert [replace(a, time_ms=0) for a in lines[0]] == [replace(b, time_ms=0) for b in lines[1]]
    assert (whole / "lineage.jsonl").read_bytes() == (parts / "lineage.jsonl").read_bytes()
