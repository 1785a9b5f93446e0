"""The questions of the package: half of them nonsense, and nothing but the sense tells which."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib import resources
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.tasks.load import load_task

REFUSAL = "yo be real"
EVERYTHING = {
    "fitness_examples": 999,
    "validation_examples": 999,
    "test_examples": 999,
    "demonstration_pool": 999,
}
ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (resources.files("evoprompt.tasks") / "builtin" / "questions.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
SENSIBLE = [row for row in ROWS if row["target"] != REFUSAL]
NONSENSE = [row for row in ROWS if row["target"] == REFUSAL]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def test_there_are_many_questions_and_half_of_them_are_nonsense():
    assert len(ROWS) >= 320
    assert len(SENSIBLE) == len(NONSENSE)


def test_each_question_offers_three_answers_and_the_refusal():
    for row in ROWS:
        assert row["choices"][3] == REFUSAL
        assert len(set(row["choices"])) == 4
        assert row["target"] in row["choices"]
        assert all(c and c == c.strip() for c in row["choices"])
        assert re.fullmatch(r"[A-Z].*\?", row["input"])


def test_the_right_answer_stands_in_each_of_the_first_three_places_equally_often():
    places = Counter(row["choices"].index(row["target"]) for row in SENSIBLE)
    assert set(places) == {0, 1, 2}
    assert max(places.values()) - min(places.values()) <= 1


def test_the_answers_to_one_question_are_of_similar_length():
    for row in ROWS:
        lengths = [len(c) for c in row["choices"][:3]]
        assert max(lengths) <= 2 * min(lengths) + 3, row


def test_the_right_answer_is_neither_the_longest_nor_the_shortest_more_often_than_by_chance():
    # By chance each is right in at most a third of 188, with a standard error of 0.034: 0.4 is two
    # above.
    for pick in (max, min):
        alone = [sorted(map(len, row["choices"][:3])) for row in SENSIBLE]
        extreme = [
            pick(lengths) == len(row["target"]) and lengths.count(pick(lengths)) == 1
            for lengths, row in zip(alone, SENSIBLE, strict=True)
        ]
        assert np.mean(extreme) < 0.4


def overlap(a: str, b: str) -> float:
    """Shared words among all words of two questions."""
    first, second = set(words(a)), set(words(b))
    return len(first & second) / len(first | second)


def test_no_question_is_nearly_another():
    assert max(overlap(a["input"], b["input"]) for a, b in combinations(ROWS, 2)) <= 0.6
    # Power twin: one changed word in a question of eight is caught.
    assert overlap("How often can we see a full moon?", "How often can we see a full cow?") > 0.6


def test_both_kinds_begin_with_the_same_words_equally_often():
    firsts = [Counter(words(row["input"])[0] for row in rows) for rows in (SENSIBLE, NONSENSE)]
    assert firsts[0] == firsts[1]
    assert len(firsts[0]) >= 30
    assert max(firsts[0].values()) <= 0.25 * len(SENSIBLE)


def best_threshold(first: list[int], second: list[int]) -> float:
    """How many are told apart by the best threshold on a number, in either direction."""
    pooled = np.array(first + second)
    labels = np.array([False] * len(first) + [True] * len(second))
    shares = [float(np.mean((pooled >= t) == labels)) for t in np.unique(pooled)]
    return max(*shares, *(1 - s for s in shares))


@pytest.mark.parametrize("size", [len, lambda text: len(text.split())], ids=["characters", "words"])
def test_the_length_of_a_question_does_not_tell_its_kind(size):
    first, second = ([size(row["input"]) for row in rows] for rows in (SENSIBLE, NONSENSE))
    assert best_threshold(first, second) < 0.6
    # Power twin: nonsense that is a fifth longer is caught.
    assert best_threshold(first, [round(1.2 * n) for n in second]) > 0.6


def most_telling(first: list[list[str]], second: list[list[str]]) -> float:
    """How far the most uneven word is from being shared evenly by two equally large sets of texts,
    in standard errors: |a - b| / sqrt(a + b).
    """
    a, b = (Counter(w for text in texts for w in set(text)) for texts in (first, second))
    return max(abs(a[w] - b[w]) / np.sqrt(a[w] + b[w]) for w in {*a, *b})


PARTS = {
    "question": lambda row: words(row["input"]),
    "opening": lambda row: [" ".join(words(row["input"])[:2])],
    "punctuation": lambda row: re.findall(r"[^a-z ]", re.sub("^.|[A-Z]", "X", row["input"])),
    "answers": lambda row: words(" ".join(row["choices"][:3])),
}


@pytest.mark.parametrize("part", PARTS)
def test_no_word_or_sign_is_the_mark_of_one_kind(part: str):
    # Of 1,500 words fewer than 40 are frequent enough to reach 3.5; shared at random, each has a
    # probability of 0.0005 to do so: 0.02 together.
    first, second = ([PARTS[part](row) for row in rows] for rows in (SENSIBLE, NONSENSE))
    assert most_telling(first, second) < 3.5
    # Power twin: a word that every tenth nonsense has (19 to 0) is caught.
    assert (
        most_telling(first, [text + ["extra"] * (i % 10 == 0) for i, text in enumerate(second)])
        > 3.5
    )


def splits(name: str) -> list[dict[str, tuple[str, str]]]:
    task = load_task(TaskConfig(name=name, **EVERYTHING))
    return [
        {e.example_id: (e.input, e.target) for e in split}
        for split in (task.pool, task.fitness, task.validation, task.test)
    ]


def test_sense_asks_the_same_questions_in_the_same_splits():
    for answered, judged in zip(splits("questions"), splits("sense"), strict=True):
        kinds = {
            i: (text, "nonsense" if target == REFUSAL else "sensible")
            for i, (text, target) in answered.items()
        }
        assert judged == kinds
        assert len(judged) >= 40


def test_the_kinds_of_question_are_found_in_every_split_in_their_proportion():
    task = load_task(TaskConfig(name="questions", fitness_examples=24))
    for split in (task.pool, task.fitness, task.validation, task.test):
        assert 0.35 < np.mean([e.target == REFUSAL for e in split]) < 0.65


def test_sense_has_words_for_both_of_its_choices():
    task = load_task(TaskConfig(name="sense"))
    assert task.choices == ("sensible", "nonsense")
    assert all(len(task.label_words[c]) >= 4 for c in task.choices)
    assert not set(task.label_words["sensible"]) & set(task.label_words["nonsense"])
