"""Testing by betting: evidence about a mean that may be looked at after every example.

Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprompt.arrays import Floats

Groups = Sequence[int] | Sequence[str] | None
#: Where a group is rare, there are still so many turns, and the bets are the more careful.
FEWEST_TURNS = 4
#: A bet is at most this part of the one with which a value of 0 would lose everything.
MOST_AT_STAKE = 0.9
#: Before the first value, one of 1/2 with variance 1/16 is supposed to have been seen.
SUPPOSED_MEAN, SUPPOSED_VARIANCE = 0.5, 1 / 16
#: What the sum of all values may exceed by rounding, for each value.
ROUNDING = 1e-9


def log_capital(
    values: Floats, num_all: int | None, null: float = 0.5, groups: Groups = None
) -> Floats:
    """Return the log of the capital of a gambler who bets that the mean of all values is above
    `null`, after each of the first ones, shape (..., value), nats.

    Under the hypothesis that the mean of all `num_all` values, of which the given ones are the
    first in a random order, is at most `null`, the chance that the capital *ever* reaches
    1/alpha is at most alpha: it may be looked at after each value, and one may stop whenever one
    likes. Per value x_t, t = 1, ..., with S the sum of those before:

        K_t = K_{t-1} (1 + lambda_t (x_t - m_t)),  m_t = (N null - S) / (N - t + 1)
        lambda_t = clip(D / (v + D^2), 0, 9/10 / m_t),  D = r - m_t

    m_t is the greatest mean that those to come can have by the hypothesis. r is what they are
    expected to have, clip((N u - S) / (N - t + 1), 0, 1), and v the variance, both by the past
    alone: u and v are means over it and one supposed value of 1/2 and variance 1/16. Where m_t
    is 1 or more nothing is bet. The log is infinite from where the hypothesis is impossible (S > N
    null), so with all values seen the answer is the exact one. Without `num_all` the values are
    drawn from a population without end: m_t = null and r = u.

    With `groups` the order is random within each group alone, and which group has which place is
    fixed. Then bet and m are the same for the b values of a turn, and the capital changes after
    each whole turn. With b_c of group c in the turn, R_c of the R to come in it, and M_c their
    means,

        E prod (1 + lambda (x - m)) <= prod (1 + lambda (M_c - m))^b_c
                                    <= (1 + lambda (sum_c b_c/b M_c - m))^b <= 1

    for m = m_t max_c (b_c/b) / (R_c/R): values without replacement are negatively associated,
    groups are independent, and the geometric mean is at most the arithmetic one.

    Args:
        values: in [0, 1], shape (..., value), in the order in which they came.
        num_all: N; None for a population without end.
        null: greatest mean by the hypothesis, in (0, 1).
        groups: of each of the `num_all` in their order, or of the given ones where there is no
            end (then the population has them in the same shares); None is one group.

    Raises:
        ValueError: a value is outside [0, 1] or not a number, there are more than `num_all`, or
            groups of another number.

    Source: Waudby-Smith and Ramdas 2024, sections 4 and 5; Ville 1939.
    """
    x = np.asarray(values, dtype=np.float64)
    num = x.shape[-1]
    if not ((x >= 0) & (x <= 1)).all() or (num_all is not None and num > num_all):
        raise ValueError(f"log_capital: expected at most {num_all} values, all in [0, 1]")
    turn, stricter = _turns(groups, num if num_all is None else num_all, num_all is None)
    shape = x.shape[:-1]
    total, squares = np.zeros(shape), np.full(shape, SUPPOSED_VARIANCE)
    running, settled = np.zeros(shape), np.zeros(shape)
    bet, mean = np.zeros(shape), np.zeros(shape)
    logs = np.empty(x.shape)
    for t in range(num):
        if t % turn == 0:
            bet, mean = _bet(total, squares / (t + 1), t, num_all, null, stricter[t // turn])
        running = running + np.log1p(bet * (x[..., t] - mean))
        total = total + x[..., t]
        squares = squares + (x[..., t] - (SUPPOSED_MEAN + total) / (t + 2)) ** 2
        if (t + 1) % turn == 0:
            settled = running
        if num_all is not None:
            impossible = total > num_all * null + ROUNDING * num_all
            running, settled = (np.where(impossible, np.inf, k) for k in (running, settled))
        logs[..., t] = settled
    return logs


def certified_winner(
    values: Floats, alpha: float = 0.05, num_all: int | None = None, groups: Groups = None
) -> int | None:
    """Return the index of the one whose mean is above that of every other, or None where that is
    not certain enough.

    The chance to name one that is not above every other is at most alpha, whenever it is asked: for
    each that could be named wrongly one comparison must fail, so each of K has alpha / K.

    Args:
        values: in [0, 1], shape (competitor, value), all on the same examples in random order.
        alpha: of all comparisons together.
        num_all: how many examples the claim is about, of which these are the first; with all of
            them seen the answer is the exact one. None: all examples of which these are a sample.
        groups: as in `log_capital`.

    Undefined for a single competitor: None.
    """
    x = np.asarray(values, dtype=np.float64)
    competitors = len(x)
    if competitors < 2 or x.shape[1] == 0:
        return None
    ahead = (x[:, None, :] - x[None, :, :] + 1) / 2
    most = log_capital(ahead, num_all, groups=groups).max(axis=-1)
    np.fill_diagonal(most, np.inf)
    sure = np.flatnonzero((most >= np.log(competitors / alpha)).all(axis=1))
    return int(sure[0]) if len(sure) == 1 else None


def _turns(groups: Groups, num: int, endless: bool) -> tuple[int, Floats]:
    """Return in how many values all groups have their turn, and by how much the mean that is bet
    against is greater in each turn.
    """
    if groups is None:
        return 1, np.ones(num)
    names, of = np.unique(np.array(list(groups)), return_inverse=True)
    if len(of) != num:
        raise ValueError(f"log_capital: expected the groups of {num} values, given {len(of)}")
    sizes = np.bincount(of)
    turn = min(round(num / sizes.min()), max(len(names), num // FEWEST_TURNS))
    stricter = []
    for begin in range(0, num, turn):
        here = np.bincount(of[begin : begin + turn], minlength=len(names))
        left = sizes if endless else np.bincount(of[begin:], minlength=len(names))
        share = here[here > 0] / here.sum()
        stricter.append((share / (left[here > 0] / left.sum())).max())
    return turn, np.array(stricter)


def _bet(
    total: Floats, variance: Floats, seen: int, num_all: int | None, null: float, stricter: float
) -> tuple[Floats, Floats]:
    """Return the next bet and the mean that it is against."""
    expected = (SUPPOSED_MEAN + total) / (seen + 1)
    mean = np.full(total.shape, null)
    if num_all is not None:
        left = num_all - seen
        mean = (num_all * null - total) / left
        expected = ((num_all * expected - total) / left).clip(0, 1)
    mean = mean * stricter
    edge = expected - mean
    possible = (mean > 0) & (mean < 1)
    limit = MOST_AT_STAKE / np.where(possible, mean, 1.0)
    bet = np.where(possible, (edge / (variance + edge**2)).clip(0, limit), 0.0)
    return bet, np.where(possible, mean, 0.0)
