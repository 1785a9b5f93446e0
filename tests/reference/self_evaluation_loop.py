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
    `num_queries` are the buffer; where it accumulates, all that were ever accepted are. Rates are
    numbers or arrays of shape (loop,).
    """
    e, s, c = (
        np.atleast_1d(np.asarray(rate, dtype=float))[:, None]
        for rate in (error_rate, sensitivity, specificity)
    )
    num_loops = max(len(e), len(s), len(c))
    num_queries = num_queries or 8 * buffer_size
    buffer = held = np.zeros((num_loops, 0), dtype=bool)
    shares = []
    for step in range(num_rounds):
        wrong = rng.random((num_loops, num_queries)) < e
        if step:
            first = np.argsort(~held, axis=1, kind="stable")
            place = (rng.random(wrong.shape) * held.sum(axis=1, keepdims=True)).astype(int)
            copied = np.take_along_axis(np.take_along_axis(buffer, first, axis=1), place, axis=1)
            wrong = np.where(rng.random(wrong.shape) < share, copied, wrong)
        accepted = rng.random(wrong.shape) < np.where(wrong, 1 - c, s)
        if accumulate:
            buffer = np.concatenate([buffer, wrong], axis=1)
            held = np.concatenate([held, accepted], axis=1)
        else:
            held = accepted & (accepted.cumsum(axis=1) <= buffer_size)
            assert (held.sum(axis=1) == buffer_size).all(), "too few queries for a full buffer"
            buffer = wrong
        shares.append((buffer & held).sum(axis=1) / held.sum(axis=1))
    return np.stack(shares, axis=1)
