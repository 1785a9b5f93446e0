"""What operators show a model that writes, and what they make of its text."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Materials, Mistake, Tried
from evoprompt.variation.base import policy_of
from evoprompt.variation.catalog import OPERATORS
from evoprompt.variation.learning import STEP, InstructionFromHistory, in_turns
from evoprompt.variation.rewriting import MUTATIONS

BY_NAME = {operator.name: operator for operator, _ in OPERATORS}
POOL = tuple(Demonstration(f"text {i}", "ab"[i % 4 == 0]) for i in range(16))
A, B = Policy("Sort the mail.", POOL[:2], Template("Q: ", "\nA:")), Policy("Read\n it.")


class Told:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.prompts: list[str] = []
        self.seeds: list[int] = []

    def write(self, prompt: str, seed: int) -> str | None:
        self.prompts.append(prompt)
        self.seeds.append(seed)
        return self.text


def apply(name: str, *parents: Policy, text: str | None = "Look closely.", seed=0, **materials):
    writer = Told(text)
    filled = Materials(demonstrations=POOL, writer=writer, **materials)
    return policy_of(BY_NAME[name].apply(parents, filled, np.random.default_rng(seed))), writer


def history(*scored: tuple[str, int]) -> tuple[Tried, ...]:
    return tuple(Tried(Policy(text), score) for text, score in scored)


def mistakes(policy: Policy, num: int) -> tuple[Mistake, ...]:
    return tuple(Mistake(policy.policy_id, f"asked {i}", "a", "b") for i in range(num))


CASES = {
    "instruction_paraphrase": ((A,), {}),
    "instruction_crossover": ((A, B), {}),
    "instruction_difference": ((A, B, A, B), {}),
    "instruction_induce": ((A,), {}),
    "instruction_from_history": ((A,), {"history": history(("Read.", 50))}),
    "instruction_mutate": ((A,), {}),
    "instruction_reflect": ((A,), {"mistakes": mistakes(A, 3)}),
}
every = pytest.mark.parametrize("name", CASES)


@every
def test_the_first_parent_gets_the_instruction_that_was_written(name):
    parents, materials = CASES[name]
    child, writer = apply(name, *parents, **materials)
    assert child == replace(A, instruction="Look closely.")
    [prompt] = writer.prompts
    assert not prompt.endswith((" ", "\n")), "a word is broken after a space"


@every
@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "nothing was written"), ("...", "no word"), ("sort the  mail", "it is the parent's")],
)
def test_what_is_of_no_use_makes_no_child(name, text, why):
    parents, materials = CASES[name]
    assert apply(name, *parents, text=text, **materials)[0] is None, why


@every
def test_the_seed_of_the_draws_is_the_generators(name):
    parents, materials = CASES[name]
    seeds = [apply(name, *parents, seed=s, **materials)[1].seeds[0] for s in (0, 1, 0)]
    assert seeds[0] == seeds[2] != seeds[1]


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("instruction_induce",)])
def test_where_there_is_nothing_to_write_from_nobody_is_asked(name):
    parents, _ = CASES[name]
    empty = tuple(replace(p, instruction=" ") for p in parents)
    child, writer = apply(name, *empty)
    assert child is None
    assert not writer.prompts


def test_parents_stand_in_the_prompt_in_their_places_each_in_one_line():
    _, writer = apply("instruction_crossover", A, B)
    assert writer.prompts[0].endswith("First: Sort the mail.\nSecond: Read it.\nCombined:")
    old, one, other, best = (Policy(t) for t in ("Old one.", "One.", "Two.", "Best {0}."))
    _, writer = apply("instruction_difference", old, one, other, best)
    assert writer.prompts[0].endswith(
        "First: One.\nSecond: Two.\nBest: Best {0}.\nOld: Old one.\nNew:"
    )
    assert apply("instruction_crossover", A, replace(B, instruction="sort the mail"))[1].seeds == []
    assert apply("instruction_difference", old, one, one, best)[1].seeds == []


def test_every_mutation_is_asked_for():
    asked = Counter()
    for seed in range(300):
        _, writer = apply("instruction_mutate", A, seed=seed)
        _, end = writer.prompts[0].rsplit("Instruction: Sort the mail.\nChange: ", 1)
        asked[end.removesuffix("\nChanged:")] += 1
    assert set(asked) == set(MUTATIONS.values())
    assert max(asked.values()) < 60  # 30 expected, SD 5.2


def test_the_mutation_that_made_a_child_is_told():
    filled = Materials(writer=Told("Look closely."))
    made = BY_NAME["instruction_mutate"].apply((A,), filled, np.random.default_rng(0))
    assert f"Change: {MUTATIONS[made.way]}\n" in filled.writer.prompts[0]


def test_demonstrations_are_shown_label_after_label_with_the_policys_words():
    worded = replace(A, label_words=(("b", "blue"),))
    _, writer = apply("instruction_induce", worded)
    prompt = writer.prompts[0]
    # 4 of 16 are "b": in turns three of each are shown
    assert (prompt.count("\nOutput: a\n"), prompt.count("\nOutput: blue\n")) == (3, 3)
    assert prompt.endswith("\n\nThe instruction was to")
    copied = prompt.split("Input: ")[1].splitlines()[0]
    assert apply("instruction_induce", A, text=f"Answer {copied} too.")[0] is None


def test_demonstrations_are_drawn_in_turns_while_there_are_any():
    rng = np.random.default_rng(0)
    drawn = in_turns(POOL, 10, rng)
    assert len(set(drawn)) == 10
    assert Counter(d.target for d in drawn) == {"a": 6, "b": 4}  # there are four of "b"
    assert in_turns(POOL, 0, rng) == []


def test_the_best_so_far_come_last_and_a_better_one_is_asked_for():
    tried = history(("Best.", 61), ("", 60), ("Second.", 40), ("Third.", 20))
    operator = InstructionFromHistory(num_tried=2, num_shown=1)
    writer = Told("New.")
    materials = Materials(demonstrations=POOL, writer=writer, history=tried)
    child = operator.apply((A,), materials, np.random.default_rng(0))
    assert child == replace(A, instruction="New.")
    assert writer.prompts[0].endswith(
        "Score: 40\nInstruction: Second.\n\nScore: 61\nInstruction: Best.\n\n"
        f"Score: {61 + STEP}\nInstruction:"
    )
    assert writer.prompts[0].count("Input: ") == 1
    for known in ("best", "Second!"):  # of what was shown nothing is new
        writer.text = known
        assert operator.apply((A,), materials, np.random.default_rng(0)) is None
    top = replace(materials, history=history(("Best.", 95)))
    operator.apply((A,), top, np.random.default_rng(0))
    assert writer.prompts[-1].endswith("Score: 100\nInstruction:")


def test_the_worst_answers_of_the_parent_are_shown_in_its_words():
    own = mistakes(A, 20)
    others = tuple(replace(m, policy_id=B.policy_id, input="other") for m in own)
    worded = replace(A, label_words=(("a", "apple"),))
    own = tuple(replace(m, policy_id=worded.policy_id) for m in own)
    shown = set()
    for seed in range(40):
        _, writer = apply("instruction_reflect", worded, mistakes=(*others, *own), seed=seed)
        end = writer.prompts[0].rsplit("Instruction: Sort the mail.\n", 1)[1]
        lines = end.splitlines()
        assert lines[1::3][:3] == ["Answer: b"] * 3
        assert lines[2::3] == ["Right answer: apple"] * 3
        assert lines[-1] == "Better instruction:"
        shown |= {line.removeprefix("Text: ") for line in lines[0:9:3]}
    assert shown == {f"asked {i}" for i in range(9)}
