"""Three uses of a bonus on a stand-in for a model: what counts is a cliff that a search does not
see before it is over it, and the bonus a slope that leads there. A bonus that leads away is no
help, and one that all share changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from evoprompt.config.evolution import (
    EvolutionConfig,
    RacingConfig,
    SelectionConfig,
    ShapingConfig,
)
from evoprompt.evolution.engine import Strategy, ask, found, tell, vary
from evoprompt.evolution.schedule import bonus_at
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Evaluation, Materials
from evoprompt.variation.catalog import OPERATORS

POOL = tuple(Demonstration(f"{i}", "x") for i in range(16))
#: Demonstrations of which all but one have to be shown.
NEEDED = POOL[:5]
GENERATIONS, SEEDS = 12, 20
#: The operators that add a demonstration, or put one in another's place.
DRAWN = ("demonstration_add", "demonstration_swap")
LEXICASE = {
    name: SelectionConfig(method="epsilon_lexicase")
    for name in ("parent_selection", "survival_selection")
}


def toward(policy: Policy) -> tuple[float, ...]:
    return tuple(0.0 if d in policy.demonstrations else -1.0 for d in NEEDED)


def away(policy: Policy) -> tuple[float, ...]:
    return tuple(-1.0 - value for value in toward(policy))


def shared(policy: Policy) -> tuple[float, ...]:
    return (-0.5,) * len(NEEDED)


def is_over(policy: Policy) -> bool:
    return sum(toward(policy)) >= -1


def evaluated(policy: Policy, bonus: Callable[[Policy], tuple[float, ...]]) -> Evaluation:
    fitness = 0.0 if is_over(policy) else -1.0
    traits = {"fitness": fitness, "prompt_tokens": float(len(policy.demonstrations))}
    cases = (fitness,) * len(NEEDED)
    return Evaluation(fitness, cases, traits, len(cases), case_bonus=bonus(policy))


def searched(
    seed: int,
    shaping: ShapingConfig,
    bonus: Callable[[Policy], tuple[float, ...]] = toward,
    patience: int = GENERATIONS,
    **selection: SelectionConfig,
) -> tuple[bool, tuple[str, ...]]:
    """Return whether any policy is over the cliff, and the last population."""
    config = EvolutionConfig(
        population=2,
        children=3,
        max_demonstrations=6,
        racing=RacingConfig(method="off"),
        **selection,
    )
    operators = {o.name: o for o, _ in OPERATORS if o.name in DRAWN}
    materials = Materials(demonstrations=POOL, max_demonstrations=6)
    plain = Strategy(config, operators, dict.fromkeys(operators, 1.0), materials)
    state, seen, over, still = None, set(), False, 0
    for generation in range(GENERATIONS + 1):
        weight = bonus_at(generation / GENERATIONS, shaping)
        strategy = replace(plain, bonus=weight)
        if state is None:
            brood = found([Policy("A.", POOL[-6:]), Policy("B.", POOL[-7:-1])])
        else:
            brood = vary(state, ask(state, strategy), strategy, set(seen), lambda _: True)
        seen |= {b.policy.policy_id for b in brood.births}
        found_now = [evaluated(b.policy, bonus) for b in brood.births]
        gained = not over and any(e.fitness == 0 for e in found_now)
        over, still = over or gained, 0 if gained else still + 1
        state, _ = tell(state, brood, found_now, strategy, seed)
        if over and still > patience:
            break
    assert state is not None
    return over, tuple(m.birth.policy.policy_id for m in state.members)


def successes(*args, **settings) -> int:
    return sum(searched(seed, *args, **settings)[0] for seed in range(SEEDS))


@cache
def without() -> int:
    return successes(NONE)


NONE, STAYS = ShapingConfig(), ShapingConfig(weight=1.0)
FALLS = ShapingConfig(weight=1.0, until=0.8)


@pytest.mark.parametrize(
    ("shaping", "settings"),
    [(FALLS, {}), (STAYS, {"patience": 2}), (STAYS, LEXICASE)],
    ids=["annealing", "early stopping", "stage by stage"],
)
def test_a_slope_leads_over_a_cliff_in_each_of_three_ways(shaping, settings):
    """Of 20 and 20 with one chance p, where p (1 - p) is at most 1/4, a difference of 10 is 3.2
    standard deviations or more: a false alarm has a probability of 0.001 at most.
    """
    assert successes(shaping, **settings) >= without() + 10


def test_a_slope_that_leads_away_is_no_help():
    assert successes(FALLS, away) <= without()


def test_a_bonus_that_all_share_changes_nothing():
    for seed in range(5):
        assert searched(seed, STAYS, shared) == searched(seed, NONE)
