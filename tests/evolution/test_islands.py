"""Populations apart: with one island nothing differs; with several, who is where, who migrates, and
a run whose terms are exact by island and the same after a resume.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from evolution.test_engine import FOUNDERS, planted, strategy
from toys.populations import instant, whole_and_parted

from evoprompt.config.evolution import RacingConfig
from evoprompt.config.islands import IslandsConfig
from evoprompt.errors import UserError
from evoprompt.evolution import engine, islands
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.policy import Policy
from evoprompt.records import MIGRATE, SURVIVE, State
from experiments.check_price import check

MANY = [*FOUNDERS, *(Policy(f"{letter}.") for letter in "DEFGH")]


def apart(**config):
    several = {"count": 3, "every": 2, "migrants": 1} | config
    return strategy(population=2, children=3, islands=IslandsConfig(**several))


def step(module, state: State | None, strat, seen: set[str]):
    if state is None:
        brood = engine.found(MANY)
    else:
        brood = module.vary(state, module.ask(state, strat), strat, set(seen), lambda _: True)
    seen |= {b.policy.policy_id for b in brood.births}
    return module.tell(state, brood, [planted(b.policy) for b in brood.births], strat, 0)


def evolved(module, strat, generations: int):
    state, seen, found = None, set(), []
    for _ in range(generations + 1):
        state, entries = step(module, state, strat, seen)
        found.append((state, entries))
    return found


def test_one_island_is_the_engine():
    strat = strategy(racing=RacingConfig())
    alone, whole = evolved(islands, strat, 4), evolved(engine, strat, 4)
    assert alone == whole
    state = whole[-1][0]
    matings = engine.ask(state, strat)
    first, second = (m.mating_chances(state, matings, strat) for m in (islands, engine))
    assert first.probability.tolist() == second.probability.tolist()
    assert first.filling == second.filling
    assert islands.rival_of(state, strat) == engine.rival_of(state, strat)


def test_founders_are_dealt_out_the_fittest_first():
    strat = apart()
    order = {p.policy_id: -float(rank) for rank, p in enumerate(MANY)}

    def ranked(policy: Policy):
        own = planted(policy)
        return own.__class__(order[policy.policy_id], own.case_fitness, own.traits)

    raced = strategy(population=2, islands=strat.config.islands, racing=RacingConfig())
    brood = engine.found(MANY)
    state, entries = islands.tell(None, brood, [ranked(p) for p in MANY], raced, 0)
    # six places of eight founders: ranks 0 to 5 on islands 0 1 2 0 1 2
    assert [m.birth.policy for m in state.members] == MANY[:6]
    assert [m.birth.island for m in state.members] == [0, 1, 2, 0, 1, 2]
    assert [e.island for e in entries] == [0, 1, 2, 0, 1, 2, 0, 0]
    assert [e.selected for e in entries] == [True] * 6 + [False] * 2


def test_parents_are_of_the_same_island_but_for_migrants_from_the_one_before():
    home: dict[str, int] = {}
    worth: dict[str, float] = {}
    for generation, (state, entries) in enumerate(evolved(islands, apart(), 6)):
        assert len({e.member.birth.birth_id for e in entries}) == len(entries)
        if generation:
            assert Counter(m.birth.island for m in state.members) == {0: 2, 1: 2, 2: 2}
        for e in entries:
            birth = e.member.birth
            assert birth.birth_id.split(".")[1] == str(birth.island) or not generation
            where = [home[name] for name in birth.parent_ids] if generation else []
            if birth.operator == MIGRATE:
                assert generation % 2 == 0
                assert where == [(birth.island - 1) % 3]
                best = max(f for n, f in worth.items() if home[n] == where[0])
                assert worth[birth.parent_ids[0]] == best
            else:
                assert set(where) <= {birth.island}
        home = {m.birth.birth_id: m.birth.island for m in state.members}
        worth = {m.birth.birth_id: m.evaluation.fitness for m in state.members}
    migrants = [e for _, entries in evolved(islands, apart(), 6) for e in entries]
    assert sum(e.member.birth.operator == MIGRATE for e in migrants) > 3
    # power twin: nobody migrates where the next migration is far away
    far = [e for _, entries in evolved(islands, apart(every=100), 6) for e in entries]
    assert not any(e.member.birth.operator == MIGRATE for e in far)


def test_chances_of_parents_are_those_of_each_island():
    strat = apart()
    state = evolved(islands, strat, 1)[-1][0]
    matings = islands.ask(state, strat)
    found = islands.mating_chances(state, matings, strat)
    assert found.probability.sum() == pytest.approx(1)
    total = sum(len(m.parents) for m in matings)
    for island in range(3):
        at = [i for i, m in enumerate(state.members) if m.birth.island == island]
        slots = sum(len(m.parents) for m in matings if m.parents[0] in at)
        assert found.probability[at].sum() == pytest.approx(slots / total)


@pytest.mark.slow
def test_a_run_on_islands_has_exact_terms_and_the_same_lineage_after_a_resume(
    task_file: Path, tmp_path: Path
):
    config = instant(
        task_file,
        {
            **{"population": 2, "children": 2, "islands": {"count": 2, "every": 2}},
            "examples": {"first": 4, "grow": []},
            "racing": {"method": "halving", "first": 2},
        },
    )
    whole, parted = whole_and_parted(config, tmp_path)
    assert (whole.path / LINEAGE).read_bytes() == (parted.path / LINEAGE).read_bytes()
    residual, distance, _ = check(whole.path)
    assert max(residual, distance) < 1e-12
    lineage = whole.lineage()
    assert any(e.member.birth.operator == MIGRATE for e in lineage)
    lines = whole.generations()
    for line, (_, entries) in zip(lines, groupby(lineage, lambda e: e.generation), strict=True):
        births = list(entries)
        for terms in line.account.price.values():
            stage = terms.survival
            assert stage.between is not None
            assert stage.between + stage.within == pytest.approx(stage.selection, abs=1e-12)
            # who is born again as it was changes nothing
            for same in (MIGRATE, SURVIVE):
                changed = terms.transmission_by_operator.get(same, 0.0)
                assert changed == pytest.approx(0.0, abs=1e-12)
        if line.generation:
            assert {e.island for e in births} == {0, 1}
            expected = line.account.price["fitness"].reproduction.expected
            assert expected is not None


def test_what_is_forecast_counts_the_births_of_all_islands():
    assert apart().config.births == 3 * 3


def test_what_does_not_go_with_islands_is_refused(task_file: Path):
    for other in ({"scheme": "comma"}, {"restart": {"patience": 2}}, {"surrogate": {"pool": 4}}):
        with pytest.raises(UserError, match=r"do not go with evolution\.islands\.count=2"):
            instant(task_file, {"population": 3, "islands": {"count": 2}, **other})
