"""Tasks made by rule, easier or harder: pure functions of (difficulty, number of examples).

The same arguments give the same examples in every run, whatever its seed, and fewer examples are
the first of more. No input occurs twice. Every example has four choices, and the right one stands
equally often in each place.

| difficulty | `arithmetic` | `scramble` |
|---|---|---|
| 1 | a + b of one digit (100 questions) | the first letter is moved to the end |
| 2 | a + b of two digits | the letters are reversed |
| 3 | a + b, a - b of two digits | the inner letters are shuffled |
| 4 | the same, and a * b with a below 10 and b up to 50 | all letters are shuffled |
| 5 | three terms: a + b - c, a * b + c, either sign | all shuffled and one letter added |

Results are never negative. A word is asked for once, so `scramble` has as many examples as there
are words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_lowercase
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import Example
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.words import WORDS

MAX_DIFFICULTY = 5
MAX_EXAMPLES = 2000
NUM_CHOICES = 4

#: All examples are drawn with this seed: they belong to the task, not to a run.
SEED = 0
#: Wrong words are drawn from this many words that share the most letters.
NUM_SIMILAR = 8


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    answer: int
    slips: tuple[int, ...]  #: what a wrong operation gives


def arithmetic(difficulty: int, num_examples: int) -> tuple[Example, ...]:
    """Return problems of integer arithmetic, such as "17 + 25", and their results.

    The wrong choices are the answer off by one, another number (off by ten, or the result of a
    wrong operation) and a neighbour of that. So the choices are two pairs of neighbours, and which
    number the others are made from cannot be seen.

    Returns:
        Examples with the ids "arithmetic-<difficulty>-<index>"; fewer than `num_examples` where
            there are not so many problems.

    Raises:
        ValueError: difficulty is not from 1 to 5, or num_examples not from 0 to 2,000.
    """
    check_difficulty(difficulty, num_examples)
    draw = generator(SEED, Stream.GENERATION, 0, difficulty, 0)
    kinds = _PROBLEMS[difficulty]
    # every harder difficulty has at least 90 * 90
    available = 10 * 10 if difficulty == 1 else MAX_EXAMPLES
    problems: dict[str, _Problem] = {}
    while len(problems) < min(num_examples, available):
        problem = kinds[draw.integers(len(kinds))](draw)
        problems.setdefault(problem.text, problem)
    err = generator(SEED, Stream.GENERATION, 0, difficulty, 1)
    rows = [
        (p.text, str(p.answer), tuple(map(str, _wrong_numbers(p, err)))) for p in problems.values()
    ]
    return _examples(
        f"arithmetic-{difficulty}", rows, generator(SEED, Stream.GENERATION, 0, difficulty, 2)
    )


def scramble(difficulty: int, num_examples: int) -> tuple[Example, ...]:
    """Return common English words with their letters in disorder, such as "lanetp", and the words.

    The wrong choices have the answer's length and share letters with it or with one another; none
    is made of the letters given.

    Returns:
        Examples with the ids "scramble-<difficulty>-<index>"; fewer than `num_examples` where there
            are not so many words.

    Raises:
        ValueError: difficulty is not from 1 to 5, or num_examples not from 0 to 2,000.
    """
    check_difficulty(difficulty, num_examples)
    draw = generator(SEED, Stream.GENERATION, 1, difficulty, 0)
    words = [WORDS[i] for i in draw.permutation(len(WORDS))[:num_examples]]
    texts: dict[str, str] = {}
    for word in words:
        text = word
        while text in texts or text in WORDS:
            text = _SCRAMBLES[difficulty](word, draw)
        texts[text] = word
    err = generator(SEED, Stream.GENERATION, 1, difficulty, 1)
    rows = [(text, word, _wrong_words(word, text, err)) for text, word in texts.items()]
    return _examples(
        f"scramble-{difficulty}", rows, generator(SEED, Stream.GENERATION, 1, difficulty, 2)
    )


def check_difficulty(difficulty: int, num_examples: int) -> None:
    """Refuse what no task is made of.

    Raises:
        ValueError: difficulty is not from 1 to 5, or num_examples not from 0 to 2,000.
    """
    if not 1 <= difficulty <= MAX_DIFFICULTY:
        raise ValueError(f"difficulty is {difficulty}; expected 1 (easiest) to {MAX_DIFFICULTY}")
    if not 0 <= num_examples <= MAX_EXAMPLES:
        raise ValueError(f"num_examples is {num_examples}; expected 0 to {MAX_EXAMPLES}")


def _examples(
    prefix: str, rows: list[tuple[str, str, tuple[str, ...]]], rng: np.random.Generator
) -> tuple[Example, ...]:
    """Put each target among its wrong choices; of four examples in turn, each has it in another
    place.
    """
    examples = []
    for index, (text, target, wrong) in enumerate(rows):
        if index % NUM_CHOICES == 0:
            places = rng.permutation(NUM_CHOICES)
        others = [wrong[i] for i in rng.permutation(len(wrong))]
        others.insert(places[index % NUM_CHOICES], target)
        examples.append(Example(f"{prefix}-{index}", text, target, tuple(others)))
    return tuple(examples)


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.integers(2) else -1


def _sum_of_digits(rng: np.random.Generator) -> _Problem:
    a, b = map(int, rng.integers(0, 10, size=2))
    return _Problem(f"{a} + {b}", a + b, (abs(a - b), a * b))


def _sum(rng: np.random.Generator) -> _Problem:
    a, b = map(int, rng.integers(10, 100, size=2))
    return _Problem(f"{a} + {b}", a + b, (abs(a - b),))


def _difference(rng: np.random.Generator) -> _Problem:
    b, a = sorted(map(int, rng.integers(10, 100, size=2)))
    return _Problem(f"{a} - {b}", a - b, (a + b,))


def _product(rng: np.random.Generator) -> _Problem:
    a, b = int(rng.integers(2, 10)), int(rng.integers(2, 51))
    return _Problem(f"{a} * {b}", a * b, (a + b,))


def _three_terms(rng: np.random.Generator) -> _Problem:
    first = (_sum, _difference, _product)[rng.integers(3)](rng)
    c, sign = int(rng.integers(10, 100)), _sign(rng)
    if first.answer < c:
        sign = 1
    slips = (first.answer - sign * c, first.slips[0] + sign * c)
    return _Problem(f"{first.text} {'+' if sign > 0 else '-'} {c}", first.answer + sign * c, slips)


_PROBLEMS: Mapping[int, tuple[Callable[[np.random.Generator], _Problem], ...]] = {
    1: (_sum_of_digits,),
    2: (_sum,),
    3: (_sum, _difference),
    4: (_sum, _difference, _product),
    5: (_three_terms,),
}


def _wrong_numbers(problem: _Problem, rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a neighbour of the answer, and a pair of neighbours: off by ten, or, half the time,
    what a wrong operation gives.
    """
    answer = problem.answer
    near = answer + (_sign(rng) if answer else 1)
    step, far = near - answer, answer + (10 * _sign(rng) if answer > 10 else 10)
    slip = problem.slips[rng.integers(len(problem.slips))]
    slip_near = slip + (_sign(rng) if slip else 1)
    if rng.integers(2) and slip >= 0 and not {slip, slip_near} & {answer, near}:
        return near, slip, slip_near
    return near, far, far + step


def _shuffled(letters: str, rng: np.random.Generator) -> str:
    return "".join(letters[i] for i in rng.permutation(len(letters)))


def _with_another_letter(word: str, rng: np.random.Generator) -> str:
    return _shuffled(word + ascii_lowercase[rng.integers(26)], rng)


_SCRAMBLES: Mapping[int, Callable[[str, np.random.Generator], str]] = {
    1: lambda word, _: word[1:] + word[0],
    2: lambda word, _: word[::-1],
    3: lambda word, rng: word[0] + _shuffled(word[1:-1], rng) + word[-1],
    4: _shuffled,
    5: _with_another_letter,
}


def _letters(text: str) -> NDArray[np.int64]:
    return np.array([text.count(letter) for letter in ascii_lowercase])


_LETTERS = np.array([_letters(word) for word in WORDS])  # (word, letter of the alphabet)
_LENGTHS = _LETTERS.sum(axis=1)


def _wrong_words(word: str, text: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Return three words of the same length, each like the answer or like a wrong one before it, so
    that the answer is not the hub.
    """
    given = _letters(text)
    allowed = (len(word) == _LENGTHS) & (given < _LETTERS).any(axis=1)
    chosen = [WORDS.index(word)]
    while len(chosen) < NUM_CHOICES:
        like = _LETTERS[chosen[rng.integers(len(chosen))]]
        num_shared = np.minimum(_LETTERS, like).sum(axis=1)
        others = [
            i for i in np.argsort(-num_shared, kind="stable") if allowed[i] and i not in chosen
        ]
        chosen.append(others[rng.integers(NUM_SIMILAR)])
    return tuple(WORDS[i] for i in chosen[1:])


#: What makes the examples of each generated task.
GENERATORS: Mapping[str, Callable[[int, int], tuple[Example, ...]]] = MappingProxyType(
    {"arithmetic": arithmetic, "scramble": scramble}
)
