"""The engine as a whole, with its redrawn children and fallbacks, draws parents as the closed form says: drift has mean 0 and its variance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evoprompt.build import check_task, strategy_of
from evoprompt.config import SelectionConfig, load_config
from evoprompt.dynamics.population import births_of
from evoprompt.dynamics.price import generation_terms
from evoprompt.evolution.engine import Strategy, ask, found, mating_chances, tell, vary
from evoprompt.policy import Policy
from evoprompt.records import Evaluation
from evoprompt.runtime.checkpoint import lineage_line

CONFIG = load_config(Path(__file__).parent.parent / "configs" / "quickstart.yaml")
TASK, _ = check_task(CONFIG)


def evaluate(policy: Policy) -> Evaluation:
    """A fitness that follows from the policy alone and is inherited by nobody."""
    fitness = float(np.random.default_rng(int(policy.policy_id[:8], 16)).normal())
    return Evaluation(fitness, (fitness,), {"fitness": fitness, "prompt_tokens": 1.0})


def drift_z(strategy: Strategy, claimed: Strategy, seed: int, num_generations: int) -> list[float]:
    """Each generation's drift in fitness, in standard deviations that the claimed strategy's closed form gives."""
    state, before, z = None, None, []
    seen: set[str] = set()
    for _ in range(num_generations):
        chances = None
        if state is None:
            brood = found(TASK.starting_policies)
        else:
            matings = ask(state, strategy)
            chances = mating_chances(state, matings, claimed)
            brood = vary(state, matings, strategy, seen, lambda _: True)
        seen |= {b.policy.policy_id for b in brood.births}
        state, entries = tell(state, brood, [evaluate(b.policy) for b in brood.births], strategy, seed)
        index = {name: i for i, name in enumerate(before.birth_ids)} if before else {}
        births = births_of([lineage_line(e) for e in entries], index)
        if before is not None:
            selection = generation_terms(before.with_chances(chances.probability.tolist()), births).reproduction.selection
            if selection.drift_variance[0] > 1e-18:
                z.append(float(selection.drift[0] / np.sqrt(selection.drift_variance[0])))
        before = births
    return z


def test_the_engines_drift_has_mean_zero_and_the_closed_forms_variance():
    """25 lineages of 12 generations: |mean| sqrt(n) below 4 (false alarm 6e-5) and mean square within 4 of its own errors (2e-4 with heavier tails).

    The twin claims tournaments of 3 for those of 2 and expects more than it gets.
    """
    strategy = strategy_of(CONFIG, TASK)
    z = np.array([v for seed in range(25) for v in drift_z(strategy, strategy, seed, 12)])
    assert len(z) > 200
    assert abs(z.mean()) * np.sqrt(len(z)) < 4
    assert abs((z**2).mean() - 1) < 4 * (z**2).std() / np.sqrt(len(z))
    evolution = CONFIG.evolution.model_copy(update={"parent_selection": SelectionConfig(tournament_size=3)})
    wrong = Strategy(evolution, strategy.operators, strategy.weights, strategy.materials)
    twin = np.array([v for seed in range(25) for v in drift_z(strategy, wrong, seed, 12)])
    assert twin.mean() * np.sqrt(len(twin)) < -4
