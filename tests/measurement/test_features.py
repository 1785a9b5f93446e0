"""Words that are read are words, spread over the whole vocabulary, and no more than there are."""

from __future__ import annotations

from itertools import pairwise

from evoprompt.measurement.features import MARKS, NUM, feature_words


class Vocabulary:
    """Token i has text i."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def tokens_with(self, text: str) -> frozenset[int]:
        return frozenset(i for i, own in enumerate(self.texts) if text in own)


def test_words_are_spread_evenly_and_those_without_a_mark_are_left_out():
    texts = [f" w{i}" if i % 2 else f"#{i}" for i in range(8 * NUM)]
    found = feature_words(Vocabulary(texts))
    assert len(found) == NUM
    assert all(any(mark in texts[t] for mark in MARKS) for t in found)
    steps = {b - a for a, b in pairwise(found)}
    assert steps == {8}


def test_a_small_vocabulary_gives_all_its_words():
    assert feature_words(Vocabulary(["the", "#", "an", "xyz"])) == (0, 2)
    assert feature_words(Vocabulary(["#"])) == ()
