"""From which regions examples are drawn: weights that rewards move, and how far the game of
policies against regions is from its equilibrium. Pure.

A reward of a region is its regret, from -1 to 1: how much better the other population does there.
Hedge is told the rewards of all regions; EXP3 those of the regions that were drawn, each divided by
the chance that it had, so that in the mean nothing is missing. Over T rounds of n regions no single
region's sum of rewards is greater than what the weights collect by more than

    Hedge   span sqrt(T ln n / 2)
    EXP3    span 2 sqrt(e - 1) sqrt(T n ln n), in the mean over draws

with span the width of a reward's range, whatever the rewards are and whoever chooses them.

Source: Dennis et al. 2020 (regret); Freund and Schapire 1997 (Hedge, with Hoeffding's constant);
Auer, Cesa-Bianchi, Freund and Schapire 2002 (EXP3).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log, sqrt

import numpy as np
from scipy.optimize import linprog

from evoprompt.arrays import Floats, Integers

#: The width of the range of a regret between two probabilities.
SPAN = 2.0


def hedge_rate(num: int, rounds: int, span: float = SPAN) -> float:
    """Return by how much a unit of reward moves a log-weight, as Hedge's bound has it.

    Args:
        num: of regions.
        rounds: that are planned.
        span: the width of the range of a reward.
    """
    return sqrt(8 * log(num) / rounds) / span


def exploration_share(num: int, draws: int) -> float:
    """Return the share of EXP3's draws that go to all regions alike, as its bound has it.

    Args:
        num: of regions.
        draws: that are planned in all rounds.
    """
    return min(1.0, sqrt(num * log(num) / ((e - 1) * draws)))


def hedge_bound(num: int, rounds: int, span: float = SPAN) -> float:
    """Return the most that the best region's rewards exceed those collected by Hedge at its
    rate.
    """
    return span * sqrt(rounds * log(num) / 2)


def exp3_bound(num: int, draws: int, span: float = SPAN) -> float:
    """Return the same of EXP3 with one draw a round, in the mean over its draws."""
    return span * 2 * sqrt(e - 1) * sqrt(draws * num * log(num))


def weights_of(totals: Floats, rate: float, exploration: float = 0.0) -> Floats:
    """Return the weights of regions, shape (region,), which sum to 1.

    Args:
        totals: rewards of all rounds, summed or so estimated, shape (region,).
        rate: by how much a unit of reward moves a log-weight.
        exploration: the share that goes to all regions alike.
    """
    raised = np.exp(rate * (totals - totals.max()))
    return np.asarray((1 - exploration) * raised / raised.sum() + exploration / len(totals))


def importance_weighted(rewards: Floats, counts: Integers, weights: Floats) -> Floats:
    """Return estimates of all regions' rewards from those that were drawn; their mean over draws is
    the rewards times the number of draws. All have the shape (region,).

    Args:
        rewards: of a region that was drawn, from 0 to 1; of others whatever it is.
        counts: how often each was drawn.
        weights: the chances that they had.
    """
    drawn = counts > 0
    return np.where(drawn, np.where(drawn, rewards, 0.0) * counts / weights, 0.0)


def entropy(weights: Floats) -> float:
    """Return the entropy of weights over that of equal ones: 1 where all are equal, 0 where one has
    all.
    """
    some = weights[weights > 0]
    return float(-(some * np.log(some)).sum() / log(len(weights)))


@dataclass(frozen=True, slots=True)
class Game:
    """Where frozen policies stand against frozen weights, in units of the utility."""

    worst: float  #: the most regret that the mixture of policies has in a region
    best: float  #: the least regret that a policy has under the weights of regions
    minimax: float  #: what both are at the equilibrium: the least regret a mixture can promise

    @property
    def gap(self) -> float:
        """The duality gap: 0 at an equilibrium, greater elsewhere."""
        return self.worst - self.best


def game(regret: Floats, policies: Floats, regions: Floats) -> Game:
    """Return where a mixture of policies, which want little regret, stands against weights of
    regions, which want much. It says nothing of policies that are not there.

    Args:
        regret: shape (policy, region).
        policies: weights of the mixture, which sum to 1.
        regions: weights of the regions, which sum to 1.
    """
    worst = float((policies @ regret).max())
    return Game(worst, float((regret @ regions).min()), minimax_regret(regret))


def minimax_regret(regret: Floats) -> float:
    """Return the value of the zero-sum game of a regret, shape (policy, region): the least regret
    that a mixture of these policies has in its worst region.
    """
    num, regions = regret.shape
    found = linprog(
        [*[0.0] * num, 1.0],
        A_ub=np.column_stack([regret.T, -np.ones(regions)]),
        b_ub=np.zeros(regions),
        A_eq=[[*[1.0] * num, 0.0]],
        b_eq=[1.0],
        bounds=[*[(0, None)] * num, (None, None)],
    )
    return float(found.x[-1])
