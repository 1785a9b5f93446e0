"""Invariants: (1) the closed forms are the enumeration of every way to fill and deal the slots; (2)
slots that leave nothing to chance have no variance, to the last digit; (3) the package's own
selection varies as they say, and not as independent slots would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations, permutations, product
from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from toys.work import lines_run, most_bytes

from evoprompt.config.evolution import SelectionConfig
from evoprompt.dynamics.slots import set_total_variance, slots_variance, spaced_total_variance
from evoprompt.selection.base import Candidates
from evoprompt.selection.select import parent_probabilities, select_parents


def enumerated_variance(fillings, traits, shares, num_slots):
    """The variance of sum a x over every filling with its probability and every order in which its
    slots can be dealt.
    """
    dealt = [*shares, *[0.0] * (num_slots - len(shares))]
    outcomes = [
        (chance, sum(a * traits[i] for a, i in zip(dealt, order, strict=True)))
        for chance, drawn in fillings
        for order in permutations(drawn)
    ]
    weight, value = np.array([c for c, _ in outcomes]), np.array([v for _, v in outcomes])
    weight /= weight.sum()
    return weight @ (value - weight @ value) ** 2


def spaced_fillings(weights, num_slots):
    """Every filling by whole weights W in all: the outcome is the same for all offsets within a
    step of 1 / W, of which one point is walked to.
    """
    total = sum(weights)
    order = sorted(range(len(weights)), key=lambda i: weights[i], reverse=True)
    for step in range(total):
        drawn = []
        for slot in range(num_slots):
            point, place, upto = total * slot + step + 0.5, 0, num_slots * weights[order[0]]
            while upto < point:
                place += 1
                upto += num_slots * weights[order[place]]
            drawn.append(order[place])
        yield 1.0, drawn


def set_fillings(num_best, num_equal, num_worse, num_slots):
    """Every filling where the best come first, then equals, then the others, all of them as often
    as fits before.
    """
    size = num_best + num_equal + num_worse
    rounds, rest = divmod(num_slots, size)
    for chosen in combinations(range(num_best, num_best + num_equal), rest - num_best):
        yield 1.0, [*list(range(size)) * rounds, *range(num_best), *chosen]


def independent_fillings(probability, num_slots):
    for drawn in product(range(len(probability)), repeat=num_slots):
        yield prod(probability[i] for i in drawn), drawn


def column(traits):
    return np.asarray(traits, dtype=float)[:, None]


# By hand

Z = column([1, 2, 4])


def test_two_spaced_slots_among_three_worked_by_hand():
    # p = 1/2, 1/3, 1/6, so C = 1, 5/3, 2. The first point lies in individual 1; the second, u + 1,
    # in 2 for u <= 2/3, else in 3. T = 1 + 2 with 2/3, 1 + 4 with 1/3: variance 2^2 * 2/3 * 1/3 =
    # 8/9.
    p = np.array([1 / 2, 1 / 3, 1 / 6])
    assert spaced_total_variance(p, Z, 2) == pytest.approx(8 / 9)
    # Shares 1 and 1/2 of (1, 2), (2, 1) with 1/3 each, (1, 4), (4, 1) with 1/6 each: 2, 2.5, 3,
    # 4.5. Mean 2.75, mean square (4 + 6.25) / 3 + (9 + 20.25) / 6 = 199/24: variance 199/24 -
    # 121/16 = 35/48.
    assert slots_variance(p, Z, np.array([1.0, 0.5]), "spaced") == pytest.approx(35 / 48)


def test_a_set_of_two_of_three_with_a_tie_worked_by_hand():
    # Individual 1 is the best and 2 and 3 are equal: T = 1 + 2 or 1 + 4, variance 1.
    p = np.array([1 / 2, 1 / 4, 1 / 4])
    assert set_total_variance(p, Z, 2) == pytest.approx(1)
    # Shares 1 and 1/2: 2, 2.5, 3, 4.5 with 1/4 each: mean 3, mean square 39.5 / 4: variance 0.875.
    assert slots_variance(p, Z, np.array([1.0, 0.5]), "set") == pytest.approx(0.875)


def test_a_slot_without_a_share_worked_by_hand():
    # Each of 0, 3, 6 fills one slot, and two of the three have a share of 1: 3, 6 or 9, variance 6.
    third = np.full(3, 1 / 3)
    assert slots_variance(third, column([0, 3, 6]), np.ones(2), "set", 3) == pytest.approx(6)
    # Drawn independently they would have 2 * (0 + 9 + 36) / 3 - 2 * 9 = 12, with a third slot or
    # without.
    assert slots_variance(third, column([0, 3, 6]), np.ones(2), "independent", 3) == pytest.approx(
        12
    )


def test_a_single_slot_is_filled_alike_by_independent_and_spaced_draws():
    p = np.array([0.2, 0.5, 0.3])
    # V = (0.2 + 2 + 4.8) - 2.4^2 = 1.24, times the share 1/2 squared.
    for filling in ("independent", "spaced"):
        assert slots_variance(p, Z, np.array([0.5]), filling) == pytest.approx(0.31)


# By enumeration

traits_of = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=7))
share = st.sampled_from([1.0, 0.5, 0.25])


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    traits_of,
    st.lists(share, min_size=1, max_size=4),
    st.integers(0, 1),
)
def test_spaced_slots_are_the_enumeration_of_all_offsets_and_orders(
    weights, traits, shares, dropped
):
    num, z = len(shares) + dropped, traits[: len(weights)]
    p = np.array(weights) / sum(weights)
    slow = enumerated_variance(spaced_fillings(weights, num), z, shares, num)
    np.testing.assert_allclose(
        slots_variance(p, column(z), np.array(shares), "spaced", num), slow, atol=1e-12
    )


@st.composite
def sets(draw):
    """How many are best, equal and worse, and how many slots, at most 5, are filled so that the
    equals take what the best leave.
    """
    best, equal, worse = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    rest = best + draw(st.integers(0, equal - (worse == 0)))
    num = rest + (best + equal + worse) * draw(st.integers(0, 1))
    assume(1 <= num <= 5)
    return best, equal, worse, num


@settings(max_examples=60)
@given(sets(), traits_of, st.lists(share, min_size=5, max_size=5), st.integers(0, 1))
def test_a_set_is_the_enumeration_of_all_choices_among_equals_and_orders(
    counts, traits, shares, dropped
):
    best, equal, worse, num = counts
    size = best + equal + worse
    rounds, rest = divmod(num, size)
    p = (
        rounds
        + np.array([1.0] * best + [(rest - best) / equal] * equal + [0.0] * worse) * (rest > 0)
    ) / num
    z, own = traits[:size], shares[: max(num - dropped, 0)]
    slow = enumerated_variance(set_fillings(best, equal, worse, num), z, own, num)
    np.testing.assert_allclose(
        slots_variance(p, column(z), np.array(own), "set", num), slow, atol=1e-12
    )


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    traits_of,
    st.lists(share, min_size=1, max_size=3),
)
def test_independent_slots_are_the_enumeration_of_all_draws(weights, traits, shares):
    p, z = np.array(weights) / sum(weights), traits[: len(weights)]
    slow = enumerated_variance(independent_fillings(p, len(shares)), z, shares, len(shares))
    np.testing.assert_allclose(
        slots_variance(p, column(z), np.array(shares), "independent"), slow, atol=1e-12
    )


# What leaves nothing to chance


@pytest.mark.parametrize("size", [3, 7, 49, 10_000])
def test_equals_that_fill_as_many_slots_each_have_no_variance_at_all(size):
    p, z = np.full(size, 1 / size), column(np.random.default_rng(size).normal(size=size))
    for filling in ("spaced", "set"):
        assert slots_variance(p, z, np.full(3 * size, 0.5), filling) == 0
        assert slots_variance(p, z, np.array([1.0, 0.5]), filling, 3 * size) > 0, (
            "but who gets which share is chance"
        )


@given(traits_of, st.lists(share, min_size=1, max_size=9), st.floats(-1e3, 1e3))
def test_one_trait_for_all_has_no_variance_and_its_level_does_not_matter(traits, shares, level):
    p = np.array([7, 6, 5, 4, 3, 2, 1]) / 28
    for filling in ("independent", "spaced"):
        assert slots_variance(
            p, column(np.full(7, level)), np.array(shares), filling
        ) == pytest.approx(0, abs=1e-18)
        here, there = [
            slots_variance(p, column(z), np.array(shares), filling)
            for z in (traits, traits + level)
        ]
        np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-12)


def test_without_a_share_there_is_no_variance_and_without_a_trait_none_is_returned():
    p = np.array([0.5, 0.5])
    for filling in ("independent", "spaced", "set"):
        assert slots_variance(p, column([1, 2]), np.array([]), filling, 2) == 0
        assert slots_variance(p, np.zeros((2, 0)), np.ones(2), filling).shape == (0,)


# Against the package's own selection

POOL = np.array([-1.0, -2.0, -2.0, -2.0, -5.0, -5.0, -1.0])
TRAIT = np.array([0.3, -1.2, 0.8, 2.0, -0.4, 1.1, -0.9])
SCHEMES = [
    SelectionConfig(method="tournament"),
    SelectionConfig(method="sus"),
    SelectionConfig(method="sus", weights="boltzmann", temperature=1.0),
    SelectionConfig(method="truncation"),
    SelectionConfig(method="nsga2"),
]


def variance_z(scheme, num, *fillings, calls=1_500):
    """(observed variance - closed form) / SE for the scheme's filling, then for the others, over
    calls of the scheme.

    All slots but one are dealt at random to shares of 1 and 1/2.
    """
    pool = Candidates(POOL, POOL[:, None], np.array([9.0, 3, 5, 7, 1, 2, 8]))
    rng = np.random.default_rng(num)
    found = parent_probabilities(pool, num, scheme, rng)
    shares = np.where(np.arange(num - 1) % 3, 0.5, 1.0)
    drawn = [
        np.array(select_parents(pool, num, scheme, rng))[rng.permutation(num)[:-1]]
        for _ in range(calls)
    ]
    mean = shares.sum() * (found.probability @ TRAIT)
    squares = (np.array([shares @ TRAIT[d] for d in drawn]) - mean) ** 2
    closed = [
        slots_variance(found.probability, column(TRAIT), shares, filling, num).item()
        for filling in (found.filling, *fillings)
    ]
    return [(squares.mean() - variance) / (squares.std() / np.sqrt(calls)) for variance in closed]


@pytest.mark.parametrize("num", [5, 9])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.method}-{s.weights}")
def test_the_packages_own_selection_varies_as_its_closed_form_says(scheme, num):
    """|z| below 4.4, which has the probability 1e-5. The twin takes dependent slots for
    independent ones, and finds too little variance.
    """
    right, twin = variance_z(scheme, num, "independent")
    assert abs(right) < 4.4
    assert twin == right if scheme.method == "tournament" else twin < -4.4


def test_many_individuals_are_no_loop_and_no_table_of_pairs():
    """Ten thousand with fifty traits take 0.05 s on an idle machine. They run as many lines of
    Python as a hundred do; a table of all pairs would have 800 MB, and theirs is 4 MB per copy.
    """

    def variance(num: int) -> Callable[[], object]:
        rng = np.random.default_rng(0)
        p, z = rng.dirichlet(np.ones(num)), rng.normal(size=(num, 50))
        return partial(slots_variance, p, z, np.ones(num * 9 // 10), "spaced", num)

    assert lines_run(variance(10_000)) == lines_run(variance(100))
    assert most_bytes(variance(10_000)) < 40 * 2**20


# What is undefined


@pytest.mark.parametrize(
    ("probability", "num_shares", "filling", "num_slots", "message"),
    [
        ([0.5, 0.5], 3, "spaced", 2, "3 parents have a share"),
        ([0.7, 0.2, 0.1], 2, "set", 2, "a set leaves equals"),
        ([0.75, 0.25], 1, "set", 1, "a set leaves equals"),
        ([0.7, 0.0, 0.0], 1, "set", 1, "a set leaves equals"),
    ],
)
def test_what_cannot_be_filled_so_is_refused_with_its_reason(
    probability, num_shares, filling, num_slots, message
):
    p = np.array(probability)
    with pytest.raises(ValueError, match=message):
        slots_variance(p, column(np.arange(len(p))), np.ones(num_shares), filling, num_slots)
