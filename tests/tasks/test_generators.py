"""Generated tasks: unique, right by another computation, harder as they say, and the same for
everybody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import check_config
from evoprompt.records import Example
from evoprompt.tasks.generators import GENERATORS, MAX_EXAMPLES
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.builtin import builtin_names
from evoprompt.tasks.words import WORDS

DIFFICULTIES = [1, 2, 3, 4, 5]
EVERY = pytest.mark.parametrize(
    ("name", "difficulty"), [(n, d) for n in GENERATORS for d in DIFFICULTIES]
)
EACH = pytest.mark.parametrize("difficulty", DIFFICULTIES)


@cache
def examples(name: str, difficulty: int) -> tuple[Example, ...]:
    return GENERATORS[name](difficulty, MAX_EXAMPLES)


def value(text: str) -> int:
    """The result of a problem, from left to right with products first: the signed terms are added
    up.
    """
    terms = re.findall(r"([+-] )?(\d+)(?: \* (\d+))?", text)
    return sum((-1 if sign == "- " else 1) * int(a) * int(b or 1) for sign, a, b in terms)


def test_the_tests_own_calculator_knows_its_signs_and_products():
    assert [value(t) for t in ("3 + 4", "20 - 13", "3 * 40 - 21", "50 - 11 + 7", "12 + 5 * 2")] == [
        7,
        7,
        99,
        46,
        22,
    ]


@EVERY
def test_no_input_occurs_twice_and_each_example_has_four_different_choices(
    name: str, difficulty: int
):
    made = examples(name, difficulty)
    assert len({e.input for e in made}) == len({e.example_id for e in made}) == len(made)
    assert all(
        e.choices is not None and len(set(e.choices)) == 4 and e.target in e.choices for e in made
    )


@EVERY
def test_the_right_choice_stands_in_each_place_equally_often(name: str, difficulty: int):
    for part in (examples(name, difficulty), examples(name, difficulty)[:42]):
        places = Counter(e.gold for e in part)
        assert max(places.values()) - min(places[i] for i in range(4)) <= 1


@EVERY
@pytest.mark.parametrize("num_examples", [0, 1, 7, 90])
def test_fewer_examples_are_the_first_of_more(name: str, difficulty: int, num_examples: int):
    assert GENERATORS[name](difficulty, num_examples) == examples(name, difficulty)[:num_examples]


def test_there_are_as_many_examples_as_asked_for_or_as_there_are_questions():
    assert [len(examples("arithmetic", d)) for d in DIFFICULTIES] == [100, 2000, 2000, 2000, 2000]
    assert [len(examples("scramble", d)) for d in DIFFICULTIES] == [len(WORDS)] * 5


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5), "difficulty is 0"),
        ((6, 5), "difficulty is 6"),
        ((1, -1), "is -1"),
        ((1, 2001), "2001; expected 0 to 2000"),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, arguments: tuple[int, int], message: str):
    with pytest.raises(ValueError, match=message):
        GENERATORS[name](*arguments)


def test_the_examples_are_the_same_for_everybody():
    assert [GENERATORS[n](d, 1)[0].input for n in GENERATORS for d in DIFFICULTIES] == [
        *("2 + 6", "53 + 86", "13 + 74", "41 + 62", "67 - 49 + 97"),
        *("bilitya", "ebolg", "mlbare", "ebyrr", "rryhus"),
    ]
    assert examples("arithmetic", 2)[0].choices == ("33", "32", "138", "139")
    assert examples("scramble", 4)[0].choices == ("above", "board", "order", "berry")


@EACH
def test_the_target_of_a_problem_is_its_result(difficulty: int):
    for e in examples("arithmetic", difficulty):
        assert e.target == str(value(e.input))
        assert all(int(c) >= 0 for c in e.candidates)


TWO_DIGITS = r"[1-9]\d"
PRODUCT = r"[2-9] \* ([2-9]|[1-4]\d|50)"
FORMS = {
    1: [r"\d \+ \d"],
    2: [rf"{TWO_DIGITS} \+ {TWO_DIGITS}"],
    3: [rf"{TWO_DIGITS} \{s} {TWO_DIGITS}" for s in "+-"],
    4: [rf"{TWO_DIGITS} \+ {TWO_DIGITS}", rf"{TWO_DIGITS} - {TWO_DIGITS}", PRODUCT],
    5: [
        rf"({first}) \{s} {TWO_DIGITS}"
        for s in "+-"
        for first in (rf"{TWO_DIGITS} [+-] {TWO_DIGITS}", PRODUCT)
    ],
}


@EACH
def test_problems_have_the_forms_of_their_difficulty_and_of_no_other(difficulty: int):
    texts = [e.input for e in examples("arithmetic", difficulty)]
    counts = [
        sum(re.fullmatch(form, text) is not None for text in texts) for form in FORMS[difficulty]
    ]
    assert sum(counts) == len(texts)
    assert min(counts) >= 0.1 * len(texts)


@EACH
def test_wrong_numbers_are_off_by_one_and_off_by_ten_or_by_operation(difficulty: int):
    made = examples("arithmetic", difficulty)
    distances = [{abs(int(c) - int(e.target)) for c in e.candidates} for e in made]
    assert all(1 in d for d in distances)
    assert 0.4 < np.mean([10 in d for d in distances]) < 0.75


def test_the_wrong_operation_is_among_the_wrong_numbers():
    # For 53 + 86 it is 86 - 53 = 33, for 41 + 62 it is 62 - 41 = 21, for 6 * 5 it is 6 + 5 = 11.
    by_input = {e.input: e.candidates for d in (2, 4) for e in examples("arithmetic", d)}
    for text, slip in [("53 + 86", "33"), ("41 + 62", "21"), ("6 * 5", "11")]:
        assert slip in by_input[text]


def most_connected(choices: Sequence[str], alike: Callable[[str, str], float]) -> list[str]:
    degrees = [sum(alike(a, b) for b in choices if b != a) for a in choices]
    return [c for c, d in zip(choices, degrees, strict=True) if d == max(degrees)]


def blind_accuracy(made: Sequence[Example], alike: Callable[[str, str], float]) -> float:
    """How often the choice most like the others is the right one, ties shared out: what can be had
    without reading the input.
    """
    picks = [most_connected(e.candidates, alike) for e in made]
    return float(np.mean([(e.target in p) / len(p) for e, p in zip(made, picks, strict=True)]))


def one_or_ten_apart(a: str, b: str) -> float:
    return abs(int(a) - int(b)) in (1, 10)


def shared_letters(a: str, b: str) -> float:
    return (Counter(a) & Counter(b)).total()


@EACH
def test_the_choices_alone_do_not_tell_the_right_number(difficulty: int):
    made = examples("arithmetic", difficulty)
    assert blind_accuracy(made, one_or_ten_apart) < 0.3
    for pick in (min, max):
        assert np.mean([pick(e.candidates, key=int) == e.target for e in made]) < 0.4


@EACH
def test_the_choices_alone_hardly_tell_the_right_word(difficulty: int):
    # A blind guess is right in 0.25 of 307 examples, with a standard error of 0.025: 0.36 is more
    # than four of them above.
    assert blind_accuracy(examples("scramble", difficulty), shared_letters) < 0.36


def test_choices_made_around_the_answer_would_be_caught():
    """Power twin: wrong numbers one and ten away from the answer itself, wrong words the most like
    the answer itself.
    """
    numbers = [
        Example("", e.input, e.target, tuple(str(int(e.target) + d) for d in (0, 1, 10, 27)))
        for e in examples("arithmetic", 3)
    ]
    assert blind_accuracy(numbers, one_or_ten_apart) > 0.9
    near = [
        sorted(
            (w for w in WORDS if len(w) == len(e.target)),
            key=lambda w, t=e.target: -shared_letters(w, t),
        )
        for e in examples("scramble", 1)
    ]
    words = [
        Example("", e.input, e.target, tuple(n[:4]))
        for e, n in zip(examples("scramble", 1), near, strict=True)
    ]
    assert blind_accuracy(words, shared_letters) > 0.4


def test_words_are_many_common_in_length_and_named_by_their_letters():
    assert len(WORDS) >= 300
    assert all(re.fullmatch("[a-z]{5,7}", w) for w in WORDS)
    assert len({"".join(sorted(w)) for w in WORDS}) == len(WORDS)


@EACH
def test_a_word_is_scrambled_as_its_difficulty_says(difficulty: int):
    for e in examples("scramble", difficulty):
        text, word = e.input, e.target
        assert text != word
        match difficulty:
            case 1:
                assert text[-1] + text[:-1] == word
            case 2:
                assert "".join(reversed(text)) == word
            case 3:
                assert (text[0], sorted(text[1:-1]), text[-1]) == (
                    word[0],
                    sorted(word[1:-1]),
                    word[-1],
                )
            case 4:
                assert sorted(text) == sorted(word)
            case _:
                assert not Counter(word) - Counter(text)
                assert (Counter(text) - Counter(word)).total() == 1


@EACH
def test_shuffles_reach_every_place(difficulty: int):
    """Where letters are shuffled freely the first is not always the word's; where they are not, it
    always or never is.
    """
    kept = np.mean([e.input[0] == e.target[0] for e in examples("scramble", difficulty)])
    assert {1: kept < 0.1, 2: kept < 0.1, 3: kept == 1, 4: 0.05 < kept < 0.4, 5: 0.05 < kept < 0.4}[
        difficulty
    ]


@EACH
def test_wrong_words_are_of_the_same_length_and_cannot_be_made_of_the_letters(difficulty: int):
    for e in examples("scramble", difficulty):
        assert {len(c) for c in e.candidates} == {len(e.target)}
        assert [c for c in e.candidates if not Counter(c) - Counter(e.input)] == [e.target]
        assert set(e.candidates) <= set(WORDS)


@EACH
def test_wrong_words_share_more_letters_with_the_right_one_than_any_word_of_that_length(
    difficulty: int,
):
    made = examples("scramble", difficulty)
    chosen = np.mean(
        [shared_letters(c, e.target) for e in made for c in e.candidates if c != e.target]
    )
    usual = np.mean(
        [
            shared_letters(w, e.target)
            for e in made
            for w in WORDS
            if len(w) == len(e.target) and w != e.target
        ]
    )
    assert chosen > usual + 0.8


@EVERY
def test_a_config_gets_the_difficulty_that_it_asks_for(name: str, difficulty: int):
    config = check_config({"task": {"name": name, "difficulty": difficulty}}, "test")
    task = load_task(config.task)
    used = {
        e.input for split in (task.pool, task.fitness, task.validation, task.test) for e in split
    }
    assert used <= {e.input for e in examples(name, difficulty)}
    assert len(used) == sum(
        len(split) for split in (task.pool, task.fitness, task.validation, task.test)
    )
    assert min(len(task.fitness), len(task.validation)) >= 15
    assert len(task.test) >= 30
    assert task.choices is None
    assert task.has_choices


def test_the_difficulty_is_two_where_none_is_given():
    for name in GENERATORS:
        assert load_task(TaskConfig(name=name)) == load_task(TaskConfig(name=name, difficulty=2))


def test_generated_tasks_are_listed_with_the_others():
    assert set(GENERATORS) <= set(builtin_names())


@pytest.mark.parametrize("difficulty", [0, 6, "hard"])
def test_a_difficulty_off_the_scale_gets_a_sentence(difficulty: object):
    with pytest.raises(UserError, match=rf"task.difficulty: .*\(given: {difficulty!r}\)"):
        check_config({"task": {"name": "arithmetic", "difficulty": difficulty}}, "test")
