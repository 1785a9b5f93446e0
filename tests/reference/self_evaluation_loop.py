"""A self-evaluation loop answer by answer: the slow, obvious twin of the recurrence, the chain and
the forecast.
"""

from __future__ import annotations

import numpy as np


def simulate_loop(
    rng,
    num_rounds,
    buffer_size,
    error_rate,
    sensitivity,
    specificity,
    *,
    share=1.0,
    accumulate=False,
    num_queries=None,
):
    """Return the true wrong share of the context after each round, shape (loop, round), of many
    loops at once.

    An answer copies a random pair of the context with probability `share`, and is else wrong with
    `error_rate`, as it is without a context. The first `buffer_size` accepted answers of
    `num_queries` enter the buffer. Rates are numbers or arrays of shape (loop,).
    """
    e, s, c = (
        np.atleast_1d(np.asarray(rate, dtype=float))[:, None]
        for rate in (error_rate, sensitivity, specificity)
    )
    num_loops = max(len(e), len(s), len(c))
    num_queries = num_queries or 8 * buffer_size
    buffer = np.zeros((num_loops, 0), dtype=bool)
    shares = []
    for step in range(num_rounds):
        wrong = rng.random((num_loops, num_queries)) < e
        if step:
            copied = np.take_along_axis(
                buffer, rng.integers(0, buffer.shape[1], size=wrong.shape), axis=1
            )
            wrong = np.where(rng.random(wrong.shape) < share, copied, wrong)
        accepted = rng.random(wrong.shape) < np.where(wrong, 1 - c, s)
        taken = accepted & (accepted.cumsum(axis=1) <= buffer_size)
        assert (taken.sum(axis=1) == buffer_size).all(), "too few queries for a full buffer"
        newest = wrong[taken].reshape(num_loops, buffer_size)
        buffer = np.concatenate([buffer, newest], axis=1) if accumulate else newest
        shares.append(buffer.mean(axis=1))
    return np.stack(shares, axis=1)
