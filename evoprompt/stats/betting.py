"""Testing by betting: evidence about a mean that may be looked at after every example.

Knows numbers only.
"""

from __future__ import annotations

import numpy as np

from evoprompt.arrays import Floats

#: A bet is at most this part of the one with which a value of 0 would lose everything.
MOST_AT_STAKE = 0.9
#: Before the first value, one of 1/2 with variance 1/16 is supposed to have been seen.
SUPPOSED_MEAN, SUPPOSED_VARIANCE = 0.5, 1 / 16
#: What the sum of all values may exceed by rounding, for each value.
ROUNDING = 1e-9


def log_capital(values: Floats, num_all: int | None, null: float = 0.5, turn: int = 1) -> Floats:
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

    With `turn` > 1 bet and m are the same for so many values, and the capital changes after each
    whole turn. Valid for a random order all the same (without replacement values are negatively
    associated, so the expected product is at most that of independent ones), and also where each
    turn has one value of each of `turn` equally large groups in random order each: by independence
    and the inequality of the means E prod(1 + lambda (x_c - m)) = prod(1 + lambda (mu_c - m))
    <= (1 + lambda (mean mu_c - m))^turn <= 1. Where groups differ by one value, m is as much
    greater as that can matter.

    Args:
        values: in [0, 1], shape (..., value), in the order in which they came.
        num_all: N; None for a population without end.
        null: greatest mean by the hypothesis, in (0, 1).
        turn: how many values have one bet.

    Raises:
        ValueError: a value is outside [0, 1] or not a number, or there are more than `num_all`.

    Source: Waudby-Smith and Ramdas 2024, sections 4 and 5; Ville 1939.
    """
    x = np.asarray(values, dtype=np.float64)
    num = x.shape[-1]
    if not ((x >= 0) & (x <= 1)).all() or (num_all is not None and num > num_all):
        raise ValueError(f"log_capital: expected at most {num_all} values, all in [0, 1]")
    shape = x.shape[:-1]
    total, squares = np.zeros(shape), np.full(shape, SUPPOSED_VARIANCE)
    running, settled = np.zeros(shape), np.zeros(shape)
    bet, mean = np.zeros(shape), np.zeros(shape)
    logs = np.empty(x.shape)
    for t in range(num):
        if t % turn == 0:
            bet, mean = _bet(total, squares / (t + 1), t, num_all, null, turn)
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
    values: Floats, alpha: float = 0.05, num_all: int | None = None, turn: int = 1
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
        turn: as in `log_capital`.

    Undefined for a single competitor: None.
    """
    x = np.asarray(values, dtype=np.float64)
    competitors = len(x)
    if competitors < 2 or x.shape[1] == 0:
        return None
    ahead = (x[:, None, :] - x[None, :, :] + 1) / 2
    most = log_capital(ahead, num_all, turn=turn).max(axis=-1)
    np.fill_diagonal(most, np.inf)
    sure = np.flatnonzero((most >= np.log(competitors / alpha)).all(axis=1))
    return int(sure[0]) if len(sure) == 1 else None


def _bet(
    total: Floats, variance: Floats, seen: int, num_all: int | None, null: float, turn: int
) -> tuple[Floats, Floats]:
    """Return the next bet and the mean that it is against."""
    expected = (SUPPOSED_MEAN + total) / (seen + 1)
    mean = np.full(total.shape, null)
    if num_all is not None:
        left = num_all - seen
        mean = (num_all * null - total) / left
        expected = ((num_all * expected - total) / left).clip(0, 1)
        if left >= turn:
            mean = mean * (left / turn) / (left // turn)
    edge = expected - mean
    possible = (mean > 0) & (mean < 1)
    limit = MOST_AT_STAKE / np.where(possible, mean, 1.0)
    bet = np.where(possible, (edge / (variance + edge**2)).clip(0, limit), 0.0)
    return bet, np.where(possible, mean, 0.0)
