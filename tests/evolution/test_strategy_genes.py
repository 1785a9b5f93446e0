"""Rates of operators that policies hand on, and births without parents that are compared with
others as young: numbers by hand, a planted best operator, and runs that stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from evolution.test_engine import FOUNDERS, evolve, planted, strategy
from toys.populations import instant, whole_and_parted

from evoprompt.config.evolution import AdaptationConfig, SelectionConfig
from evoprompt.errors import UserError
from evoprompt.evolution.strategy_genes import inherited, matings, mean_rates, rates_of
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.policy import Policy
from evoprompt.records import FOUND, SURVIVE, Birth, Evaluation
from evoprompt.variation.base import Need
from experiments.check_price import check

WEIGHTS = {"a": 2.0, "b": 1.0, "c": 1.0}
OWN = AdaptationConfig(method="inherited")


def born(rates: dict[str, float] | None = None) -> Birth:
    return Birth("", Policy("x"), (), (), FOUND, rates=tuple((rates or {}).items()))


def test_rates_are_the_births_own_over_a_floor_of_the_given():
    own = born({"a": 0.1, "b": 0.9, "c": 0.0})
    assert rates_of(born(), WEIGHTS, 0.2) == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})
    assert rates_of(own, WEIGHTS, 0.2) == pytest.approx({"a": 0.18, "b": 0.77, "c": 0.05})
    mean = mean_rates([born(), own], WEIGHTS, 0.2)
    assert mean == pytest.approx({"a": 0.34, "b": 0.51, "c": 0.15})


def test_a_child_has_its_first_parents_rates_moved_by_a_log_normal_step():
    draw = np.random.default_rng(0).standard_normal(3) / np.sqrt(2 * np.sqrt(3))
    expected = np.array([0.5, 0.25, 0.25]) * np.exp(draw)
    found = dict(inherited(born(), WEIGHTS, np.random.default_rng(0)))
    assert list(found.values()) == pytest.approx(expected / expected.sum())
    many = np.random.default_rng(1)
    logs = [np.log(dict(inherited(born(), WEIGHTS, many))["a"]) for _ in range(2000)]
    # the sum moves too, so the spread is a little less than tau
    assert np.std(logs) < 1 / np.sqrt(2 * np.sqrt(3))
    assert np.std(logs) > 0.2


def test_an_operator_is_drawn_by_its_first_parents_rates():
    births = [born({"a": 1.0, "b": 0.0, "c": 0.0}), born({"a": 0.0, "b": 0.0, "c": 1.0})]
    rng = np.random.default_rng(0)
    counts = {"a": 1, "b": 1, "c": 2}
    found = matings(births, 40, counts, WEIGHTS, 0.0, lambda n: [i % 2 for i in range(n)], rng)
    assert {(m.parents[0], m.operator, len(m.parents)) for m in found} == {(0, "a", 1), (1, "c", 2)}


@dataclass(frozen=True)
class Appends:
    """Puts a number and a sign behind the instruction."""

    name: str
    sign: str
    num_parents: int = 1
    slot: str = "instruction"
    needs: frozenset[Need] = frozenset()

    def apply(self, parents, materials, rng) -> Policy:
        return replace(
            parents[0], instruction=f"{parents[0].instruction}{rng.integers(99)}{self.sign}"
        )


def last_rate(worth: float, seed: int) -> float:
    """Return the rate of an operator whose every use adds so much to the fitness, where another
    takes it off, after 10 generations.
    """

    def fitness(policy: Policy) -> Evaluation:
        value = worth * (policy.instruction.count("+") - policy.instruction.count("-"))
        return Evaluation(value, (value,) * 3, {"fitness": value, "prompt_tokens": 1.0})

    operators = {"plus": Appends("plus", "+"), "minus": Appends("minus", "-")}
    weights = dict.fromkeys(operators, 1.0)
    strat = strategy(population=6, children=12, adaptation=OWN)
    strat = replace(strat, operators=operators, weights=weights)
    state, _ = evolve(strat, 10, seed, fitness=fitness)[-1]
    return mean_rates([m.birth for m in state.members], weights, 0.0)["plus"]


def test_the_rate_of_an_operator_that_pays_is_handed_on():
    paid, costs = (np.mean([last_rate(w, seed) for seed in range(10)]) for w in (1.0, -1.0))
    assert paid > 0.7
    assert costs < 0.3


def test_immigrants_have_no_parents_and_their_line_is_as_young_as_they_are():
    strat = replace(strategy(immigrants=2), founders=tuple(FOUNDERS))
    home: dict[str, Birth] = {}
    for generation, (_, entries) in enumerate(evolve(strat, 6)):
        births = [e.member.birth for e in entries]
        without = [b for b in births if not b.parent_ids]
        assert len(without) == (len(FOUNDERS) if generation == 0 else 2)
        assert all((b.operator, b.founded) == (FOUND, generation) for b in without)
        for birth in births:
            if birth.parent_ids:
                assert birth.founded == min(home[name].founded for name in birth.parent_ids)
        home = {b.birth_id: b for b in births}


def test_selection_by_youth_keeps_a_young_line_that_selection_by_fitness_loses():
    def survivors(objectives: list[str]) -> set[int]:
        survival = SelectionConfig(method="nsga2", objectives=objectives)
        strat = strategy(immigrants=2, survival_selection=survival)
        strat = replace(strat, founders=(Policy("Z."),))
        state, _ = evolve(strat, 12)[-1]
        assert max(m.evaluation.fitness for m in state.members) > planted(Policy("Z.")).fitness
        return {m.birth.founded for m in state.members}

    assert len(survivors(["fitness", "youth"])) >= 2
    assert survivors(["fitness"]) == {0}


@pytest.mark.slow
def test_a_run_with_both_is_exact_and_the_same_after_a_resume(task_file: Path, tmp_path: Path):
    survival = {"method": "nsga2", "objectives": ["fitness", "youth"]}
    config = instant(
        task_file,
        {
            **{"adaptation": {"method": "inherited"}, "immigrants": 1, "population": 3},
            "survival_selection": survival,
            "examples": {"first": 4, "grow": []},
            "racing": {"method": "halving", "first": 2},
        },
    )
    whole, parted = whole_and_parted(config, tmp_path)
    assert (whole.path / LINEAGE).read_bytes() == (parted.path / LINEAGE).read_bytes()
    assert max(check(whole.path)[:2]) < 1e-12
    lineage = [e.member.birth for e in whole.lineage()]
    assert all(sum(dict(b.rates).values()) == pytest.approx(1) for b in lineage if b.rates)
    assert any(b.rates and b.operator != SURVIVE for b in lineage)
    assert any(b.founded for b in lineage)
    told = [line.account for line in whole.generations()]
    assert len(told) > 2


def test_what_does_not_go_together_is_refused(task_file: Path):
    both = {"mating": "differential", "adaptation": {"method": "inherited"}}
    with pytest.raises(UserError, match="draws no first parents"):
        instant(task_file, both)
    survival = {"method": "nsga2", "objectives": ["fitness", "youth"]}
    with pytest.raises(UserError, match=r"racing\.method=fast gives up births"):
        instant(task_file, {"survival_selection": survival, "racing": {"method": "fast"}})
