"""The engine as a whole, with its redrawn children and fallbacks, draws parents as the closed form
says: drift has mean 0 and its variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.evolution import SelectionConfig
from evoprompt.dynamics.population import Births, Filling, births_of
from evoprompt.dynamics.price import generation_terms
from evoprompt.evolution.engine import Strategy, ask, found, mating_chances, tell, vary
from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import lineage_line
from evoprompt.policy import Policy
from evoprompt.records import Evaluation

pytestmark = pytest.mark.statistical

CONFIG = load_config(
    Path(__file__).parents[2] / "configs" / "quickstart.yaml",
    ["evolution.population=6", "evolution.racing.method=off", "task.starting_demonstrations=[0]"],
)
TASK, _ = check_task(CONFIG)

Pairs = list[tuple[Births, Births]]


def evaluate(policy: Policy) -> Evaluation:
    """A fitness, a length and a trait that follow from the policy alone and are inherited by
    nobody.
    """
    rng = np.random.default_rng(int(policy.policy_id[:8], 16))
    fitness, tokens, other = float(rng.normal()), float(rng.integers(5, 50)), float(rng.normal())
    return Evaluation(
        fitness, (fitness,), {"fitness": fitness, "prompt_tokens": tokens, "other": other}
    )


def evaluate_with_ties(policy: Policy) -> Evaluation:
    """The same with whole fitness, so that some are equal where truncation cuts."""
    plain = evaluate(policy)
    fitness = float(round(plain.fitness))
    return Evaluation(fitness, (fitness,), {**plain.traits, "fitness": fitness})


def by(parent_selection: SelectionConfig) -> Strategy:
    """The quickstart's strategy with another selection of parents."""
    strategy = strategy_of(CONFIG, TASK)
    return replace(
        strategy, config=strategy.config.model_copy(update={"parent_selection": parent_selection})
    )


def lineage(
    strategy: Strategy, claimed: Strategy, seed: int, judge: Callable[[Policy], Evaluation]
) -> Pairs:
    """Each two neighbours of 12 generations, the first with the chances that the claimed strategy
    gives.
    """
    state, before, pairs = None, None, []
    seen: set[str] = set()
    for _ in range(12):
        if state is None:
            brood = found(TASK.starting_policies)
        else:
            matings = ask(state, strategy)
            chances = mating_chances(state, matings, claimed)
            before = before.with_chances(chances.probability.tolist(), chances.filling, chances.num)
            brood = vary(state, matings, strategy, seen, lambda _: True)
        seen |= {b.policy.policy_id for b in brood.births}
        state, entries = tell(state, brood, [judge(b.policy) for b in brood.births], strategy, seed)
        index = {name: i for i, name in enumerate(before.birth_ids)} if before else {}
        births = births_of([lineage_line(e) for e in entries], index)
        if before is not None:
            pairs.append((before, births))
        before = births
    return pairs


def drift_z(pairs: Pairs, trait: str, taken: Filling | None = None) -> np.ndarray:
    """Each generation's drift in its closed form's standard deviations, where it has one, with the
    slots' filling or another one `taken` for it.
    """
    z = []
    for before, births in pairs:
        terms = generation_terms(replace(before, filling=taken) if taken else before, births)
        selection, at = terms.reproduction.selection, terms.trait_names.index(trait)
        if selection.drift_variance[at] > 1e-18:
            z.append(selection.drift[at] / np.sqrt(selection.drift_variance[at]))
        else:
            assert abs(selection.drift[at]) < 1e-9
    return np.array(z)


def mean_z(z: np.ndarray) -> float:
    """The mean in its standard errors where the variance is 1."""
    return float(z.mean() * np.sqrt(len(z)))


def square_z(z: np.ndarray) -> float:
    """How far the mean square is from 1, in its own standard errors."""
    return float(((z**2).mean() - 1) / ((z**2).std() / np.sqrt(len(z))))


def test_the_engines_drift_has_mean_zero_and_the_closed_forms_variance():
    """25 lineages of 12 generations: |mean| sqrt(n) below 4 (false alarm 6e-5) and mean square
    within 4 of its own errors (2e-4 with heavier tails).

    The twin claims tournaments of 3 for those of 2 and expects more than it gets.
    """
    two, three = by(SelectionConfig(tournament_size=2)), by(SelectionConfig(tournament_size=3))
    z = drift_z(
        [pair for seed in range(25) for pair in lineage(two, two, seed, evaluate)], "fitness"
    )
    assert len(z) > 200
    assert abs(mean_z(z)) < 4
    assert abs(square_z(z)) < 4
    assert (
        mean_z(
            drift_z(
                [pair for seed in range(25) for pair in lineage(two, three, seed, evaluate)],
                "fitness",
            )
        )
        < -4
    )


@pytest.mark.parametrize("method", ["sus", "truncation", "nsga2"])
def test_the_engines_drift_has_its_closed_form_where_slots_are_filled_together_too(method):
    """25 lineages as above, by a trait that the scheme does not look at, and by fitness.

    The twins take the slots for independent ones, and find too little drift, and claim tournaments,
    whose chances are others.
    """
    own, tournament = by(SelectionConfig(method=method)), by(SelectionConfig())
    pairs = [pair for seed in range(25) for pair in lineage(own, own, seed, evaluate_with_ties)]
    for trait in ("other", "fitness"):
        z = drift_z(pairs, trait)
        assert len(z) > 100
        assert abs(mean_z(z)) < 4
        assert abs(square_z(z)) < 4
        assert square_z(drift_z(pairs, trait, taken="independent")) < -4
    claimed = drift_z(
        [pair for seed in range(25) for pair in lineage(own, tournament, seed, evaluate_with_ties)],
        "fitness",
    )
    assert max(abs(mean_z(claimed)), abs(square_z(claimed))) > 4
