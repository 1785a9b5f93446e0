"""The store never holds more than its limit, gives back what was put in, and lets go of the right
things first.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evoprompt.scoring.prefix_store import PrefixStore

segment = st.sampled_from([(1, 2), (1, 3), (4,)])
paths = st.lists(segment, min_size=1, max_size=4)


def fill(store: PrefixStore, path) -> None:
    """Add what a scoring call would: the segments that the store has not."""
    for known in range(len(store.match(path)), len(path)):
        store.add(path[: known + 1], tuple(path[: known + 1]), 10)


@given(st.lists(paths, max_size=30), st.integers(0, 80))
def test_payloads_are_those_of_their_path_and_the_limit_holds(calls, limit):
    store = PrefixStore(limit)
    for path in calls:
        found = store.match(path)
        assert found == [tuple(path[: i + 1]) for i in range(len(found))]
        fill(store, path)
        assert store.num_bytes <= limit
    store.clear()
    assert (store.num_bytes, store.match([(4,)])) == (0, [])


@given(st.lists(paths, max_size=30))
def test_with_room_for_all_nothing_is_forgotten(calls):
    store = PrefixStore(10**6)
    for path in calls:
        fill(store, path)
    assert all(len(store.match(path)) == len(path) for path in calls)
    assert store.num_bytes == 10 * len(
        {tuple(path[: i + 1]) for path in calls for i in range(len(path))}
    )


def test_leaves_go_before_what_they_hang_from_and_the_longest_unused_first():
    store = PrefixStore(40)
    fill(store, [(1,), (2,)])
    fill(store, [(1,), (3,)])
    fill(store, [(4,)])
    fill(store, [(5,)])  # one too many: (1,) (2,) is the leaf that was unused for longest
    assert [len(store.match([(1,), s])) for s in ((2,), (3,))] == [1, 2]
    assert len(store.match([(4,)])) == 1


def test_pinned_prompts_stay_while_there_is_another_to_drop():
    store = PrefixStore(30)
    fill(store, [(1, 2), (3,)])
    store.pin([(1, 2, 3, 9, 9)])
    fill(store, [(4,)])
    fill(store, [(5,)])
    assert len(store.match([(1, 2), (3,)])) == 2
    assert store.match([(4,)]) == []
    store.pin([])
    for n in range(6, 9):
        fill(store, [(n,)])
    assert store.match([(1, 2), (3,)]) == [], "what is no longer pinned goes like anything else"


def test_a_segment_without_its_beginning_is_not_kept():
    store = PrefixStore(100)
    store.add([(1,), (2,)], "payload", 10)
    assert store.num_bytes == 0
