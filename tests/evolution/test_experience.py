"""What a run knows so far: numbers worked by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from evoprompt.evolution.experience import MOST_MISTAKES, history_of, mistakes_of, score_of
from evoprompt.policy import Policy
from evoprompt.records import Evaluation, Example, LabelScores, Mistake, Tried

A, B, C = Policy("A."), Policy("B."), Policy(" A. ", label_words=(("x", "y"),))
CHOICES = ("red", "blue", "grey")


def worth(fitness: float, examples: int = 8, **traits: float) -> Evaluation:
    return Evaluation(fitness, (fitness,), traits, examples)


def scores(probabilities: list[list[float]], gold: list[int]) -> LabelScores:
    """Of one policy; 0 stands for a choice that an example has not."""
    p = np.array([probabilities])
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    ids = tuple(f"e{i}" for i in range(len(gold)))
    here = (p > 0).astype(np.int64)
    return LabelScores(("p",), ids, np.array(gold), logs, here, here, p > 2)


def examples(gold: list[int], choices=CHOICES) -> dict[str, Example]:
    return {f"e{i}": Example(f"e{i}", f"text {i}", choices[g], choices) for i, g in enumerate(gold)}


def test_the_best_of_each_instruction_come_best_first():
    scored = [(A, worth(-0.5)), (B, worth(-0.25, accuracy=0.875)), (C, worth(-0.125))]
    # e^-0.125 is 0.88; C has the instruction of A and is better
    assert history_of(scored) == (Tried(C, 88), Tried(B, 88))
    assert history_of(reversed(scored)) == history_of(scored)
    assert history_of([]) == ()


def test_who_was_measured_on_fewer_examples_is_not_compared():
    assert history_of([(A, worth(-0.5)), (B, worth(-0.1, examples=4))]) == (Tried(A, 61),)


@pytest.mark.parametrize(
    ("fitness", "traits", "score"),
    [(log(0.5), {}, 50), (0.7, {}, 100), (-400.0, {}, 0), (-400.0, {"accuracy": 0.996}, 100)],
)
def test_a_score_is_from_0_to_100(fitness, traits, score):
    assert score_of(worth(fitness, **traits)) == score


def test_wrong_answers_come_from_the_worst_on():
    gold = [0, 0, 1, 2]
    found = scores([[0.3, 0.4, 0.3], [0.9, 0.05, 0.05], [0.2, 0.1, 0.7], [0.5, 0.25, 0.25]], gold)
    # right answers: 0.3 (wrong: blue), 0.9, 0.1 (wrong: grey), 0.25 (wrong: red)
    assert mistakes_of(A, found, examples(gold)) == (
        Mistake(A.policy_id, "text 2", "blue", "grey"),
        Mistake(A.policy_id, "text 3", "grey", "red"),
        Mistake(A.policy_id, "text 0", "red", "blue"),
    )


def test_probabilities_are_among_the_choices():
    # 0.02 of 0.05 is more than 0.3 of 0.9
    found = scores([[0.3, 0.6], [0.02, 0.03]], [0, 0])
    texts = [m.input for m in mistakes_of(A, found, examples([0, 0], ("red", "blue")))]
    assert texts == ["text 0", "text 1"]


def test_at_most_so_many_are_remembered_and_none_in_free_form():
    gold = [0] * (MOST_MISTAKES + 3)
    found = scores([[0.4, 0.6]] * len(gold), gold)
    assert len(mistakes_of(A, found, examples(gold, ("red", "blue")))) == MOST_MISTAKES
    free = {"e0": Example("e0", "text", "red")}
    assert mistakes_of(A, scores([[0.4]], [0]), free) == ()
    assert mistakes_of(A, scores([[0.9, 0.1]], [0]), examples([0], ("red", "blue"))) == ()
