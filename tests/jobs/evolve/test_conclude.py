"""Which policy a run ends with: worked by hand, without a model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from evoprompt.fitness.base import Fitness
from evoprompt.fitness.likelihood import Sum
from evoprompt.jobs.evolve.conclude import finalists, pick_champion, validation_fitness
from evoprompt.policy import Policy
from evoprompt.records import Evaluation, LabelScores

FOUNDER, SHORT, LONG = Policy("start"), Policy("short"), Policy("long " * 10)


def scores(policy: Policy, value: float) -> LabelScores:
    """One example with one candidate of this log-likelihood."""
    one = np.ones((1, 1, 1), dtype=np.int64)
    return LabelScores(
        policy_ids=(policy.policy_id,),
        example_ids=("a",),
        gold=np.zeros(1, dtype=np.int64),
        log_likelihood=np.full((1, 1, 1), value),
        num_tokens=one,
        num_bytes=one,
        is_greedy=one > 0,
    )


def ended(fitness: dict[Policy, float], *, candidates: int, penalty: float = 0.0):
    """Return the parts and the journal of a search that found these."""
    parts = SimpleNamespace(
        fitness=Fitness("sum", Sum(), prompt_token_penalty=penalty),
        task=SimpleNamespace(given_policies=(FOUNDER,)),
        config=SimpleNamespace(final=SimpleNamespace(candidates=candidates)),
        measurer=SimpleNamespace(prompt_tokens=lambda p: len(p.instruction)),
    )
    order = sorted(fitness, key=lambda p: -fitness[p])
    evaluations = {p.policy_id: Evaluation(f, (f,), {}) for p, f in fitness.items()}
    return parts, SimpleNamespace(ranked=lambda: order, evaluations=evaluations)


def test_a_champion_worse_than_the_baseline_on_the_validation_does_not_win():
    parts, journal = ended({SHORT: -1.0, LONG: -2.0, FOUNDER: -3.0}, candidates=2)
    assert finalists(parts, journal) == [SHORT, LONG, FOUNDER]
    worse = {SHORT: -0.9, LONG: -0.8, FOUNDER: -0.7}
    validated = {p.policy_id: scores(p, v) for p, v in worse.items()}
    assert pick_champion(parts, journal, validated) == FOUNDER
    # power: had it not been there, LONG would have won
    validated[FOUNDER.policy_id] = scores(FOUNDER, -0.85)
    assert pick_champion(parts, journal, validated) == LONG


def test_a_baseline_among_the_fittest_is_validated_once():
    parts, journal = ended({FOUNDER: -1.0, SHORT: -2.0, LONG: -3.0}, candidates=2)
    assert finalists(parts, journal) == [FOUNDER, SHORT]


def test_the_champion_is_picked_with_the_penalty_of_the_search():
    found = {LONG: -1.0, SHORT: -1.1, FOUNDER: -9.0}
    validated = {p.policy_id: scores(p, v) for p, v in found.items()}
    # LONG has 50 characters and SHORT 5: -1.0 - 0.01 * 50 = -1.5, -1.1 - 0.01 * 5 = -1.15
    parts, journal = ended(found, candidates=2, penalty=0.01)
    assert validation_fitness(parts, LONG, validated[LONG.policy_id]) == -1.5
    assert pick_champion(parts, journal, validated) == SHORT
    free, journal = ended(found, candidates=2)
    assert pick_champion(free, journal, validated) == LONG
