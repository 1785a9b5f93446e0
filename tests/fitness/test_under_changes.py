"""What changes take away from a policy, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.choices import correct
from evoprompt.fitness.under_changes import drop_of
from evoprompt.records import LabelScores


def scores(rows: list[list[float]], gold: list[int]) -> LabelScores:
    values = np.array([rows])
    ones = np.ones(values.shape, dtype=np.int64)
    ids = tuple(f"e{i}" for i in range(len(gold)))
    return LabelScores(("p",), ids, np.array(gold), values, ones, ones, ones > 0)


def judge(found: LabelScores) -> tuple[np.ndarray, np.ndarray]:
    return found.of_gold(found.log_likelihood)[0], correct(found)[0].astype(np.float64)


def as_they_are(learned: object, found: LabelScores) -> LabelScores:
    return found


def test_the_worst_change_of_each_example_counts():
    clean = scores([[-1.0, -2.0], [-3.0, -1.0]], [0, 1])
    first = scores([[-1.5, -2.0], [-3.0, -2.0]], [0, 1])
    second = scores([[-4.0, -2.0], [-3.0, -0.5]], [0, 1])
    found = drop_of(clean, [first, second], as_they_are, judge)
    # right answers: as they are -1, -1; under the worst -4 and -2: (3 + 1) / 2
    assert found.fitness == pytest.approx(2.0)
    # the first example is wrong under the second change, the second under none
    assert found.accuracy == 0.5
    # changes that help leave a drop below 0: -3.0 -> -1.0 for right answers
    assert drop_of(first, [clean], as_they_are, judge).fitness == pytest.approx(-0.75)
    with pytest.raises(ValueError, match="at least one change"):
        drop_of(clean, [], as_they_are, judge)


def test_nobody_is_judged_by_a_calibration_that_saw_its_example():
    clean = scores([[-1.0, -2.0]] * 10, [0, 1] * 5)
    asked: list[tuple[set[str], set[str]]] = []

    def apply(learned: list[LabelScores], found: LabelScores) -> LabelScores:
        asked.append(({i for s in learned for i in s.example_ids}, set(found.example_ids)))
        return found

    drop_of(clean, [clean.first(6)], apply, judge)
    assert all(not learned & judged for learned, judged in asked)
    assert all(len(learned) + len(judged) == 10 for learned, judged in asked)
    # each of the six examples once as it is and once changed
    assert sorted(i for _, judged in asked for i in judged) == sorted(
        [f"e{i}" for i in range(6)] * 2
    )


def test_what_was_measured_is_found_again_by_place():
    whole = scores([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]], [0, 1, 0])
    part = whole.at([2, 0])
    assert part.example_ids == ("e2", "e0")
    assert part.gold.tolist() == [0, 0]
    assert part.log_likelihood[0].tolist() == [[-5.0, -6.0], [-1.0, -2.0]]
