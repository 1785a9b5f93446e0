"""Ask and tell on a toy problem without a model: fitness is a pure function of the policy."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest

from evoprompt.config.evolution import EvolutionConfig, RacingConfig, SelectionConfig
from evoprompt.evolution.engine import Strategy, ask, found, tell, vary
from evoprompt.evolution.novelty import known_as
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import CLONE, FOUND, SURVIVE, Evaluation, Materials, State
from evoprompt.selection.schemes import SCHEMES
from evoprompt.variation.base import Edited
from evoprompt.variation.catalog import OPERATORS

POOL = tuple(Demonstration(f"{i}", "x") for i in range(12))
FOUNDERS = [Policy("A."), Policy("B."), Policy("C.")]


def strategy(**config) -> Strategy:
    plain = {"racing": RacingConfig(method="off"), "novelty": "id", "max_demonstrations": 8}
    settings = EvolutionConfig(**({"population": 4, "children": 6} | plain | config))
    materials = Materials(("p.", "q."), POOL, (), {}, max_demonstrations=5)
    return Strategy(
        settings, {o.name: o for o, _ in OPERATORS}, {o.name: w for o, w in OPERATORS}, materials
    )


def planted(policy: Policy) -> Evaluation:
    """The more of the demonstrations 0 to 4 a policy shows, the fitter it is; at best 0."""
    cases = tuple(0.0 if POOL[i] in policy.demonstrations else -1.0 for i in range(5))
    fitness = sum(cases) / 5
    shown = float(len(policy.demonstrations))
    traits = {"fitness": fitness, "prompt_tokens": shown, "num_demonstrations": shown}
    return Evaluation(fitness, cases, traits)


def evolve(strat: Strategy, generations: int, seed: int = 0, fitness=planted, fits=lambda p: True):
    state, history, seen = None, [], set()
    for _ in range(generations + 1):
        brood = (
            found(FOUNDERS)
            if state is None
            else vary(state, ask(state, strat), strat, set(seen), fits)
        )
        seen |= {b.policy.policy_id for b in brood.births}
        state, entries = tell(state, brood, [fitness(b.policy) for b in brood.births], strat, seed)
        history.append((state, entries))
    return history


def test_founders_are_births_without_parents_all_selected_and_each_once():
    brood = found([*FOUNDERS, FOUNDERS[0]])
    assert [b.policy for b in brood.births] == FOUNDERS
    assert all((b.operator, b.parent_ids, b.shares) == (FOUND, (), ()) for b in brood.births)
    _, entries = tell(None, brood, [planted(p) for p in FOUNDERS], strategy(population=1), 0)
    assert all(e.selected for e in entries)


@pytest.mark.parametrize("scheme", ["plus", "comma"])
@pytest.mark.parametrize("method", SCHEMES)
def test_parentage_is_complete_in_every_generation(scheme, method):
    selection = SelectionConfig(method=method)
    history = evolve(
        strategy(scheme=scheme, parent_selection=selection, survival_selection=selection), 5
    )
    for (before, _), (after, entries) in itertools.pairwise(history):
        parents = {m.birth.birth_id for m in before.members}
        for entry in entries:
            birth = entry.member.birth
            assert set(birth.parent_ids) <= parents
            assert sum(birth.shares) == 1
        survivors = [e for e in entries if e.member.birth.operator == SURVIVE]
        assert len(survivors) == (len(before.members) if scheme == "plus" else 0)
        assert len(entries) - len(survivors) == 6
        assert {m.birth.birth_id for m in after.members} == {
            e.member.birth.birth_id for e in entries if e.selected
        }
        policies = [m.birth.policy for m in after.members]
        assert len(policies) == len(set(policies)) == 4


def test_the_planted_optimum_is_found_and_random_fitness_does_not_find_it():
    assert evolve(strategy(), 60)[-1][0].members[0].evaluation.fitness == 0
    # Power twin: with fitness that does not know the plant, the best true fitness stays away from
    # it.
    noise = evolve(
        strategy(), 60, fitness=lambda p: replace(planted(p), fitness=int(p.policy_id, 16) / 2**64)
    )
    assert max(planted(m.birth.policy).fitness for m in noise[-1][0].members) < 0


def test_with_the_plus_scheme_and_truncation_the_best_is_never_lost():
    best = [max(m.evaluation.fitness for m in state.members) for state, _ in evolve(strategy(), 20)]
    assert best == sorted(best)


def test_the_same_seed_has_the_same_history_and_another_seed_another():
    assert evolve(strategy(), 6, seed=1) == evolve(strategy(), 6, seed=1)
    assert evolve(strategy(), 6, seed=1) != evolve(strategy(), 6, seed=2)


#: The operators of the first release, with the weights that they had.
FIRST = {
    "demonstration_add": 3.0,
    "demonstration_swap": 3.0,
    "demonstration_drop": 1.0,
    "demonstration_reorder": 1.5,
    "instruction_insert": 0.5,
    "instruction_replace": 0.5,
    "instruction_delete": 0.5,
    "instruction_swap": 0.25,
    "label_word_change": 1.5,
    "template_change": 1.0,
    "uniform_crossover": 2.0,
}


def test_operators_that_are_not_asked_for_leave_every_draw_as_it_was():
    """The lineage by the operators of the first release, as it came before others stood beside
    them.
    """
    first = replace(strategy(), weights=dict.fromkeys(strategy().weights, 0.0) | FIRST)
    births = [e.member.birth for _, entries in evolve(first, 8, seed=1) for e in entries]
    text = "\n".join(f"{b.birth_id} {b.policy.policy_id} {b.operator}" for b in births)
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == "84a034d37fd15af9"


def test_a_state_alone_has_the_same_future():
    history = evolve(strategy(), 4)
    state, seen = (
        history[2][0],
        {e.member.birth.policy.policy_id for _, entries in history[:3] for e in entries},
    )
    copy = State(state.seed, state.generation, state.members)
    assert vary(copy, ask(copy, strategy()), strategy(), seen, lambda p: True).births == tuple(
        e.member.birth for e in history[3][1]
    )


def test_children_are_new_as_long_as_new_ones_can_be_made():
    history = evolve(strategy(), 8)
    children = [
        e.member.birth.policy
        for _, entries in history
        for e in entries
        if e.member.birth.operator != SURVIVE
    ]
    assert len(children) == len(set(children))


def test_a_child_that_does_not_fit_the_window_is_never_born():
    history = evolve(strategy(), 6, fits=lambda p: len(p.demonstrations) <= 1)
    assert all(
        len(e.member.birth.policy.demonstrations) <= 1 for _, entries in history for e in entries
    )


def test_where_no_child_can_be_made_the_parent_is_born_again():
    nothing = replace(strategy(), materials=Materials())
    lonely = replace(nothing, weights={"demonstration_add": 1.0})
    history = evolve(lonely, 2)
    births = [e.member.birth for e in history[1][1] if e.member.birth.operator != SURVIVE]
    assert {b.policy for b in births} <= set(FOUNDERS)
    assert {b.operator for b in births} == {CLONE}
    assert all(b.shares == (1.0,) for b in births)


@pytest.mark.parametrize(
    "operator", ["demonstration_drop", "instruction_insert", "uniform_crossover"]
)
def test_a_policy_that_is_known_is_never_recorded_as_an_operators_work(operator):
    # two demonstrations and one phrase: what can be made is soon made
    materials = Materials(("p.",), POOL[:2], max_demonstrations=2)
    few = replace(strategy(), materials=materials, weights={operator: 1.0})
    seen = {p.policy_id for p in FOUNDERS}
    clones = 0
    for _, entries in evolve(few, 5)[1:]:
        made = [e.member.birth for e in entries if e.member.birth.operator not in (SURVIVE, CLONE)]
        assert not seen & {b.policy.policy_id for b in made}
        seen |= {b.policy.policy_id for b in made}
        clones += sum(e.member.birth.operator == CLONE for e in entries)
    assert clones > 0


def test_a_comma_population_keeps_its_size_where_nothing_new_can_be_made():
    lonely = replace(
        strategy(scheme="comma", population=3, children=3),
        materials=Materials(),
        weights={"demonstration_add": 1.0},
    )
    for state, entries in evolve(lonely, 6):
        policies = [m.birth.policy for m in state.members]
        assert len(policies) == len(set(policies)) == 3
        assert all(len(e.member.birth.shares) <= 1 for e in entries)
    # power: with children enough nobody survives
    free = evolve(strategy(scheme="comma", population=3, children=3), 6)
    assert not [e for _, entries in free for e in entries if e.member.birth.operator == SURVIVE]


class Twin:
    """Gives both choices one word, as an operator of another package may."""

    name, num_parents, slot, needs = "twin", 1, "label_words", frozenset()

    def apply(self, parents, materials, rng):
        return replace(parents[0], label_words=(("yes", "no"),), instruction=str(rng.random()))


def test_a_child_that_has_one_word_for_two_choices_is_never_born():
    def children(choices):
        materials = Materials(choices=choices)
        twins = replace(
            strategy(), operators={"twin": Twin()}, weights={"twin": 1.0}, materials=materials
        )
        return [e.member.birth.policy for e in evolve(twins, 1)[1][1]]

    assert set(children((("yes", "no"),))) == set(FOUNDERS)
    assert len(set(children((("yes", "maybe"),)))) == 3 + 6  # power: these differ, and are born


class Tag:
    """Adds a letter to the instruction; of one parent or two, and unable to where it is long."""

    def __init__(self, name: str, num_parents: int = 1, most: int = 99) -> None:
        self.name, self.num_parents, self._most = name, num_parents, most
        self.slot, self.needs = "instruction", frozenset()

    def apply(self, parents, materials, rng):
        text = parents[0].instruction + self.name
        return replace(parents[0], instruction=text) if len(text) <= self._most else None


def tagged(*operators: Tag, **config) -> list:
    """Return the children of the first generation, of parents "A.", "B." and "C."."""
    strat = replace(
        strategy(children=300, **config),
        operators={o.name: o for o in operators},
        weights={o.name: 1.0 for o in operators},
    )
    births = [e.member.birth for e in evolve(strat, 1)[1][1]]
    return [b for b in births if b.operator not in (SURVIVE, CLONE)]


def test_a_child_is_edited_again_as_often_as_it_is_drawn_and_its_birth_names_every_edit():
    operators = [Tag(f"{letter}{n:03}") for letter in "xy" for n in range(400)] + [Tag("z", 2)]
    children = tagged(*operators, further_edits=0.5)
    for birth in children:
        made = birth.edits or (birth.operator,)
        assert birth.policy.instruction[2:] == "".join(made)
        assert made[0] == birth.operator
        assert len(birth.parent_ids) == (2 if birth.operator == "z" else 1)
        assert "z" not in made[1:]  # one parent is all that there is
    sizes = [max(1, len(b.edits)) for b in children]
    # geometric with 1/2, the last probability that of all beyond: 300 times (1/2, 1/4, 1/8, 1/8),
    # with standard deviations of at most 8.7; each is missed by five with p < 6e-7
    for size, expected in ((1, 150), (2, 75), (3, 37.5), (4, 37.5)):
        assert abs(sizes.count(size) - expected) < 5 * 8.7, sizes
    assert children == tagged(*operators, further_edits=0.5)


def test_every_child_has_four_edits_where_another_is_certain_and_one_where_there_is_none():
    operators = [Tag(f"{letter}{n:03}") for letter in "xy" for n in range(400)]
    assert {len(b.edits) for b in tagged(*operators, further_edits=1.0)} == {4}
    assert {b.edits for b in tagged(*operators)} == {()}


class InWays(Tag):
    """Says in which of its ways it added a letter."""

    def apply(self, parents, materials, rng):
        child = super().apply(parents, materials, rng)
        return None if child is None else Edited(child, f"way{int(rng.integers(3))}")


def test_the_way_in_which_an_operator_made_a_child_is_named_with_it():
    children = tagged(InWays("x"), InWays("y"), further_edits=0.5)
    assert {b.operator for b in children} == {"x", "y"}
    for birth in children:
        assert birth.edits[0].startswith(birth.operator + ":way")
        assert birth.policy.instruction[2:] == "".join(e.partition(":")[0] for e in birth.edits)
    assert {edit for b in children for edit in b.edits} == {
        f"{name}:way{i}" for name in "xy" for i in range(3)
    }


def test_an_edit_that_could_do_nothing_is_not_named():
    children = tagged(Tag("x", most=3), Tag("yy", most=4), further_edits=1.0)
    assert {(b.policy.instruction[2:], b.edits) for b in children} == {("x", ()), ("yy", ())}


def test_with_novelty_by_set_no_child_is_a_known_set_in_another_order():
    def known_sets(novelty: str) -> int:
        materials = Materials(demonstrations=POOL[:4], max_demonstrations=3)
        few = replace(strategy(novelty=novelty), materials=materials)
        few = replace(few, weights={"demonstration_add": 1.0, "demonstration_reorder": 3.0})
        state, seen, sets = None, [], []
        for _ in range(5):
            known = {known_as(p, novelty) for p in seen}
            brood = (
                found(FOUNDERS)
                if state is None
                else vary(state, ask(state, few), few, known, lambda p: True)
            )
            for birth in brood.births:
                if birth.operator not in (SURVIVE, CLONE):
                    policy = birth.policy
                    sets.append((policy.instruction, frozenset(policy.demonstrations)))
            seen += [b.policy for b in brood.births]
            state, _ = tell(state, brood, [planted(b.policy) for b in brood.births], few, 0)
        return len(sets) - len(set(sets))

    assert known_sets("set") == 0
    assert known_sets("id") > 0
