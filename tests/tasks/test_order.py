"""The order of examples in which every beginning stands for the whole."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from evoprompt.records import Example
from evoprompt.tasks.order import in_order


def examples(**counts: int) -> list[Example]:
    labels = tuple(counts)
    return [
        Example(f"{label}{i}", f"{label} {i}", label, labels)
        for label, num in counts.items()
        for i in range(num)
    ]


def test_every_beginning_has_the_labels_in_proportion():
    for seed in range(5):
        found = in_order(examples(no=8, yes=32), seed)
        assert sorted(e.example_id for e in found) == sorted(
            e.example_id for e in examples(no=8, yes=32)
        )
        for m in range(1, 41):
            shown = Counter(e.target for e in found[:m])
            # of m examples a fifth is "no", to within one
            assert abs(shown["no"] - m / 5) <= 1


def test_balanced_labels_come_in_turns():
    found = in_order(examples(a=4, b=4, c=4), 3)
    for turn in range(4):
        assert {e.target for e in found[3 * turn : 3 * turn + 3]} == {"a", "b", "c"}


def test_the_seed_draws_the_order():
    given = examples(a=8, b=8)
    assert in_order(given, 1) == in_order(list(given), 1)
    assert in_order(given, 1) != in_order(given, 2)
    assert in_order(given, 1) != tuple(given)


def test_examples_without_shared_choices_are_only_shuffled():
    free = [Example(str(i), str(i), str(i % 2)) for i in range(30)]
    found = in_order(free, 0)
    assert set(found) == set(free)
    # power: targets are not dealt in turns
    assert any(a.target == b.target for a, b in pairwise(found))
