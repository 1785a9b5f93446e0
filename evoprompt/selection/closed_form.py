"""How likely a selection scheme is to choose each individual, in closed form.

A *parent slot* is one place for one parent; p_i is the probability that individual i fills a slot
that is picked at random, so the p_i sum to 1 and the expected number of slots of i is their number
times p_i. *Survival* chooses a set; its inclusion probabilities sum to the set's size.

Higher fitness is better, and equals are treated equally. With N individuals, L_i of them are
strictly worse than i and E_i equal to it, i included. Everything is O(N log N) but
`survival_in_turn`. Knows numbers only: no configuration, no operators.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evoprompt.arrays import Floats


def tournament(fitness: Floats, size: int) -> Floats:
    """Return p_i of tournaments of `size` k that are drawn with replacement, shape (individual,).

        p_i = [((L_i + E_i) / N)^k - (L_i / N)^k] / E_i

    The first drawn of the best wins, so that equals win equally often.

    Raises:
        ValueError: no individual, a fitness that is not finite, or a size below 1.

    Source: Blickle and Thiele 1996.
    """
    worse, equal = _ranks(fitness)
    if size < 1:
        raise ValueError(f"tournament(size={size}): expected at least 1")
    n = len(worse)
    p: Floats = (((worse + equal) / n) ** size - (worse / n) ** size) / equal
    return p


def truncation(fitness: Floats, num: int) -> Floats:
    """Return p_i of one of `num` slots when the best fill them, shape (individual,).

    Where more slots are wanted than there are individuals everybody comes as often as fits, and the
    best take the rest: p_i = [num div N + survival_i(num mod N)] / num, with `truncation_survival`.

    Raises:
        ValueError: no individual, a fitness that is not finite, or no slot.
    """
    if num < 1:
        raise ValueError(f"truncation(num={num}): expected at least one slot")
    worse, _ = _ranks(fitness)
    rounds, rest = divmod(num, len(worse))
    return (rounds + truncation_survival(fitness, rest)) / num


def truncation_survival(fitness: Floats, num: int) -> Floats:
    """Return the probability to be among the best `num`, shape (individual,); it sums to `num`.

    1 above the cut, 0 below it; the E individuals that are equal to the cut share what `num` -
    #above leaves, by chance.

    Raises:
        ValueError: no individual, a fitness that is not finite, or `num` outside [0, N].
    """
    worse, equal = _ranks(fitness)
    _check_num(num, len(worse), "truncation_survival")
    above = len(worse) - worse - equal
    inclusion: Floats = np.clip((num - above) / equal, 0.0, 1.0)
    return inclusion


def proportional(weights: Floats) -> Floats:
    """Return p_i = weight_i / sum of the weights, shape (individual,).

    It holds for draws with replacement (roulette) and for stochastic universal sampling, where the
    numbers of slots are dependent and lie within one of their expectation.

    Raises:
        ValueError: no individual, or a weight that is negative or not finite, or all are zero.

    Source: Baker 1987.
    """
    values = np.asarray(weights, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise ValueError(
            "proportional: expected finite weights, none negative and not all zero; got "
            f"{_shown(values)}"
        )
    shares = values / values.max()
    p: Floats = shares / shares.sum()
    return p


def softmax(fitness: Floats, temperature: float) -> Floats:
    """Return p_i = exp(f_i / T) / sum exp(f / T), shape (individual,); T has the unit of fitness.

    Raises:
        ValueError: no individual, a fitness that is not finite, or a temperature that is not
            positive.
    """
    values = _finite(fitness)
    if not temperature > 0:
        raise ValueError(f"softmax(temperature={temperature}): expected more than 0")
    return proportional(np.exp((values - values.max()) / temperature))


def linear_ranking(fitness: Floats, pressure: float) -> Floats:
    """Return p_i of linear ranking with pressure s, shape (individual,).

    With r_i = L_i + (E_i - 1) / 2 the mid-rank, 0 for the worst:

        p_i = (2 - s) / N + 2 r_i (s - 1) / (N (N - 1))

    The best has s / N where it is alone. Tournaments of two with replacement are linear ranking
    with s = 2 - 1/N, weights in proportion to ranks from 1 to N are s = 2 - 2/(N + 1). Of a single
    individual p = 1.

    Raises:
        ValueError: no individual, a fitness that is not finite, or a pressure outside [1, 2].

    Source: Baker 1987; Blickle and Thiele 1996.
    """
    worse, equal = _ranks(fitness)
    if not 1 <= pressure <= 2:
        raise ValueError(
            f"linear_ranking(pressure={pressure}): expected from 1 (no selection) to 2"
        )
    n = len(worse)
    if n == 1:
        return np.ones(1)
    p: Floats = (2 - pressure) / n + 2 * (worse + (equal - 1) / 2) * (pressure - 1) / (n * (n - 1))
    return p


def survival_in_turn(fitness: Floats, num: int, by_rank: Callable[[int], Floats]) -> Floats:
    """Return the probability to be among `num` that are drawn one after the other and set aside,
    shape (individual,); it sums to `num`.

    It holds for every scheme that looks at ranks alone. With n left, q_n(r) the probability that
    the next draw takes the one with r worse ones left, and P_n(r) the probability that this one is
    drawn before only N - num are left:

        P_n(r) = q_n(r) + P_{n-1}(r - 1) sum_{s<r} q_n(s) + P_{n-1}(r) sum_{s>r} q_n(s), P_{N-num} =
        0

    Equals are given ranks in any order and the mean over them is taken, which is exact where they
    share their ranks' probability equally. O(N num).

    Args:
        by_rank: n -> q_n, shape (n,), the worst first; see `tournament_by_rank` and
            `rank_weight_by_rank`.

    Raises:
        ValueError: no individual, a fitness that is not finite, or `num` outside [0, N].
    """
    values = _finite(fitness)
    _check_num(num, len(values), "survival_in_turn")
    inclusion = np.zeros(len(values) - num)
    for n in range(len(values) - num + 1, len(values) + 1):
        drawn = by_rank(n)
        below = np.cumsum(drawn) - drawn
        above = np.maximum(1 - below - drawn, 0.0)
        padded = np.concatenate([[0.0], inclusion, [0.0]])
        inclusion = drawn + below * padded[:-1] + above * padded[1:]
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return (np.bincount(np.sort(group), inclusion) / size)[group]


def tournament_by_rank(size: int) -> Callable[[int], Floats]:
    """Return n -> the probability that each rank of n wins a tournament of `size` with replacement,
    the worst first.
    """

    def by_rank(n: int) -> Floats:
        return np.diff((np.arange(n + 1) / n) ** size)

    return by_rank


def rank_weight_by_rank(n: int) -> Floats:
    """Return the probability of each rank of n in proportion to the weights 1 to n, the worst
    first.
    """
    weights = np.arange(1.0, n + 1)
    shares: Floats = weights / weights.sum()
    return shares


def _ranks(fitness: Floats) -> tuple[Floats, Floats]:
    """Return L and E of each individual."""
    _, group, size = np.unique(_finite(fitness), return_inverse=True, return_counts=True)
    worse = np.cumsum(size) - size
    return worse[group].astype(np.float64), size[group].astype(np.float64)


def _finite(fitness: Floats) -> Floats:
    values = np.asarray(fitness, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            "expected finite fitness of at least one individual, shape (individual,); got "
            f"{_shown(values)}"
        )
    return values


def _check_num(num: int, size: int, name: str) -> None:
    if not 0 <= num <= size:
        raise ValueError(
            f"{name}(num={num}): expected from 0 to the {size} individuals that there are"
        )


def _shown(values: Floats) -> str:
    return f"shape {values.shape} {np.array2string(values, threshold=8)}"
