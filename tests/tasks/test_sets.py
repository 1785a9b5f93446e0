"""Sets of demonstrations: even in their labels, or as different as can be."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.policy import Demonstration
from evoprompt.tasks.sets import draw_set, interleaved, labels_of, most_different

OFFERS = (("x", "y", "z"),)


def pool(targets: str) -> tuple[Demonstration, ...]:
    return tuple(Demonstration(f"text {i}", target) for i, target in enumerate(targets))


def test_a_label_is_a_target_where_all_share_their_choices_and_else_nothing():
    shown = pool("xy")
    assert list(labels_of(shown, OFFERS).values()) == ["x", "y"]
    for offers in ((), (("x", "y"), ("x", "z")), (("x", "z"),)):
        assert set(labels_of(shown, offers).values()) == {""}


@given(st.text("xyz", max_size=20), st.integers(0, 12), st.integers(0, 99))
def test_a_set_has_each_label_as_often_as_the_pool_allows_and_follows_from_the_generator(
    targets, size, seed
):
    items = pool(targets)
    labels = labels_of(items, OFFERS)
    drawn = draw_set(items, size, labels, np.random.default_rng(seed))
    assert drawn == draw_set(items, size, labels, np.random.default_rng(seed))
    assert len(set(drawn)) == len(drawn) == min(size, len(items))
    assert set(drawn) <= set(items)
    counts, there = Counter(d.target for d in drawn), Counter(targets)
    most = max(counts.values(), default=0)
    assert all(counts[label] >= min(most - 1, number) for label, number in there.items())


def test_labels_come_in_turns_in_random_order():
    items = pool("xxxxyyz")
    labels = labels_of(items, OFFERS)
    orders = {
        "".join(d.target for d in interleaved(items, labels, np.random.default_rng(seed)))
        for seed in range(100)
    }
    assert {order[:3] for order in orders} == {"xyz", "xzy", "yxz", "yzx", "zxy", "zyx"}
    assert {order[3:] for order in orders} == {"xyxx", "yxxx"}


def test_the_places_that_are_left_go_to_every_label_alike():
    # a label of which there are many is no likelier to come twice than one of which there are few:
    # Binomial(300, 1/2), 150 with a standard deviation of 8.7; five are missed with p = 6e-7
    items = pool("x" * 20 + "yy")
    labels, twice = labels_of(items, OFFERS), 0
    for seed in range(300):
        drawn = draw_set(items, 3, labels, np.random.default_rng(seed))
        twice += Counter(d.target for d in drawn)["y"] == 2
    assert abs(twice - 150) < 5 * 8.7


def test_of_more_labels_than_fit_the_most_different_are_shown():
    # words shared: red-blue 1 of 3 together, with the third none, so the third comes second; then
    # "Red one" has a distance of 2/3 to "one blue", and is of the first's label
    first, near, far, same = (
        Demonstration("red one", "x"),
        Demonstration("one blue", "y"),
        Demonstration("green two", "z"),
        Demonstration("grey three", "x"),
    )
    labels = labels_of([first, near, far, same], OFFERS)
    assert most_different([first, near, far, same], 2, labels) == (first, far)
    assert most_different([first, near, same, far], 9, labels) == (first, far, near)
    for seed in range(30):
        drawn = draw_set((first, near, far, same), 2, labels, np.random.default_rng(seed))
        assert len({d.target for d in drawn}) == 2
        assert {first, near} != set(drawn)  # the two that share a word


def test_without_labels_a_set_is_any_of_the_size():
    items = pool("abc")
    sets = {draw_set(items, 2, labels_of(items, ()), np.random.default_rng(s)) for s in range(200)}
    assert sets == {(one, other) for one in items for other in items if one != other}
    assert draw_set((), 3, {}, np.random.default_rng(0)) == ()
