"""Who is born next in a run, as far as its budget goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from evoprompt.dynamics.evolvability import Gain
from evoprompt.evolution.adaptation import adapted
from evoprompt.evolution.engine import Strategy, found
from evoprompt.evolution.islands import ask, mating_chances, vary
from evoprompt.evolution.knowledge import informed
from evoprompt.evolution.racing import going_on
from evoprompt.evolution.restart import fittest, newcomers, restarted
from evoprompt.evolution.strategy_genes import mean_rates
from evoprompt.evolution.surrogate import Forecast, Surrogate, chosen, fit
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.champion import finalists, pick_baseline
from evoprompt.jobs.evolve.experience import experienced
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.jobs.evolve.record import UNSTEERED, Steering
from evoprompt.policy import Policy
from evoprompt.records import Birth, Brood, State
from evoprompt.selection.base import Expectation


@dataclass(frozen=True, slots=True)
class Bred:
    """The next brood, and how it came about."""

    brood: Brood
    #: of each member to be a parent; None where that is not known, and of founders
    chances: Expectation | None = None
    steering: Steering = UNSTEERED


def next_brood(
    parts: Parts, journal: Journal, state: State | None, numbers: Sequence[int]
) -> Bred | None:
    """Return the next brood; the founders have no parents. Where the budget has no room for as many
    children as are configured, there are half as many, and so on; None where there is no room for
    one.
    """
    ledger, children = journal.ledger, parts.config.evolution.children
    if state is None:
        return Bred(found(parts.task.starting_policies))
    if journal.has_stagnated(parts.config.evolution.restart.patience):
        brood = _restarted(parts, journal, state, numbers[-1])
        if brood is not None:
            return Bred(brood)
    if parts.author is not None:
        parts.author.allow(left_of(parts, journal))
    strategy = informed(parts.strategy, journal.compared)
    strategy = experienced(strategy, parts, journal, state)
    strategy = adapted(strategy, journal.history.gains, partial(_first_tokens, parts, journal))
    surrogate = _fitted(parts, journal)
    while children:
        with ledger.timed("evolution" if parts.author is None else "variation"):
            bred = _bred(parts, journal, state, strategy, surrogate, children)
        if parts.author is not None:
            ledger.count("variation", parts.author.take_count())
        if _affords(parts, journal, journal.unscored(bred.brood), numbers):
            return bred
        children //= 2
    return None


def left_of(parts: Parts, journal: Journal, new: Sequence[Policy] = ()) -> int | None:
    """Return what the budget leaves to the search, where new policies may become finalists."""
    pool, baseline = [*finalists(parts, journal), *new], pick_baseline(parts, journal)
    return parts.costs.left(journal.ledger, pool, baseline, journal.longest_prompt)


def _bred(
    parts: Parts,
    journal: Journal,
    state: State,
    strategy: Strategy,
    surrogate: Surrogate | None,
    children: int,
) -> Bred:
    """Return a brood of so many children. Where a surrogate chooses them, nobody's chance to be a
    parent is known.
    """
    config = strategy.config
    chooses = surrogate is not None and surrogate.r_squared > config.surrogate.least_r2
    proposed = children * config.surrogate.pool if chooses else children
    matings = ask(state, strategy, proposed)
    pick = None
    if surrogate is not None and chooses:
        pick = _picker(surrogate, journal, state, children)
    brood = vary(state, matings, strategy, journal.measured, parts.costs.fits, pick)
    chances = None if chooses else mating_chances(state, matings, strategy)
    rates = _rates(state, strategy)
    r_squared = None if surrogate is None else surrogate.r_squared
    forecast = Forecast(r_squared, chooses, proposed) if config.surrogate.pool > 1 else None
    return Bred(brood, chances, Steering(rates, forecast))


def _rates(state: State, strategy: Strategy) -> Mapping[str, float] | None:
    """Return by which rates operators are drawn, where these adapt; in the mean of the members
    where each has its own.
    """
    adaptation = strategy.config.adaptation
    if adaptation.method == "off":
        return None
    if adaptation.method != "inherited":
        return strategy.weights
    return mean_rates([m.birth for m in state.members], strategy.weights, adaptation.floor)


def _restarted(parts: Parts, journal: Journal, state: State, num: int) -> Brood | None:
    """Return the brood of a restart, measured on `num` examples; None where the budget has no room
    for it, or nothing else was scored.
    """
    kept, scored = fittest(state).birth.policy, journal.compared()
    others = [m.birth.policy for m in state.members if m.birth.policy != kept]
    policies = newcomers([kept, *others], scored, parts.config.evolution.population - 1)
    lacking = (p for p in policies if journal.num_measured(p) < num)
    cost = sum(parts.costs.of([p], (num,), begin=journal.num_measured(p)) for p in lacking)
    left = left_of(parts, journal)
    return restarted(state, policies) if policies and (left is None or cost <= left) else None


def _picker(
    surrogate: Surrogate, journal: Journal, state: State, count: int
) -> Callable[[Sequence[Birth]], list[int]]:
    """Return what chooses so many of proposed children of a state."""
    worth = journal.compared()
    known = {m.birth.birth_id: worth[m.birth.policy] for m in state.members}

    def pick(children: Sequence[Birth]) -> list[int]:
        parental = [max(known[name] for name in child.parent_ids) for child in children]
        return chosen(surrogate, children, parental, count)

    return pick


def _fitted(parts: Parts, journal: Journal) -> Surrogate | None:
    """Return what predicts the fitness of children, where that is asked for and enough is known."""
    if parts.config.evolution.surrogate.pool == 1:
        return None
    labels = parts.task.choices or ()
    births = [birth for brood in journal.history.gains for birth in brood]
    return fit(journal.compared(), births, labels)


def _first_tokens(parts: Parts, journal: Journal, birth: Gain) -> int:
    """Return what the first measurement of a birth takes, tokens."""
    num = birth.examples or len(parts.task.fitness)
    return parts.costs.of([journal.policies[birth.policy_id]], (num,))


def _affords(parts: Parts, journal: Journal, new: Sequence[Policy], numbers: Sequence[int]) -> bool:
    """Return whether the budget has room for new policies, and for all that comes after."""
    left, known = left_of(parts, journal, new), journal.policies.values()
    if left is None:
        return True
    further = partial(going_on, parts.config.evolution.racing)
    return left >= parts.costs.of(new, numbers, further=further, before=known)
