"""Changes that leave what a prompt means as it is, and what they do not touch."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Materials
from evoprompt.tasks.banks import GENERAL_SYNONYMS, GENERAL_TEMPLATES
from evoprompt.variation.perturbations import OF_LABELS, PERTURBATIONS, Sources

SOURCES = Sources(
    Materials(templates=GENERAL_TEMPLATES, choices=(("good", "bad"),), synonyms=GENERAL_SYNONYMS),
    label_synonyms={"good": ("fine", "great"), "bad": ("poor",)},
    label_descriptions={"good": ("what pleases",), "bad": ("what does not",)},
)
SHOWN = tuple(Demonstration(f"text {n}", "good") for n in range(3))
POLICY = Policy("Decide if the text is good or bad. Read it carefully.", SHOWN)


def made(name: str, policy: Policy = POLICY, sources: Sources = SOURCES) -> set[Policy | None]:
    found = PERTURBATIONS[name]
    return {found.prompt(policy, sources, np.random.default_rng(seed)) for seed in range(60)}


def test_label_words_change_in_the_answers_and_in_the_instruction():
    fine, great = (
        replace(
            POLICY,
            instruction=f"Decide if the text is {word} or poor. Read it carefully.",
            label_words=(("bad", "poor"), ("good", word)),
        )
        for word in ("fine", "great")
    )
    assert made("label_synonyms") == {fine, great}
    [described] = made("label_descriptions")
    assert described is not None
    assert described.word("good") == "what pleases"
    assert "is what pleases or what does not." in described.instruction
    # no two choices share a word, and a part of a word is none
    same = replace(SOURCES, label_synonyms={"good": ("bad",)})
    assert made("label_synonyms", sources=same) == {None}
    [part] = made("label_descriptions", Policy("Goodness, badly."))
    assert part is not None
    assert part.instruction == "Goodness, badly."


def test_each_source_changes_its_own_slot():
    slots = {"paraphrase": "instruction", "typos": "instruction", "distractor": "instruction"}
    slots |= {"casing": "instruction", "order": "demonstrations", "format": "template"}
    for name, slot in slots.items():
        children = made(name) - {None}  # where what was drawn is as it was
        assert len(children) > 1, name
        for child in children:
            assert child is not None
            assert child != POLICY
            assert replace(child, **{slot: getattr(POLICY, slot)}) == POLICY
    assert {c and frozenset(c.demonstrations) for c in made("order") - {None}} == {frozenset(SHOWN)}
    for name in ("paraphrase", "typos", "casing", "order"):
        assert made(name, Policy()) == {None}
    assert made("format", replace(POLICY, chat="turns")) == {None}
    given_texts = replace(SOURCES, paraphrases=("Judge it.", POLICY.instruction))
    texts = {c and c.instruction for c in made("paraphrase", sources=given_texts)}
    assert texts == {"Judge it.", None}


def test_a_draw_is_the_same_change_whatever_the_policy_has():
    other = replace(POLICY, template=GENERAL_TEMPLATES[4], label_words=(("good", "fine"),))
    same = {"format": 0, "label_synonyms": 0}
    for seed in range(40):
        for name, slot in (("format", "template"), ("label_synonyms", "label_words")):
            one, two = (
                PERTURBATIONS[name].prompt(p, SOURCES, np.random.default_rng(seed))
                for p in (POLICY, other)
            )
            if one is not None and two is not None:
                assert getattr(one, slot) == getattr(two, slot)
                same[name] += 1
    assert min(same.values()) > 20


def test_every_template_of_the_bank_but_the_own_is_drawn():
    templates = {c.template for c in made("format") if c is not None}
    assert templates == set(GENERAL_TEMPLATES) - {Template()}


@pytest.mark.parametrize("name", [n for n, of in PERTURBATIONS.items() if of.of_input])
@given(text=st.text("abcdeZ .!\né", max_size=60), seed=st.integers(0, 9))
def test_kept_words_stay_in_inputs(name: str, text: str, seed: int):
    kept = frozenset({"abcd"})
    whole = f"{text} Abcd {text}"
    found = PERTURBATIONS[name].text(whole, kept, np.random.default_rng(seed))
    again = PERTURBATIONS[name].text(whole, kept, np.random.default_rng(seed))
    assert found == again
    if found is not None:
        count = len(re.findall(r"(?<!\w)Abcd(?!\w)", whole))
        assert len(re.findall(r"(?<!\w)Abcd(?!\w)", found)) == count
        if name != "input_distractor":
            assert len(found.split()) == len(whole.split())


def test_what_puts_other_words_for_labels_is_known():
    assert OF_LABELS == ("label_synonyms", "label_descriptions")
