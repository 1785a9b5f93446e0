"""The archive of kinds, and the population that begins again from it."""

from __future__ import annotations

import numpy as np
import pytest

from evoprompt.evolution.archive import archive, cell_of, is_stuck, restart
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Evaluation

SHOWN = Demonstration("an input", "yes")


def policy(name: str, shown: int = 0, words: tuple[tuple[str, str], ...] = ()) -> Policy:
    return Policy(instruction=name, demonstrations=(SHOWN,) * shown, label_words=words)


def worth(fitness: float, examples: int = 16) -> Evaluation:
    return Evaluation(fitness, (), {}, examples)


def test_a_kind_is_how_many_are_shown_and_which_words_stand_for_the_choices():
    words = (("yes", "true"),)
    assert cell_of(policy("a", 2, words)) == (2, words) == cell_of(policy("b", 2, words))
    assert cell_of(policy("a", 2)) != cell_of(policy("a", 2, words)) != cell_of(policy("a", 1))


def test_the_best_of_each_kind_is_kept():
    a, b, c, d = policy("a"), policy("b"), policy("c", 1), policy("d", 1)
    scored = [(a, worth(0.2)), (b, worth(0.3)), (c, worth(0.1)), (d, worth(0.1))]
    kept = [found for found, _ in archive(scored).values()]
    assert kept == [b, c], "of those that tie the first"


def test_what_met_more_examples_goes_before_luck_on_few():
    lucky, proven = policy("lucky"), policy("proven")
    for scored in (
        [(lucky, worth(0.9, 8)), (proven, worth(0.3, 64))],
        [(proven, worth(0.3, 64)), (lucky, worth(0.9, 8))],
    ):
        [(kept, _)] = archive(scored).values()
        assert kept is proven


def test_a_population_begins_again_from_different_kinds_the_best_first():
    scored = [
        (policy("a"), worth(0.5)),
        (policy("b"), worth(0.9)),
        (policy("c", 1), worth(0.7)),
        (policy("d", 2), worth(0.2)),
        (policy("e", 2, (("yes", "true"),)), worth(0.8)),
    ]
    cells = archive(scored)
    assert [p.instruction for p in restart(cells, 3)] == ["b", "e", "c"]
    assert [p.instruction for p in restart(cells, 9)] == ["b", "e", "c", "d"]
    assert restart({}, 3) == []
    again = restart(archive(reversed(scored)), 9)
    assert {p.policy_id for p in again} == {p.policy_id for p in restart(cells, 9)}


@pytest.mark.parametrize(
    ("now", "stuck"),
    [
        # against (0, 0, 0, 0); mean .5 and standard error sqrt(1/3) / 2 = .289
        ([0.0, 0.0, 1.0, 1.0], False),
        # mean .25, standard error .5 / 2 = .25: not more than its own error
        ([0.0, 0.0, 0.0, 1.0], True),
        ([0.0, 0.0, 0.0, 0.0], True),
        ([-1.0, -1.0, -1.0, -1.0], True),
        ([0.1, 0.1, 0.1, 0.1], False),
    ],
)
def test_a_search_is_stuck_where_the_best_is_no_better_by_more_than_its_error(now, stuck):
    then = np.zeros(4)
    assert is_stuck([then, then, then, np.array(now)], 3) is stuck


def test_a_search_is_not_stuck_before_its_time_or_for_want_of_examples():
    same = np.zeros(4)
    assert not is_stuck([same] * 3, 3)
    assert is_stuck([same] * 4, 3)
    assert not is_stuck([same[:1]] * 4, 3)
    assert is_stuck([same[:2], same, same, same], 3), "on the two that both met"
