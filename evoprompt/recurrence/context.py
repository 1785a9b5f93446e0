"""From a round's judged answers to its next context, many loops at once: what a loop accepts, keeps
and shows.

    answers --accept--> accepted --keep--> buffer --order--> context of K pairs

The wrong share of the context depends on how it is chosen, not on sensitivity and specificity
alone. With a_1(t), a_0(t) the probabilities that the log-odds of a right, of a wrong answer are
above t, e the error rate and n answers a round, of which so many that chance does not matter:

    accepted by threshold t:   x = e a_0(t) / [e a_0(t) + (1 - e) a_1(t)]        (the impurity h)
    accepted by share q:       the same at the t_q that solves e a_0(t) + (1 - e) a_1(t) = q
    newest or diverse pairs:   those accepted, so x
    confident pairs:           the same at the t that solves e a_0(t) + (1 - e) a_1(t) = K / n,
                               where K / n <= q
    balanced pairs:            each answer y gives an equal share: t_y solves
                               P(y, log-odds > t_y) = min(P(y, accepted), b), with b such that these
                               sum to K / n;   x = sum_y P(y, wrong, log-odds > t_y) / (K / n)

So t moves with e where a share is accepted: the same evaluator has other sensitivity and
specificity in each round. With abstention all of it is of the answers that are given.

Knows numbers. It does by whole arrays what `jobs.boost.state` does with one loop's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from evoprompt.arrays import Floats, Integers
from evoprompt.recurrence.answers import UNIQUE, Bools
from evoprompt.recurrence.imitation import CONTEXTS


@dataclass(frozen=True, slots=True)
class Rules:
    """What a loop does with judged answers."""

    threshold: float | None = None  #: accept log-odds above this; None accepts a share
    share: float = 0.5  #: of the answers given that are accepted, those of the greatest log-odds
    buffer: str = "replace"  #: a name of `imitation.CONTEXTS`
    choose: str = "newest"  #: a name of `ORDERS`
    least: int = 1  #: pairs in the buffer before the context is built again

    def __post_init__(self) -> None:
        for name, table in (("buffer", CONTEXTS), ("choose", ORDERS)):
            if getattr(self, name) not in table:
                raise ValueError(
                    f"{name} '{getattr(self, name)}' is unknown; valid are: {', '.join(table)}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of many loops, shape (loop, pair) each."""

    wrong: Bools
    log_odds: Floats
    label: Integers  #: as in `JudgedAnswers`
    entry: Integers  #: of `JudgedAnswers`
    question: Integers
    present: Bools  #: whether there is one in this place

    @classmethod
    def none(cls, num_loops: int) -> Self:
        """Return empty buffers."""
        whole = np.zeros((num_loops, 0), dtype=np.int64)
        truth = whole.astype(bool)
        return cls(truth, whole.astype(np.float64), whole, whole, whole, truth)

    def taken(self, order: Integers) -> Pairs:
        """Return the pairs in these places, shape (loop, place)."""
        return Pairs(*(np.take_along_axis(getattr(self, f), order, axis=1) for f in FIELDS))


FIELDS = ("wrong", "log_odds", "label", "entry", "question", "present")


def accepted(answers: Pairs, rules: Rules) -> Bools:
    """Return which answers are accepted, shape (loop, answer); those not present were not given."""
    if rules.threshold is not None:
        return np.asarray(answers.present & (answers.log_odds > rules.threshold), dtype=bool)
    num = np.rint(rules.share * answers.present.sum(axis=1, keepdims=True))
    return np.asarray(answers.present & (_places(_surest(answers)) < num), dtype=bool)


def kept(buffer: Pairs, answers: Pairs, rules: Rules) -> Pairs:
    """Return the buffers after a round: of a question that was accepted again only the newest
    answer stays.

    Args:
        buffer: before, oldest first, as what is returned.
        answers: of the round in their order, those present that were accepted.
        rules: of the loop.
    """
    old = replace(buffer, present=buffer.present & ~_accepted_again(buffer, answers))
    both = Pairs(
        *(np.concatenate([getattr(old, name), getattr(answers, name)], axis=1) for name in FIELDS)
    )
    from_newest = both.present[:, ::-1].cumsum(axis=1)[:, ::-1] - 1
    num = answers.present.sum(axis=1, keepdims=True)
    stays = CONTEXTS[rules.buffer].stays(from_newest, num, rules.least)
    both = replace(both, present=both.present & stays)
    most = int(both.present.sum(axis=1).max(initial=0))
    return both.taken(np.argsort(~both.present, axis=1, kind="stable")[:, :most])


def shown_wrong(
    buffer: Pairs, rules: Rules, size: int, distance: Floats | None
) -> tuple[Integers, Integers]:
    """Return how many of the pairs that the context shows are wrong, and how many it shows, `size`
    at most; shape (loop,) each.

    `distance` is that of `JudgedAnswers`.
    """
    order = ORDERS[rules.choose].order(buffer, size, distance)
    shown = buffer.present & (_places(order) < size)
    return (shown & buffer.wrong).sum(axis=1), shown.sum(axis=1)


def _accepted_again(buffer: Pairs, answers: Pairs) -> Bools:
    """Return which pairs of the buffer have a question that was accepted once more."""
    most = max(buffer.question.max(initial=-1), answers.question.max(initial=-1)) + 1
    again = np.zeros((len(buffer.wrong), int(most)), dtype=bool)
    loop, place = np.nonzero(answers.present)
    again[loop, answers.question[loop, place]] = True
    return np.take_along_axis(again, buffer.question, axis=1)


def _surest(pairs: Pairs) -> Integers:
    """Return the places of the pairs from the greatest log-odds on, of equal ones in order; those
    not present last.
    """
    return np.argsort(np.where(pairs.present, -pairs.log_odds, np.inf), axis=1, kind="stable")


def _places(order: Integers) -> Integers:
    """Return at which place of an order each pair stands."""
    places = np.empty_like(order)
    np.put_along_axis(
        places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1
    )
    return places


def _newest(pairs: Pairs, size: int, distance: Floats | None) -> Integers:
    width = pairs.present.shape[1]
    return np.argsort(np.where(pairs.present, -np.arange(width), width), axis=1)


def _confident(pairs: Pairs, size: int, distance: Floats | None) -> Integers:
    return _surest(pairs)


def _diverse(pairs: Pairs, size: int, distance: Floats | None) -> Integers:
    """The surest, then each time the one farthest from all before it, of equally far ones the
    surest; only the first `size` are in order.
    """
    order = _surest(pairs)
    if distance is None:
        return order
    ranked = pairs.taken(order)
    loop, width = np.arange(len(order)), order.shape[1]
    nearest = np.where(ranked.present, np.inf, -np.inf)
    place = np.broadcast_to(np.arange(width) + width, order.shape).copy()
    for step in range(min(size, width)):
        best = nearest.argmax(axis=1)
        left = nearest[loop, best] >= 0
        place[loop[left], best[left]] = step
        away = distance[ranked.entry, ranked.entry[loop, best][:, None]]
        nearest = np.minimum(nearest, away)
        nearest[loop, best] = -np.inf
    return np.take_along_axis(order, np.argsort(place, axis=1), axis=1)


def _balanced(pairs: Pairs, size: int, distance: Floats | None) -> Integers:
    """The surest of each answer, then the second of each, and so on; in each turn by log-odds."""
    place = _places(_surest(pairs))
    width = place.shape[1]
    label = np.where(pairs.present, pairs.label, np.iinfo(np.int64).max)
    by_label = np.lexsort((place, label), axis=1)
    ordered = np.take_along_axis(label, by_label, axis=1)
    begins = np.ones_like(ordered, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    begins |= ordered == UNIQUE
    begun = np.maximum.accumulate(np.where(begins, np.arange(width), 0), axis=1)
    turn = np.empty_like(place)
    np.put_along_axis(turn, by_label, np.arange(width) - begun, axis=1)
    return np.lexsort((place, np.where(pairs.present, turn, width)), axis=1)


@dataclass(frozen=True, slots=True)
class Order:
    """In which order pairs are offered to a context."""

    words: str  #: for what comes first
    #: (pairs, oldest first; how many are shown; the distance of `JudgedAnswers`) -> their places,
    #: those not present last; shape (loop, pair)
    order: Callable[[Pairs, int, Floats | None], Integers]


#: How each rule of `jobs.boost.state.RULES` goes for many loops. A new one is a line here, and one
#: there.
ORDERS: Mapping[str, Order] = {
    "newest": Order("the newest pairs", _newest),
    "confident": Order("the surest pairs", _confident),
    "diverse": Order("the pairs whose words differ most", _diverse),
    "balanced": Order("the surest pairs of each answer in turn", _balanced),
}
