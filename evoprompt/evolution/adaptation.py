"""Operators drawn by what they gained per token in the run so far: adaptive operator selection.
Pure.

    gains of all births --> credit of each operator --> rates

Nothing is kept beside the lineage: the rates of a generation follow from the births before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import exp, log

from evoprompt.config.evolution import AdaptationConfig
from evoprompt.dynamics.evolvability import Gain
from evoprompt.evolution.engine import Strategy

#: Births of every operator that gained as all did together, which are counted before its first.
PRIOR_BIRTHS = 4.0
#: What a birth counts a generation later: what pays at first may not pay later.
MEMORY = 0.9
#: Of `pursuit`: by which share the rates go to the best operator in each generation.
PURSUIT = 0.3


#: Generations that rates look back: of a birth before them less than a billionth counts.
LOOKED_BACK = 200
#: Methods whose rates follow from what births gained.
RATES = ("matching", "pursuit")


#: A birth -> what it took to know what it gained, tokens.
Cost = Callable[[Gain], float]


def adapted(strategy: Strategy, broods: Collection[Sequence[Gain]], cost: Cost) -> Strategy:
    """Return a strategy that draws operators by their rates in the next generation; the same where
    they do not adapt, or each policy has rates of its own.

    Args:
        strategy: with the weights as they were given.
        broods: as of `operator_rates`; the last `LOOKED_BACK` count.
        cost: asked only where rates adapt.
    """
    adaptation = strategy.config.adaptation
    if adaptation.method not in RATES:
        return strategy
    recent = list(broods)[-LOOKED_BACK:]
    return replace(strategy, weights=operator_rates(adaptation, strategy.weights, recent, cost))


def operator_rates(
    config: AdaptationConfig,
    weights: Mapping[str, float],
    broods: Sequence[Sequence[Gain]],
    cost: Cost,
) -> dict[str, float]:
    """Return the probability of each operator to be drawn in the next generation; they sum to 1.

    With p the given weights as shares, q the credit (`credit_per_token`) and f the floor,

        off         p
        matching    f p + (1 - f) p q / sum p q
        pursuit     r + PURSUIT (target - r), generation after generation from r = p on; the target
                    is f p, and 1 - f more for the operator of the greatest q

    Before anything is gained the rates are p. What an operator gains beside its own first edit, and
    what a model writes for it, is not told apart.

    Args:
        config: how they adapt.
        weights: of the operators that are drawn, positive, in any unit.
        broods: by generation, in order, what all births gained, whether they survived or not;
            those by other operators are passed over.
        cost: of each.

    Source: Goldberg 1990 (probability matching); Thierens 2005 (adaptive pursuit). Fialho 2010
    compares them, and what credit may be.
    """
    total = sum(weights.values())
    prior = {name: weight / total for name, weight in weights.items()}
    if config.method == "off":
        return prior
    if config.method == "matching":
        return _mixed(prior, _matched(prior, broods, cost), config.floor)
    rates = prior
    for end in range(1, len(broods) + 1):
        credit = credit_per_token(list(prior), broods[:end], cost)
        best = max(credit, key=lambda name: credit[name])  # the first of those that tie
        if credit[best] == 0:
            continue
        target = _mixed(prior, {n: float(n == best) for n in prior}, config.floor)
        rates = {n: r + PURSUIT * (target[n] - r) for n, r in rates.items()}
    return rates


def credit_per_token(
    names: Sequence[str], broods: Sequence[Sequence[Gain]], cost: Cost
) -> dict[str, float]:
    """Return what each operator gained per token: units of fitness per token.

        q = (PRIOR_BIRTHS g + sum w max(gain, 0)) / (PRIOR_BIRTHS t + sum w tokens)

    The sums are over its births, w = MEMORY ** (generations ago), and g and t the weighted means of
    max(gain, 0) and of tokens over all births. A loss counts as nothing: a child that is worse than
    its parents is not selected. 0 where nothing was gained, or nothing was born.
    """
    known = set(names)
    weighted = [
        (MEMORY ** (len(broods) - 1 - age), each)
        for age, brood in enumerate(broods)
        for each in brood
        if each.operator in known
    ]
    births = sum(w for w, _ in weighted)
    if not births:
        return dict.fromkeys(names, 0.0)
    mean_gain = sum(w * max(each.gain, 0.0) for w, each in weighted) / births
    mean_tokens = sum(w * cost(each) for w, each in weighted) / births
    gained = dict.fromkeys(names, PRIOR_BIRTHS * mean_gain)
    spent = dict.fromkeys(names, PRIOR_BIRTHS * mean_tokens)
    for w, each in weighted:
        gained[each.operator] += w * max(each.gain, 0.0)
        spent[each.operator] += w * cost(each)
    return {name: gained[name] / spent[name] if spent[name] else 0.0 for name in names}


def effective_number(rates: Mapping[str, float]) -> float:
    """Return by how many operators children are made, as it were: e to the entropy of the rates."""
    return exp(-sum(rate * log(rate) for rate in rates.values() if rate > 0))


def _matched(
    prior: Mapping[str, float], broods: Sequence[Sequence[Gain]], cost: Cost
) -> Mapping[str, float]:
    """Return p q / sum p q; p where nothing was gained."""
    credit = credit_per_token(list(prior), broods, cost)
    total = sum(prior[name] * credit[name] for name in prior)
    return {n: prior[n] * credit[n] / total for n in prior} if total > 0 else prior


def _mixed(
    prior: Mapping[str, float], target: Mapping[str, float], floor: float
) -> dict[str, float]:
    return {name: floor * prior[name] + (1 - floor) * target[name] for name in prior}
