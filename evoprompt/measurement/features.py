"""Which words are read beside the choices, for a linear head over what a model would say next."""

from __future__ import annotations

from evoprompt.backends.base import TextTokenizer

#: Words that are read. Of 576 numbers that SmolLM2-135M makes its next token of, so many words show
#: what a head needs; twice as many show hardly more.
NUM = 256

#: A token is a word, or a part of one, where its text has one of these.
MARKS = (" ", "a", "e", "i", "o", "u")


def feature_words(tokenizer: TextTokenizer) -> tuple[int, ...]:
    """Return the words that are read, ascending: as many as there are, at most `NUM`, spread evenly
    over the vocabulary, so that they are the same for every prompt and task.
    """
    words = sorted(frozenset().union(*(tokenizer.tokens_with(mark) for mark in MARKS)))
    num = min(NUM, len(words))
    return tuple(words[(2 * i + 1) * len(words) // (2 * num)] for i in range(num))
