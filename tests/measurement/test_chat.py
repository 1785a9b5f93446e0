"""The likelihood of an answer in a chat, held against a plain forward over the tokens that
`apply_chat_template` makes, and what a model's template does to a run's starting policies.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.chats import NO_SYSTEM, TINY, chat_model

from evoprompt.backends.local import LocalExecutor
from evoprompt.errors import UserError
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import chats_of
from evoprompt.measurement.requests import requests_of, tokenize
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import count_rows
from evoprompt.tasks.render import render_prefix, render_prompt, render_queries

POLICY = Policy(
    "Sort it.",
    (Demonstration("a sad film", "bad"), Demonstration("a fine </s> meal", "good")),
    Template("T: ", "\nMood:"),
    chat="turns",
)
EXAMPLES = (
    Example("1", "a great room", "good", ("bad", "good")),
    Example("2", "a broken <s> train", "bad", ("bad", "good")),
)
CLASHING = Example("3", "6 + 6", "12", ("1", "12"))


@pytest.fixture(scope="module")
def folder(long_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model(long_model, tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="module")
def measurer(folder: Path) -> Measurer:
    scorer = Scorer(TransformersLM(folder), chunk_tokens=512)
    tokenizer, executor = Tokenizer(folder), LocalExecutor(scorer)
    wanted = Wanted(prior=True, prompt=True)
    return Measurer(tokenizer, executor, wanted, writer=Writer(tokenizer, executor))


def measured(measurer: Measurer, policy: Policy, examples: tuple[Example, ...]):
    [(scores, count)] = measurer.measure(
        [policy], examples, lambda _: None, lambda _: nullcontext()
    ).values()
    return scores, count


def reference(folder: Path, turns: list[tuple[str, str]], begun: str, answer: str) -> float:
    """log p(answer) by transformers alone: its template, its tokens and one forward."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": role, "content": said} for role, said in turns],
        tokenize=False,
        add_generation_prompt=True,
    )
    shorter, longer = (
        tokenizer(text + more, add_special_tokens=False)["input_ids"]
        for more in (begun, begun + answer)
    )
    assert longer[: len(shorter)] == shorter
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logs = network(torch.tensor([longer])).logits[0].double().log_softmax(-1)
    return sum(float(logs[i - 1, longer[i]]) for i in range(len(shorter), len(longer)))


@pytest.mark.parametrize("chat", ["turns", "single"])
def test_likelihoods_are_those_of_the_templated_tokens(folder: Path, measurer: Measurer, chat: str):
    """What is said here has no names of control tokens, which transformers would take for them."""
    shown = (Demonstration("a sad film", "bad"), Demonstration("a fine meal", "good"))
    policy = replace(POLICY, demonstrations=shown, chat=chat)
    scores, _ = measured(measurer, policy, EXAMPLES[:1])
    blocks = "T: a sad film\nMood: bad\n\nT: a fine meal\nMood: good\n\n"
    turns = {
        "turns": [
            ("user", "T: a sad film"),
            ("assistant", "Mood: bad"),
            ("user", "T: a fine meal"),
            ("assistant", "Mood: good"),
        ],
        "single": [],
    }[chat]
    for values, text in ((scores.log_likelihood, "a great room"), (scores.prior, "N/A")):
        last = ("user", f"{blocks if chat == 'single' else ''}T: {text}")
        expected = [
            reference(folder, [("system", "Sort it."), *turns, last], "Mood:", answer)
            for answer in (" bad", " good")
        ]
        assert values[0, 0] == pytest.approx(expected, abs=1e-4)
    assert scores.prompt_cross_entropy[0] > 0


def test_answers_that_begin_each_other_have_the_end_of_the_turn(folder: Path, measurer: Measurer):
    policy = Policy("", (), Template("", ""), chat="turns")
    scores, _ = measured(measurer, policy, (CLASHING,))
    expected = [
        reference(folder, [("user", "6 + 6")], "", answer) for answer in ("1</s>", "12</s>")
    ]
    assert scores.log_likelihood[0, 0] == pytest.approx(expected, abs=1e-4)
    assert scores.num_tokens[0, 0].tolist() == [2, 3]
    assert scores.num_bytes[0, 0].tolist() == [1, 2]


def test_a_free_answer_ends_with_its_turn(measurer: Measurer):
    free = Example("4", "6 + 6", "12")
    policy = Policy("", (), Template("", ""), chat="turns")
    asked = requests_of(measurer.tokenizer, render_queries(policy, [free]))
    ends = {request.continuation for query, request in asked if query.kind == "end"}
    assert (2,) in ends  # "</s>"


def test_forwarded_tokens_are_the_distinct_prefixes(measurer: Measurer):
    _, count = measured(measurer, POLICY, EXAMPLES)
    [unit] = measurer.prepare([POLICY], EXAMPLES)
    assert count.floor_body_tokens == count_rows(unit.work.requests)
    assert count.body_tokens == count.floor_body_tokens
    # instruction and demonstrations are forwarded once for both examples
    assert measurer.prompt_tokens(POLICY) < len(unit.asked[0].request.context)
    prefix = measurer.tokenizer.encode([render_prefix(POLICY)])[0]
    for asked in unit.asked[:4]:
        assert asked.request.context[: len(prefix)] == prefix


def test_the_prompt_is_shown_as_the_model_reads_it(measurer: Measurer):
    shown = measurer.shown(POLICY)
    assert shown.startswith("<s>system\nSort it.</s>\n<s>user\nT: a sad film</s>\n<s>assistant\n")
    assert shown.endswith("<s>user\nT: {input}</s>\n<s>assistant\nMood:")
    assert measurer.shown(replace(POLICY, chat="off")) == render_prompt(replace(POLICY, chat="off"))


def test_steps_are_written_in_the_chat(measurer: Measurer):
    policy = replace(POLICY, steps=("Why?",), demonstrations=())
    prompts, count = measurer.prompts(policy, ["a film"])
    assert prompts[0].begun.startswith("Why?")
    assert prompts[0].begun.endswith("\nMood:")
    assert count.generated_tokens > 0
    assert np.isfinite(measured(measurer, policy, EXAMPLES)[0].log_likelihood).all()


def test_how_starting_policies_are_rendered_follows_from_the_template(
    folder: Path, tiny_model: Path, tmp_path: Path
):
    tokenizer, bare = Tokenizer(folder), Tokenizer(tiny_model)
    assert chats_of("off", tokenizer) == (("off",), [])
    assert chats_of("auto", tokenizer) == (("off", "turns"), [])
    assert chats_of("single", tokenizer) == (("single",), [])
    assert chats_of("auto", bare) == (("off",), [])
    with pytest.raises(UserError, match=r"this model has none; set model\.chat=off"):
        chats_of("turns", bare)
    without = Tokenizer(chat_model(tiny_model, tmp_path / "a", NO_SYSTEM + TINY))
    chats, [note] = chats_of("turns", without)
    assert chats == ("turns",)
    assert "no turn of a system" in note
    one = "{% if messages|length > 1 %}{{ raise_exception('one') }}{% endif %}" + TINY
    single = Tokenizer(chat_model(tiny_model, tmp_path / "b", one))
    assert chats_of("auto", single)[0] == ("off", "single")
    with pytest.raises(UserError, match=r"set model\.chat=single"):
        chats_of("turns", single)


def test_a_boundary_inside_a_token_is_told_with_the_text_that_the_model_reads(measurer: Measurer):
    [query, _] = render_queries(POLICY, EXAMPLES[:1])
    [request] = tokenize(measurer.tokenizer, [query])
    assert measurer.tokenizer.decode(request.continuation) == " bad"
