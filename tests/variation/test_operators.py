"""What each operator does, by hand; the contract that all keep is in `contracts`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Materials
from evoprompt.tasks.judge import DEFAULT_EVALUATOR
from evoprompt.testing.operators import example_materials
from evoprompt.variation.catalog import OPERATORS
from evoprompt.variation.editors import evaluator_edits
from evoprompt.variation.edits import split_phrases
from evoprompt.variation.proposed import LabelWordFromModel, TokenSubstitute
from evoprompt.variation.stuffing import NUM_HELD_OUT, NUM_SHOWN

BY_NAME = {operator.name: operator for operator, _ in OPERATORS}
MATERIALS = example_materials()
JUDGING, POOL, STEPS = MATERIALS.evaluator, MATERIALS.demonstrations, MATERIALS.steps


class ToyAuthor:
    """Writes as it is told, and remembers what it was asked."""

    def __init__(self, gain: float, text: str | None = "", target: str = "a") -> None:
        self._gain, self._text, self._target = gain, text, target
        self.shown: list[str] = []
        self.held_out: list[Demonstration] = []

    def write_input(self, policy, shown, seed):
        self.shown = list(shown)
        return f"written {seed % 1000}" if self._text == "" else self._text

    def label(self, policy, text):
        return self._target

    def gain(self, before, after, held_out):
        self.held_out = list(held_out)
        return self._gain


def apply(
    name: str, policy: Policy, *, seeds: int = 60, materials: Materials = MATERIALS
) -> set[Policy | None]:
    return {
        BY_NAME[name].apply((policy,), materials, np.random.default_rng(s)) for s in range(seeds)
    }


def test_phrases_are_sentences_and_their_parts():
    assert split_phrases("Sort the mail: bills, letters. Now!") == (
        ["Sort the mail:", "bills,", "letters.", "Now!"],
        [" ", " ", " "],
    )
    assert split_phrases("  ") == ([], [])


def test_line_ends_of_an_instruction_stay_where_they_are():
    lines = Policy("Pick one:\n- red\n\n- blue. Now.")
    assert split_phrases(lines.instruction) == (
        ["Pick one:", "- red", "- blue.", "Now."],
        ["\n", "\n\n", " "],
    )
    assert {c.instruction for c in apply("instruction_delete", lines)} == {
        "- red\n\n- blue. Now.",
        "Pick one:\n\n- blue. Now.",
        "Pick one:\n- red\n\nNow.",
        "Pick one:\n- red\n\n- blue.",
    }
    swapped = {c.instruction for c in apply("instruction_swap", lines)}
    assert "Now.\n- red\n\n- blue. Pick one:" in swapped
    assert all(text.count("\n") == 3 for text in swapped)
    for name in ("instruction_replace", "instruction_insert"):
        assert all(c.instruction.count("\n") == 3 for c in apply(name, lines))
    assert "Be kind. Pick one:\n- red\n\n- blue. Now." in {
        c.instruction for c in apply("instruction_insert", lines)
    }


def test_instruction_edits_by_hand():
    two = Policy("One. Two.")
    assert {c.instruction for c in apply("instruction_delete", two)} == {"One.", "Two."}
    assert {c.instruction for c in apply("instruction_swap", two)} == {"Two. One."}
    assert {c.instruction for c in apply("instruction_replace", Policy("One."))} == set(
        MATERIALS.phrases
    )
    assert {c.instruction for c in apply("instruction_insert", Policy("One."))} == {
        "One. Look twice.",
        "Look twice. One.",
        "One. Be kind.",
        "Be kind. One.",
    }


def test_demonstration_edits_by_hand():
    one = Policy(demonstrations=POOL[:1])
    assert {len(c.demonstrations) for c in apply("demonstration_add", one)} == {2, 3, 4}
    assert apply("demonstration_drop", one) == {Policy()}
    assert {c.demonstrations[0] for c in apply("demonstration_swap", one, seeds=200)} == set(
        POOL[1:]
    )
    two = Policy(demonstrations=POOL[:2])
    assert {c.demonstrations for c in apply("demonstration_reorder", two)} == {POOL[1::-1]}


def test_reordering_always_changes_the_order():
    four = Policy(demonstrations=POOL[:4])
    assert all(
        c.demonstrations != four.demonstrations
        for c in apply("demonstration_reorder", four, seeds=300)
    )


def test_label_words_stay_different():
    taken = Policy(label_words=(("a", "one"),))
    words = {(c.word("a"), c.word("b")) for c in apply("label_word_change", taken)}
    assert words == {("a", "b"), ("first", "b"), ("one", "second")}


def test_crossover_reaches_every_combination_of_slots():
    first, second = Policy("A", POOL[:1]), Policy("B", POOL[1:2])
    children = {
        BY_NAME["uniform_crossover"].apply((first, second), MATERIALS, np.random.default_rng(s))
        for s in range(80)
    }
    assert {(c.instruction, c.demonstrations) for c in children} == {
        (i, d) for i in "AB" for d in (POOL[:1], POOL[1:2])
    }


def test_crossover_draws_for_steps_and_evaluator_only_where_a_parent_has_them():
    """So lineages without them stay what they were: the draws are counted by what the generator
    gives next.
    """

    def next_draw(first: Policy, second: Policy, num_slots: int) -> bool:
        used, fresh = np.random.default_rng(1), np.random.default_rng(1)
        BY_NAME["uniform_crossover"].apply((first, second), MATERIALS, used)
        fresh.integers(2, size=num_slots)
        return used.bit_generator.state == fresh.bit_generator.state

    plain, other = Policy("A", POOL[:1]), Policy("B", POOL[1:2])
    stepped, judged = (
        Policy("C", steps=STEPS[:1]),
        Policy("D", steps=STEPS[:2], evaluator=Policy("Judge.")),
    )
    assert next_draw(plain, other, 4)
    assert next_draw(plain, stepped, 5)
    assert next_draw(stepped, judged, 6)
    children = {
        BY_NAME["uniform_crossover"].apply((plain, judged), MATERIALS, np.random.default_rng(s))
        for s in range(80)
    }
    assert {(c.steps, c.evaluator) for c in children} == {
        (s, e) for s in ((), STEPS[:2]) for e in (None, Policy("Judge."))
    }


def test_step_edits_by_hand():
    one = Policy(steps=("Who?",))
    assert {c.steps for c in apply("step_add", one, seeds=200)} == {
        p for s in STEPS[1:] for p in (("Who?", s), (s, "Who?"))
    }
    assert apply("step_add", Policy(steps=STEPS[:3])) == {None}
    assert apply("step_drop", one) == {Policy()}
    assert {c.steps for c in apply("step_drop", Policy(steps=STEPS[:2]))} == {("Who?",), ("Why?",)}


def test_an_evaluator_is_edited_by_each_operator_that_can_do_something_equally_often():
    bare = Materials(
        phrases=(),
        demonstrations=JUDGING.demonstrations,
        templates=JUDGING.templates,
        max_demonstrations=2,
    )
    policy = Policy("A", evaluator=Policy("One. Two."))
    # Four can: another template (of two, both other than the default one), add 1 or 2
    # demonstrations, delete a phrase, swap the phrases.
    kinds: dict[str, int] = {}
    for seed in range(400):
        child = (
            BY_NAME["evaluator_change"]
            .apply((policy,), Materials(evaluator=bare), np.random.default_rng(seed))
            .evaluator
        )
        changed = next(
            (
                s
                for s in ("template", "demonstrations")
                if getattr(child, s) != getattr(policy.evaluator, s)
            ),
            child.instruction,
        )
        kind = {"Two. One.": "swap", "One.": "delete", "Two.": "delete"}.get(changed, changed)
        kinds[kind] = kinds.get(kind, 0) + 1
    # Binomial(400, 1/4): 100 with a standard deviation of 8.7; five of them are missed by chance
    # with probability 6e-7 each.
    assert set(kinds) == {"template", "demonstrations", "swap", "delete"}
    assert all(abs(n - 100) < 5 * 8.7 for n in kinds.values()), kinds
    assert [o.name for o in evaluator_edits()] == [
        "demonstration_add",
        "demonstration_swap",
        "demonstration_drop",
        "demonstration_reorder",
        "instruction_insert",
        "instruction_replace",
        "instruction_delete",
        "instruction_swap",
        "label_word_change",
        "template_change",
    ]


def test_the_packages_own_clause_is_edited_and_stored_as_none():
    assert {c.instruction for c in apply("evaluator_change", Policy("A"))} == {"A"}
    assert None not in {c.evaluator for c in apply("evaluator_change", Policy("A"))}
    near = Policy(
        "A", evaluator=Policy(DEFAULT_EVALUATOR.instruction, template=JUDGING.templates[1])
    )
    assert Policy("A") in apply("evaluator_change", near, seeds=200)
    assert apply(
        "evaluator_change",
        Policy("A"),
        materials=Materials(phrases=("x",), templates=(Template("Q: "),)),
    ) == {None}


def test_what_the_model_wrote_is_shown_where_it_helps():
    author = ToyAuthor(gain=0.1)
    materials = Materials(demonstrations=POOL, max_demonstrations=4, author=author)
    policy = Policy(demonstrations=POOL[:2])
    for child in apply("context_stuffing", policy, materials=materials):
        [new] = [d for d in child.demonstrations if d not in policy.demonstrations]
        assert new.input.startswith("written ")
        assert new.target == "a"
        assert tuple(d for d in child.demonstrations if d != new) == policy.demonstrations
    places = {
        c.demonstrations.index(next(d for d in c.demonstrations if d not in POOL))
        for c in apply("context_stuffing", policy, materials=materials)
    }
    assert places == {0, 1, 2}
    # It was shown inputs, and helped with others; the prompt shows neither.
    asked = {*author.shown, *(d.input for d in author.held_out)}
    assert (len(author.shown), len(author.held_out), len(asked)) == (
        NUM_SHOWN,
        NUM_HELD_OUT,
        NUM_SHOWN + NUM_HELD_OUT,
    )
    assert asked <= {d.input for d in POOL[2:]}


@pytest.mark.parametrize(
    ("author", "why"),
    [
        (ToyAuthor(gain=0.0), "no help"),
        (ToyAuthor(gain=-1.0), "harm"),
        (ToyAuthor(gain=1.0, text=None), "nothing whole written"),
        (ToyAuthor(gain=1.0, text="text 3"), "an input of the pool again"),
        (ToyAuthor(gain=1.0, target=""), "no answer"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_help_or_not_new_is_not_shown(author, why):
    assert apply(
        "context_stuffing", Policy(), materials=Materials(demonstrations=POOL, author=author)
    ) == {None}, why


def test_a_full_prompt_or_a_small_pool_is_not_stuffed():
    ready = Materials(demonstrations=POOL, max_demonstrations=2, author=ToyAuthor(gain=1.0))
    assert apply("context_stuffing", Policy(demonstrations=POOL[:2]), materials=ready) == {None}
    few = Materials(demonstrations=POOL[: NUM_SHOWN + NUM_HELD_OUT], author=ToyAuthor(gain=1.0))
    assert None not in apply("context_stuffing", Policy(), materials=few)
    assert apply("context_stuffing", Policy(demonstrations=POOL[:1]), materials=few) == {None}


COLOURS = ("red", "blue", "grey")
BANKS = {"red": ("red", "blue", "rot", " "), "blue": ("rot", "blau"), "grey": ("grey", "blau ")}
OFFERED = Materials(label_words=BANKS, choices=(COLOURS,), phrases=("Look.",))


def test_a_label_word_is_never_that_of_another_choice_though_the_other_has_no_bank():
    sole = Materials(label_words={"red": ("red", "grey", "blue", "rot")}, choices=(COLOURS,))
    [child] = apply("label_word_change", Policy(), materials=sole)
    assert child.label_words == (("red", "rot"),)


@given(st.lists(st.tuples(st.sampled_from(sorted(BY_NAME)), st.integers(0, 99)), max_size=12))
def test_after_any_sequence_of_operators_no_two_choices_share_a_word(drawn):
    swapped = Policy(label_words=(("red", "blue"), ("blue", "red")))
    population = [Policy(), swapped, Policy(label_words=(("red", "rot"),))]
    for name, seed in drawn:
        operator, rng = BY_NAME[name], np.random.default_rng(seed)
        parents = [population[int(i)] for i in rng.integers(len(population), size=2)]
        child = operator.apply((parents * 2)[: operator.num_parents], OFFERED, rng)
        if child is not None:
            words = [child.word(c).strip() for c in COLOURS]
            assert len(set(words)) == len(words)
            assert all(words)
            population.append(child)


class Proposing:
    """Proposes a word for each choice, of which one is taken, and one other instruction."""

    def words(self, policy: Policy) -> dict[str, tuple[str, ...]]:
        return {"a": ("taken", "upper"), "b": ("upper",)}

    def exchanges(self, policy: Policy) -> tuple[Policy, ...]:
        return (replace(policy, instruction="Sort."),)


def test_proposed_words_stand_for_one_choice_each():
    parent = Policy("Go.", label_words=(("a", "first"), ("b", "taken")))
    materials = Materials(reader=Proposing(), choices=(("a", "b"),))
    found = {
        LabelWordFromModel().apply([parent], materials, np.random.default_rng(seed)).label_words
        for seed in range(20)
    }
    assert found == {
        (("a", "upper"), ("b", "taken")),
        (("a", "first"), ("b", "upper")),
    }


def test_without_a_reader_and_without_proposals_there_is_no_child():
    rng = np.random.default_rng(0)
    for operator in (LabelWordFromModel(), TokenSubstitute()):
        assert operator.apply([Policy("Go.")], Materials(), rng) is None
    taken = Policy(label_words=(("a", "upper"), ("b", "taken")))
    assert LabelWordFromModel().apply([taken], Materials(reader=Proposing()), rng) is None
    child = TokenSubstitute().apply([taken], Materials(reader=Proposing()), rng)
    assert child == replace(taken, instruction="Sort.")
