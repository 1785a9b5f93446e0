"""Problems of arithmetic in words, two steps each, easier or harder: pure functions of
(difficulty, number of examples), as those of `generators`. The answer is a number in free text.

| difficulty | what happens to a number of things |
|---|---|
| 1 | it grows or shrinks twice, never above 9 |
| 2 | the same up to 20 |
| 3 | the same up to 99 |
| 4 | it is in so many boxes, and grows or shrinks once, up to 99 |
| 5 | the same up to 999 |

Results are never negative.
"""

from __future__ import annotations

import numpy as np

from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.generators import SEED, check_difficulty

NAMES = ("Ana", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas")
THINGS = ("apples", "books", "coins", "eggs", "flowers", "marbles", "pens", "shells", "stamps")
MORE = ("finds {} more", "buys {} more", "is given {} more", "collects {} more")
FEWER = ("loses {}", "gives {} away", "sells {}", "lends {} to a friend")
#: The greatest number that occurs, by difficulty.
MOST = {1: 9, 2: 20, 3: 99, 4: 99, 5: 999}
#: From this difficulty on the things are in boxes.
BOXES = 4


def word_problems(difficulty: int, num_examples: int) -> tuple[Example, ...]:
    """Return problems such as "Ana has 3 apples. Ana finds 4 more and then loses 2. How many apples
    does Ana have?", and their results.

    Returns:
        Examples without choices, with the ids "word_problems-<difficulty>-<index>".

    Raises:
        ValueError: difficulty is not from 1 to 5, or num_examples not from 0 to 2,000.
    """
    check_difficulty(difficulty, num_examples)
    draw = generator(SEED, Stream.GENERATION, 2, difficulty, 0)
    answers: dict[str, int] = {}
    while len(answers) < num_examples:
        text, answer = (_of_boxes if difficulty >= BOXES else _of_two)(MOST[difficulty], draw)
        answers.setdefault(text, answer)
    return tuple(
        Example(f"word_problems-{difficulty}-{index}", text, str(answer))
        for index, (text, answer) in enumerate(answers.items())
    )


def _of_two(most: int, draw: np.random.Generator) -> tuple[str, int]:
    name, things = _pick(NAMES, draw), _pick(THINGS, draw)
    number = int(draw.integers(2, most + 1))
    first, between = _change(number, most, draw)
    second, after = _change(between, most, draw)
    return (
        f"{name} has {number} {things}. {name} {first} and then {second}. How many {things} does "
        f"{name} have?",
        after,
    )


def _of_boxes(most: int, draw: np.random.Generator) -> tuple[str, int]:
    name, things = _pick(NAMES, draw), _pick(THINGS, draw)
    boxes = int(draw.integers(2, 10))
    number = int(draw.integers(2, most // boxes + 1))
    change, after = _change(boxes * number, most, draw)
    return (
        f"{name} has {boxes} boxes of {number} {things} each. {name} {change}. How many {things} "
        f"does {name} have?",
        after,
    )


def _change(number: int, most: int, draw: np.random.Generator) -> tuple[str, int]:
    """Return how a number grows or shrinks, in words, and what it is then, from 0 to `most`."""
    grows = number < 1 or (number < most and bool(draw.integers(2)))
    by = int(draw.integers(1, (most - number if grows else number) + 1))
    words = _pick(MORE if grows else FEWER, draw).format(by)
    return words, number + by if grows else number - by


def _pick(texts: tuple[str, ...], draw: np.random.Generator) -> str:
    return texts[draw.integers(len(texts))]
