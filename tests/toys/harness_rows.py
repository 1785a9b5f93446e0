"""Rows in the schema of the data sets of tasks of the LM Evaluation Harness, made by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLOURS = ("red", "blue", "green", "white", "black", "pink", "brown", "grey", "gold", "teal")
SPLITS = ("train", "validation", "test")

Row = Callable[[int], dict[str, Any]]


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def stone(i: int) -> str:
    return f"{colour(i)} stone {i}"


def colours(i: int) -> list[str]:
    return [colour(i + k) for k in range(4)]


def problems(i: int) -> str:
    """As the data set race has them: a text of Python."""
    first = {"question": f"Stone {i} is  _  .", "answer": "A", "options": colours(i)}
    options = ["Tom", "Ann", "Eve", "Bob"]
    return str([first, {"question": "Who has it?", "answer": "ABCD"[i % 4], "options": options}])


#: Of each task its splits, and a row.
ROWS: dict[str, tuple[tuple[str, ...], Row]] = {
    "arc_easy": (
        SPLITS,
        lambda i: {
            "question": f"Which is the {stone(i)}?",
            "choices": {"text": colours(i)[: 3 + i % 2], "label": list("ABCD")[: 3 + i % 2]},
            "answerKey": "ABC"[i % 3],
        },
    ),
    "boolq": (
        SPLITS[:2],
        lambda i: {"passage": f"A {stone(i)} lies.", "question": "is it wet", "label": i % 2},
    ),
    "copa": (
        SPLITS[:2],
        lambda i: {
            "premise": f"The {stone(i)} fell.",
            "choice1": f"It was pushed {i} times.",
            "choice2": "The wind rose.",
            "question": ("cause", "effect")[i % 2],
            "label": i % 2,
        },
    ),
    "piqa": (
        SPLITS[:2],
        lambda i: {
            "goal": f"To paint a {stone(i)},",
            "sol1": f"use much {colour(i)} paint.",
            "sol2": f"use {colour(i + 1)} water.",
            "label": i % 2,
        },
    ),
    "hellaswag": (
        SPLITS[:2],
        lambda i: {
            "activity_label": "Painting",
            "ctx_a": f"A man holds a {stone(i)}.",
            "ctx_b": "he then",
            "endings": [f"paints it {colour(i)}.", "[step] drops it.", "eats it.", "sings."],
            "label": str(i % 4),
        },
    ),
    "winogrande": (
        SPLITS[:2],
        lambda i: {
            "sentence": f"Ann gave Eve the {stone(i)} because _ was kind.",
            "option1": "Ann",
            "option2": "Eve",
            "answer": str(1 + i % 2),
        },
    ),
    "sciq": (
        SPLITS,
        lambda i: {
            "question": f"What is the {stone(i)}?",
            **{f"distractor{k}": colour(i + k) for k in (1, 2, 3)},
            "correct_answer": colour(i),
            "support": f" Stones such as {stone(i)} are {colour(i)}.",
        },
    ),
    "lambada_openai": (
        SPLITS[2:],
        lambda i: {"text": f"She saw the {stone(i)} by the river and thought of {colour(i)}"},
    ),
    "sst2": (SPLITS[:2], lambda i: {"sentence": f"a {stone(i)} of a film ", "label": i % 2}),
    "cb": (
        SPLITS[:2],
        lambda i: {"premise": f"A {stone(i)} is here.", "hypothesis": "It is", "label": i % 3},
    ),
    "mmlu_anatomy": (
        ("dev", "validation", "test"),
        lambda i: {"question": f" Which is {stone(i)}? ", "choices": colours(i), "answer": i % 4},
    ),
    "gsm8k": (
        ("train", "test"),
        lambda i: {
            "question": f"Tom has {i} {colour(i)} stones and finds 4. How many?",
            "answer": f"He has {i}+4=<<{i}+4={i + 4}>>{i + 4} stones.\n#### {i + 4}",
        },
    ),
    "triviaqa": (
        SPLITS[:2],
        lambda i: {
            "question": f"What colour is the {stone(i)}",
            "answer": {"aliases": [colour(i).title(), f"{colour(i).upper()} colour"]},
        },
    ),
    "nq_open": (
        SPLITS[:2],
        lambda i: {"question": f"which is {stone(i)}", "answer": [f"The {colour(i)}", colour(i)]},
    ),
    "anli_r1": (
        ("train_r1", "dev_r1", "test_r1"),
        lambda i: {"premise": f"A {stone(i)} is here.", "hypothesis": "It is.", "label": i % 3},
    ),
    "openbookqa": (
        SPLITS,
        lambda i: {
            "question_stem": f"The {stone(i)} is",
            "choices": {"text": colours(i), "label": list("ABCD")},
            "answerKey": "ABCD"[i % 4],
        },
    ),
    "race": (SPLITS[2:], lambda i: {"article": f"A {stone(i)} is here.", "problems": problems(i)}),
    "truthfulqa_mc1": (
        SPLITS[1:2],
        lambda i: {
            "question": f"What is the {stone(i)}?",
            "mc1_targets": {"choices": [f"A {colour(i)} one.", "A myth.", "A lie."][: 2 + i % 2]},
        },
    ),
    "boolq-seq2seq": (
        SPLITS[:2],
        lambda i: {"passage": f"A {stone(i)} lies.", "question": "is it wet", "label": i % 2},
    ),
    "blimp_adjunct_island": (
        SPLITS[:1],
        lambda i: {"sentence_good": f"A {stone(i)} is.", "sentence_bad": f"A {stone(i)} are."},
    ),
}


def data_files(folder: Path, name: str, number: int = 32) -> dict[str, Path]:
    """Write a file of so many rows for each split of a task; no two rows are the same."""
    splits, row = ROWS[name]
    files = {split: folder / f"{name}.{split}.jsonl" for split in splits}
    for k, path in enumerate(files.values()):
        rows = [row(i + k * number) for i in range(number)]
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return files
