"""Problems of arithmetic in words, of two steps but for the easiest: pure functions of (difficulty,
number of examples), as those of `generators`. The answer is a number in free text.

| difficulty | what happens to a number of things |
|---|---|
| 1 | it grows or shrinks once, never above 9 |
| 2 | it does so twice, never above 9 |
| 3 | the same up to 20 |
| 4 | the same up to 99 |
| 5 | it is in so many boxes, and grows or shrinks once, up to 99 |

Results are never negative. `worked_problems` has the same problems with answers that are worked
out, "4 + 3 = 7. 7 - 2 = 5. The answer is 5.": demonstrations then show the steps, and the metric
`number` compares the last number.
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
MOST = {1: 9, 2: 9, 3: 20, 4: 99, 5: 99}
#: The difficulties with one step, and with things in boxes.
ONE_STEP, BOXES = 1, 5


def word_problems(difficulty: int, num_examples: int) -> tuple[Example, ...]:
    """Return problems such as "Ana has 3 apples. Ana finds 4 more and then loses 2. How many apples
    does Ana have?", and their results.

    Returns:
        Examples without choices, with the ids "word_problems-<difficulty>-<index>".

    Raises:
        ValueError: difficulty is not from 1 to 5, or num_examples not from 0 to 2,000.
    """
    return tuple(
        Example(f"word_problems-{difficulty}-{index}", text, str(answer))
        for index, (text, _, answer) in enumerate(_problems(difficulty, num_examples))
    )


def worked_problems(difficulty: int, num_examples: int) -> tuple[Example, ...]:
    """Return the problems of `word_problems`, their answers worked out step by step.

    Raises:
        ValueError: as `word_problems`.
    """
    return tuple(
        Example(
            f"worked_problems-{difficulty}-{index}",
            text,
            f"{' '.join(steps)} The answer is {answer}.",
        )
        for index, (text, steps, answer) in enumerate(_problems(difficulty, num_examples))
    )


def _problems(difficulty: int, num_examples: int) -> list[tuple[str, tuple[str, ...], int]]:
    """Return different problems: each text, its steps and its result."""
    check_difficulty(difficulty, num_examples)
    draw = generator(SEED, Stream.GENERATION, 2, difficulty, 0)
    found: dict[str, tuple[tuple[str, ...], int]] = {}
    while len(found) < num_examples:
        text, steps, answer = _problem(difficulty, draw)
        found.setdefault(text, (steps, answer))
    return [(text, steps, answer) for text, (steps, answer) in found.items()]


def _problem(difficulty: int, draw: np.random.Generator) -> tuple[str, tuple[str, ...], int]:
    name, things, most = _pick(NAMES, draw), _pick(THINGS, draw), MOST[difficulty]
    steps: list[str] = []
    if difficulty == BOXES:
        boxes = int(draw.integers(2, 10))
        number = int(draw.integers(2, most // boxes + 1))
        begin, after = f"{boxes} boxes of {number} {things} each", boxes * number
        steps.append(f"{boxes} * {number} = {after}.")
    else:
        after = int(draw.integers(2, most + 1))
        begin = f"{after} {things}"
    changes = []
    for _ in range(1 if difficulty in (ONE_STEP, BOXES) else 2):
        before = after
        change, after = _change(before, most, draw)
        changes.append(change)
        sign = "+" if after > before else "-"
        steps.append(f"{before} {sign} {abs(after - before)} = {after}.")
    what_happens = " and then ".join(changes)
    text = f"{name} has {begin}. {name} {what_happens}. How many {things} does {name} have?"
    return text, tuple(steps), after


def _change(number: int, most: int, draw: np.random.Generator) -> tuple[str, int]:
    """Return how a number grows or shrinks, in words, and what it is then, from 0 to `most`."""
    grows = number < 1 or (number < most and bool(draw.integers(2)))
    by = int(draw.integers(1, (most - number if grows else number) + 1))
    words = _pick(MORE if grows else FEWER, draw).format(by)
    return words, number + by if grows else number - by


def _pick(texts: tuple[str, ...], draw: np.random.Generator) -> str:
    return texts[draw.integers(len(texts))]
