"""Inputs with a blank: what follows each choice is scored, exactly, and nothing else."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.choices import predicted
from evoprompt.config.reader import check_section
from evoprompt.config.sections import FitnessConfig
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.fitness.catalog import fitness_of
from evoprompt.jobs.evolve.calibrator import why_not
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.tasks.base import examples_digest
from evoprompt.tasks.blank import refuse_blank, with_blank
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_prefix, render_queries

CUP = Example("a", "The cup missed the box, for _ was big.", "the cup", ("the cup", "the box"))
KIM = Example("b", "_ fed the dog  though _x was ill.", "Kim", ("Kim", "Lea"))
SENTENCES = Policy(
    demonstrations=(Demonstration("Ann met Eve, but", "Eve left."),),
    template=Template("", "", "\n"),
)


def test_each_choice_stands_in_the_context_and_the_rest_is_scored():
    [cup] = with_blank([CUP], "_")
    assert (cup.input, cup.rest) == ("The cup missed the box, for", " was big.")
    right, wrong = render_queries(SENTENCES, [cup])
    assert right.context == "Ann met Eve, but Eve left.\nThe cup missed the box, for the cup"
    assert wrong.context == "Ann met Eve, but Eve left.\nThe cup missed the box, for the box"
    assert right.continuation == wrong.continuation == " was big."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no blank here.", "has 0 of it"),
        ("_ and _ left.", "has 2 of it"),
        ("who left? _ ", "nothing follows the blank"),
        ("who:_ left.", "before the blank '_' stands ':'"),
    ],
)
def test_an_input_that_cannot_be_parted_is_refused_with_its_line(text: str, said: str):
    with pytest.raises(UserError, match="^f.jsonl:3: ") as refused:
        with_blank([Example("a", text, "Kim", ("Kim", "Lea"), "f.jsonl:3")], "_")
    assert said in str(refused.value)


def test_scores_are_those_of_the_plain_forward(tiny_model: Path):
    network = TransformersLM(tiny_model, threads=1)
    tokenizer, executor = Tokenizer(tiny_model), LocalExecutor(Scorer(network, chunk_tokens=48))
    examples = with_blank([CUP, KIM], "_ ")
    measurer = Measurer(tokenizer, executor)
    found, count = measurer.measure([SENTENCES], examples, lambda _: None, lambda _: nullcontext())[
        SENTENCES.policy_id
    ]
    prefix = render_prefix(SENTENCES)
    by_hand = np.zeros((2, 2))
    for i, example in enumerate(examples):
        for j, choice in enumerate(example.candidates):
            context = f"{prefix}{example.input} {choice}"
            tokens, whole = tokenizer.encode([context, context + example.rest])
            assert whole[: len(tokens)] == tokens
            [request] = [
                r
                for q, r in requests_of(tokenizer, render_queries(SENTENCES, [example]))
                if q.candidate == j
            ]
            assert request.context + request.continuation == whole
            by_hand[i, j] = executor.score_plain([request]).log_likelihood[0]
            assert found.num_tokens[0, i, j] == len(whole) - len(tokens)
    np.testing.assert_allclose(found.log_likelihood[0], by_hand, atol=1e-4)
    assert (predicted(found)[0] == by_hand.argmax(axis=1)).all()
    # each of the four prompts is paid for where nothing is shared
    lengths = [
        len(r.fed) + 1 for _, r in requests_of(tokenizer, render_queries(SENTENCES, examples))
    ]
    assert count.logical_tokens == sum(lengths)


def test_a_file_asks_for_it(tmp_path: Path):
    names = ("Kim", "Lea", "Ben", "Zoe", "Tom")
    rows = [
        {
            "input": f"{a} met {b} on day {n}, for _ was {'early' if n % 2 else 'late'}.",
            "target": a if n % 2 else b,
            "choices": [a, b],
        }
        for n in range(40)
        for a, b in [(names[n % 5], names[(n + 1) % 5])]
    ]
    path = tmp_path / "names.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"path": path, "fitness_examples": 8, "validation_examples": 4}
    task = load_task(check_section(TaskConfig, {**settings, "blank": "_"}, "x"))
    example, shown = task.fitness[0], task.demonstrations[0]
    assert example.input.endswith(", for")
    assert example.rest.startswith(" was ")
    assert shown.target.endswith((" was late.", " was early."))
    prompt = render_prefix(Policy(demonstrations=(shown,), template=Template("", "", "\n")))
    # the demonstration is the file's own sentence
    filled = [row["input"].replace("_", str(row["target"])) for row in rows]
    assert prompt.removesuffix("\n") in filled
    fitness = fitness_of(FitnessConfig(), has_choices=task.has_choices)
    assert "what follows them is scored" in (why_not(task, fitness) or "")
    plain = load_task(check_section(TaskConfig, settings, "x"))
    assert examples_digest(plain.test) != examples_digest(task.test)
    with pytest.raises(UserError, match="leave judge and written out"):
        check_section(TaskConfig, {**settings, "blank": "_", "judge": True}, "x")


def test_answers_by_themselves_are_refused():
    refuse_blank(TaskConfig(name="inbox"), "this gives")
    with pytest.raises(UserError, match="this gives answers, and with task.blank"):
        refuse_blank(TaskConfig(name="inbox", blank="_"), "this gives")
