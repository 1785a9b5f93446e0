"""Invariants: (1) a chain of births leads from a founder to a policy and its gains add up; (2)
lines only merge, looking back, and a slow search finds the same ancestors; (3) without selection
two lines meet after N generations and diversity drifts away as 1 - 1/N_e says; (4) what is drawn is
a tree; (5) long and wide lineages take no loop over individuals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.lineages import births_of
from toys.work import lines_run, most_bytes

from evoprompt.dynamics.diversity import meeting_probability
from evoprompt.dynamics.genealogy import Genealogy, Step
from evoprompt.dynamics.inheritance import Undefined

FITNESS = ("fitness",)


def small():
    """Three founders a, b, c; then crossings, an edit, an immigrant and survivors:

    generation 0: a (1) b (2) c (0) generation 1: d = survivor of b (2), e = crossover of a and b
    (4), f = edit of c (1, not selected) generation 2: g = survivor of d (2), h = crossover of e
    (share 0.3) and d (share 0.7) (5), i = edit of e (6), j = immigrant (0, not selected)
    """
    first = births_of([[1.0], [2.0], [0.0]], generation=0, names=FITNESS)
    links = [(0, 1, 1), (1, 0, 0.5), (1, 1, 0.5), (2, 2, 1)]
    second = births_of(
        [[2.0], [4.0], [1.0]],
        links,
        ["survive", "crossover", "edit"],
        generation=1,
        selected=[True, True, False],
        names=FITNESS,
    )
    links = [(0, 0, 1), (1, 1, 0.3), (1, 0, 0.7), (2, 1, 1)]
    operators = ["survive", "crossover", "edit", "found"]
    third = births_of(
        [[2.0], [5.0], [6.0], [0.0]],
        links,
        operators,
        generation=2,
        selected=[True, True, True, False],
        names=FITNESS,
    )
    named = (
        replace(b, birth_ids=tuple(n))
        for b, n in ((first, "abc"), (second, "def"), (third, "ghij"))
    )
    return genealogy_of(named)


def genealogy_of(generations):
    genealogy = Genealogy()
    for births in generations:
        genealogy.add(births)
    return genealogy


def wright_fisher(rng, size, num_generations, *, chances=None):
    """Neutral haploids: every birth draws its parent with equal chances, and copies its policy."""
    policies = np.arange(size)
    for g in range(num_generations):
        parent = rng.choice(size, size, p=chances) if g else np.zeros(0, dtype=np.int64)
        policies = policies[parent] if g else policies
        births = births_of(
            np.zeros((size, 1)),
            [(j, i, 1) for j, i in enumerate(parent)],
            ["edit" if g else "found"] * size,
            generation=g,
            names=FITNESS,
        )
        yield replace(births, policy_ids=tuple(map(str, policies)))


@st.composite
def lineages(draw):
    """2 to 8 generations of up to 8 births with up to 3 parents of random shares, immigrants,
    survivors, and births that are not selected.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    generations, pool = [], np.zeros(0, dtype=np.int64)
    immigration = draw(st.sampled_from([0.0, 0.2]))
    for g in range(draw(st.integers(2, 8))):
        n = int(rng.integers(1, 9))
        links, operators = [], []
        for j in range(n):
            chosen = (
                rng.choice(pool, size=min(len(pool), rng.integers(1, 4)), replace=False)
                if rng.random() >= immigration
                else pool[:0]
            )
            operators.append(
                str(rng.choice(["survive", "edit", "mix"])) if len(chosen) else "found"
            )
            chosen = chosen[:1] if operators[-1] == "survive" else chosen
            shares = (
                rng.choice([np.ones(len(chosen)), rng.random(len(chosen)) + 0.1])
                if len(chosen)
                else []
            )
            links += [(j, i, s / sum(shares)) for i, s in zip(chosen, shares, strict=True)]
        selected = rng.random(n) < 0.7
        selected[int(rng.integers(n))] = True
        pool = np.flatnonzero(selected)
        traits = rng.integers(0, 5, size=(n, 1)).astype(float)
        generations.append(
            births_of(traits, links, operators, generation=2 * g, selected=selected, names=FITNESS)
        )
    return generations


def slow_parent(generations, g, i):
    """The parent that is followed, by the rule as it is written."""
    b = generations[g]
    own = [
        (float(b.share[k]), float(generations[g - 1].traits[b.parent[k], 0]), -k, int(b.parent[k]))
        for k in np.flatnonzero(b.child == i)
    ]
    return max(own, key=lambda link: (round(link[0], 12), *link[1:]))[3] if own else None


def slow_lines(generations):
    """Of each selected birth at the end, its ancestor in every generation, as long as there is one:
    {generation index: birth}.
    """
    lines = []
    for i in np.flatnonzero(generations[-1].selected):
        g, at, line = len(generations) - 1, int(i), {}
        while at is not None:
            line[g] = at
            g, at = g - 1, slow_parent(generations, g, at)
        lines.append(line)
    return lines


def test_a_chain_of_births_worked_by_hand():
    # i is an edit of e (4): gain 2. e is a crossover of a (1) and b (2), mid-parent 1.5: gain 2.5;
    # equal shares, so the fitter b is followed.
    assert small().ancestry("i") == (
        Step("b", 0, "found", 2.0, None, ()),
        Step("e", 1, "crossover", 4.0, 2.5, (("b", 0.5), ("a", 0.5))),
        Step("i", 2, "edit", 6.0, 2.0, (("e", 1.0),)),
    )


def test_the_larger_share_is_followed_and_survivals_are_left_out():
    # h: 0.3 of e (4) and 0.7 of d (2), which is b still living: mid-parent 2.6, gain 2.4.
    *_, last = small().ancestry("h")
    assert last == Step("h", 2, "crossover", 5.0, pytest.approx(2.4), (("b", 0.7), ("e", 0.3)))
    assert [s.birth_id for s in small().ancestry("h")] == ["b", "h"]
    assert [s.birth_id for s in small().ancestry("g")] == ["b"]  # b itself, two generations later
    assert [s.birth_id for s in small().ancestry("f")] == [
        "c",
        "f",
    ]  # those that were not selected have ancestors too
    with pytest.raises(KeyError, match="no birth z"):
        small().ancestry("z")


def test_lines_that_meet_worked_by_hand():
    # g, h -> d, i -> e; d, e -> b. Pairs apart: all at the end, 1 - 1/3 in generation 1, none in 0.
    # Time of g and h 1, of the others 2: mean 5/3.
    found = small().coalescence()
    assert found.num_lineages.tolist() == [1, 2, 3]
    assert found.num_rooted.tolist() == [0, 0, 0]
    assert found.apart == pytest.approx([0, 2 / 3, 1])
    assert found.common_ancestor == (0, "b")
    assert found.mean_pair_time == pytest.approx(5 / 3)
    earlier = small().coalescence(generation=0)
    assert earlier.common_ancestor == Undefined("3 lines are left that never meet")
    assert earlier.mean_pair_time == Undefined("some pairs never meet")


def test_diversity_and_effective_size_worked_by_hand():
    # Generation 1: d = (b), e = (a, b)/2 selected. w = a 0.5, b 1.5: w^2 sums to 2.5; sum of A^2 =
    # 1 + 0.5; c = (2.5 - 1.5) / 2 = 1/2, N_e = 2. H: three founders 2/3, then two policies 1/2.
    # Neutral: 2/3 (1/2) (1/2) / (2/3) = 1/4.
    first, second, third = small().diversity()
    assert (
        first.num_selected,
        first.num_policies,
        first.difference,
        first.neutral,
    ) == pytest.approx((3, 3, 2 / 3, 2 / 3))
    assert (first.meeting, first.effective_size) == (None, None)
    assert (
        second.meeting,
        second.effective_size,
        second.difference,
        second.neutral,
    ) == pytest.approx((0.5, 2, 0.5, 0.25))
    assert (second.num_founders, second.founder_difference) == (1, 0)  # both follow b
    # Generation 2: w = d 1.7, e 1.3: 4.58; A^2: 1 + 0.09 + 0.49 + 1 = 2.58; c = 2 / 6.
    assert third.meeting == pytest.approx(1 / 3)


@given(lineages())
def test_a_slow_search_finds_the_same_lines(generations):
    lines, found = slow_lines(generations), genealogy_of(generations).coalescence()
    for g in range(len(generations)):
        assert found.num_lineages[g] == len({line[g] for line in lines if g in line})
        assert found.num_rooted[g] == len(
            {(min(line), line[min(line)]) for line in lines if min(line) > g}
        )
    shared = [
        g
        for g in range(len(generations))
        if all(g in line for line in lines) and len({line[g] for line in lines}) == 1
    ]
    if shared:
        assert found.common_ancestor == (
            2 * shared[-1],
            generations[shared[-1]].birth_ids[lines[0][shared[-1]]],
        )
    else:
        assert isinstance(found.common_ancestor, Undefined)
    n = len(lines)
    if n > 1:
        pairs = [(a, b) for i, a in enumerate(lines) for b in lines[:i]]
        meetings = [max((g for g in a if a[g] == b.get(g)), default=-1) for a, b in pairs]
        assert found.apart == pytest.approx(
            [sum(m < g for m in meetings) / len(pairs) for g in range(len(generations))]
        )
        if shared:
            assert found.mean_pair_time == pytest.approx(
                np.mean([2 * (len(generations) - 1 - m) for m in meetings])
            )
    else:
        assert found.apart is None


@given(lineages())
def test_looking_back_lines_never_become_more(generations):
    found = genealogy_of(generations).coalescence()
    assert np.all(np.diff(found.num_lineages + found.num_rooted) >= 0)


@given(lineages())
def test_a_chain_follows_the_rule_and_its_gains_are_birth_minus_mid_parent(generations):
    genealogy = genealogy_of(generations)
    last = len(generations) - 1
    for line, i in zip(
        slow_lines(generations), np.flatnonzero(generations[last].selected), strict=True
    ):
        steps = genealogy.ancestry(generations[last].birth_ids[i])
        expected = [
            g
            for g in sorted(line)
            if generations[g].operator_names[generations[g].operator[line[g]]] != "survive"
        ]
        assert [(s.generation, s.birth_id) for s in steps] == [
            (2 * g, generations[g].birth_ids[line[g]]) for g in expected
        ]
        assert steps[0].gain is None
        for g, step in zip(expected[1:], steps[1:], strict=True):
            assert sum(share for _, share in step.parents) == pytest.approx(1)
            mid = generations[g].mid_parent(generations[g - 1].traits[:, 0])[line[g]]
            assert step.gain == pytest.approx(step.fitness - mid)


def test_gains_of_single_parents_add_up_to_the_fitness():
    rng = np.random.default_rng(1)
    generations = [births_of(rng.normal(size=(6, 1)), generation=0, names=FITNESS)]
    for g in range(1, 20):
        links = [(j, i, 1) for j, i in enumerate(rng.integers(0, 6, 6))]
        generations.append(
            births_of(rng.normal(size=(6, 1)), links, ["edit"] * 6, generation=g, names=FITNESS)
        )
    steps = genealogy_of(generations).ancestry("19-3")
    assert len(steps) == 20
    assert steps[0].fitness + sum(s.gain for s in steps[1:]) == pytest.approx(steps[-1].fitness)


@given(lineages())
def test_lines_that_meet_by_shares_have_the_probability_of_a_double_sum(generations):
    for before, births in pairwise(generations):
        shares = np.zeros((len(births), len(before)))
        shares[births.child, births.parent] = births.share
        own = shares[births.selected & births.has_parents]
        m = len(own)
        expected = (
            sum(own[j] @ own[k] for j in range(m) for k in range(m) if j != k) / (m * (m - 1))
            if m > 1
            else None
        )
        assert meeting_probability(births) == (
            None if expected is None else pytest.approx(expected, abs=1e-12)
        )


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_effective_size_of_single_parents_is_crow_and_kimuras(seed, n):
    births = list(wright_fisher(np.random.default_rng(seed), n, 2))[1]
    success = np.bincount(births.parent, minlength=n)
    mean, variance = success.mean(), success.var()
    assert meeting_probability(births) == pytest.approx(
        (mean - 1 + variance / mean) / (n * mean - 1)
    )


@pytest.mark.statistical
def test_without_selection_two_lines_meet_after_n_generations_and_the_effective_size_is_n():
    """N = 8, 120 lineages of 80 generations; the mean time over pairs within 4 errors (6e-5) of N,
    an error being under 8 % of it.

    Power twin: where parents have unequal chances (1/N_e = sum p^2) lines meet after N_e
    generations, and N is refused.
    """
    rng, equal, unequal = (
        np.random.default_rng(2),
        np.full(8, 1 / 8),
        np.array([0.45, 0.2] + [0.35 / 6] * 6),
    )
    for chances in (equal, unequal):
        lineages = [genealogy_of(wright_fisher(rng, 8, 80, chances=chances)) for _ in range(120)]
        times, size = (
            np.array([g.coalescence().mean_pair_time for g in lineages]),
            1 / (chances @ chances),
        )
        error = times.std(ddof=1) / np.sqrt(len(times))
        assert abs(times.mean() - size) < 4 * error < 4 * 0.08 * size
        meeting = np.array([d.meeting for g in lineages for d in g.diversity()[1:]])
        assert meeting.mean() == pytest.approx(
            1 / size, abs=4.9 * meeting.std() / np.sqrt(len(meeting))
        )
    assert abs(times.mean() - 8) > 4 * error


def test_without_selection_diversity_drifts_away_as_the_effective_size_says():
    """400 populations of 12 with unequal chances: mean observed H equals the mean neutral H in
    every generation within 4 errors.

    Power twin: what a population of constant N_e = N would keep, H_0 (1 - 1/N)^t, is refused.
    """
    rng, chances = np.random.default_rng(3), np.array([0.25, 0.25] + [0.05] * 10)
    observed, neutral = [], []
    for _ in range(400):
        rows = genealogy_of(wright_fisher(rng, 12, 9, chances=chances)).diversity()
        observed.append([d.difference for d in rows])
        neutral.append([d.neutral for d in rows])
        assert [d.difference for d in rows] == pytest.approx(
            [d.founder_difference for d in rows]
        )  # copies: a policy is its founder's
    gap = np.array(observed) - np.array(neutral)
    error = gap.std(axis=0) / np.sqrt(len(gap))
    assert np.all(np.abs(gap.mean(axis=0)) <= 4 * error + 1e-12)
    naive = np.array(observed)[:, 4] - observed[0][0] * (1 - 1 / 12) ** 4
    assert abs(naive.mean()) > 4 * naive.std() / np.sqrt(len(naive))


def test_new_policies_and_a_bottleneck_show_in_diversity():
    first = births_of([[0.0]] * 4, generation=0, names=FITNESS)
    copies = [(j, j % 4, 1) for j in range(4)]
    second = births_of(
        [[0.0]] * 4,
        copies,
        ["edit"] * 4,
        generation=1,
        selected=[True, False, False, False],
        names=FITNESS,
    )
    third = births_of(
        [[0.0]] * 4, [(j, 0, 1) for j in range(4)], ["edit"] * 4, generation=2, names=FITNESS
    )
    rows = genealogy_of([first, second, third]).diversity()
    assert [(r.num_policies, r.difference, r.neutral, r.num_founders) for r in rows] == [
        (4, 0.75, 0.75, 4),
        (1, 0.0, 0.0, 1),
        (4, 0.75, 0.0, 1),
    ]
    assert [r.meeting for r in rows] == [None, None, 1.0]


def test_the_tree_worked_by_hand():
    # b lives through d and g to the end; e is a child of b, i of e, h of b (by d). Descendants at
    # the end: b 3 (g, h, i), e 1, h 1, i 1.
    tree = small().tree()
    assert tree.birth_ids == ("b", "e", "h", "i")
    assert tree.parent.tolist() == [-1, 0, 0, 1]
    assert (tree.generation.tolist(), tree.last_generation.tolist()) == ([0, 1, 2, 2], [2, 1, 2, 2])
    assert (tree.num_descendants.tolist(), tree.on_best_line.tolist()) == (
        [3, 1, 1, 1],
        [True, True, False, True],
    )
    assert (tree.operator, tree.fitness.tolist(), tree.num_hidden) == (
        ("found", "crossover", "crossover", "edit"),
        [2, 4, 5, 6],
        0,
    )
    assert small().tree(max_nodes=3).birth_ids == ("b", "e", "i")  # the line of the fittest first
    assert small().tree(max_nodes=3).num_hidden == 1
    with pytest.raises(ValueError, match="max_nodes=0"):
        small().tree(max_nodes=0)


@given(lineages(), st.integers(1, 30))
def test_what_is_kept_is_a_tree_of_the_lines_whatever_its_size(generations, max_nodes):
    genealogy, lines = genealogy_of(generations), slow_lines(generations)
    whole, tree = genealogy.tree(10_000), genealogy.tree(max_nodes)
    assert len(tree.birth_ids) == min(max_nodes, len(whole.birth_ids))
    assert len(tree.birth_ids) + tree.num_hidden == len(whole.birth_ids)
    assert np.all(tree.parent < np.arange(len(tree.parent)))
    parent_of = {
        b: whole.birth_ids[p] if p >= 0 else None
        for b, p in zip(whole.birth_ids, whole.parent, strict=True)
    }
    assert {
        b: tree.birth_ids[p] if p >= 0 else None
        for b, p in zip(tree.birth_ids, tree.parent, strict=True)
    }.items() <= parent_of.items()
    chains = [
        genealogy.ancestry(generations[-1].birth_ids[line[len(generations) - 1]]) for line in lines
    ]
    assert set(whole.birth_ids) == {s.birth_id for chain in chains for s in chain}
    best = max(
        zip(chains, lines, strict=True),
        key=lambda c: generations[-1].traits[c[1][len(generations) - 1], 0],
    )[0]
    assert {b for b, on in zip(whole.birth_ids, whole.on_best_line, strict=True) if on} == {
        s.birth_id for s in best
    }
    descendants = [
        sum(b in {s.birth_id for s in chain} for chain in chains) for b in whole.birth_ids
    ]
    assert whole.num_descendants.tolist() == descendants


def test_generations_out_of_order_and_unknown_parents_are_refused():
    founders = births_of([[1.0], [2.0]], generation=0, names=FITNESS)
    with pytest.raises(ValueError, match="add them in order"):
        genealogy_of([founders, founders])
    with pytest.raises(ValueError, match="add all from the founders on"):
        genealogy_of([births_of([[1.0]], [(0, 0, 1)], ["edit"], names=FITNESS)])
    with pytest.raises(ValueError, match="add all from the founders on"):
        genealogy_of([founders, births_of([[1.0]], [(0, 2, 1)], ["edit"], names=FITNESS)])
    with pytest.raises(ValueError, match="its traits are: tokens"):
        genealogy_of([births_of([[1.0]], names=("tokens",))])
    with pytest.raises(ValueError, match="has no generation 7"):
        genealogy_of([founders]).coalescence(7)


def many_births(n: int) -> Callable[[], None]:
    """The account of 20 generations of n individuals, to be made."""
    rng = np.random.default_rng(4)
    ids = [tuple(f"{g}-{i}" for i in range(n)) for g in range(20)]
    founders = births_of(np.zeros((n, 1)), generation=0, names=FITNESS)
    generations = []
    for g in range(20):
        parent = rng.integers(0, n, n) if g else np.zeros(0, dtype=np.int64)
        generations.append(
            replace(
                founders,
                generation=g,
                birth_ids=ids[g],
                policy_ids=ids[g],
                child=np.arange(len(parent)),
                parent=parent,
                share=np.ones(len(parent)),
            )
        )

    def account() -> None:
        genealogy = Genealogy()
        for born in generations:
            genealogy.add(born)
        genealogy.coalescence()
        genealogy.tree()

    return account


def test_an_account_of_many_births_grows_with_them_alone():
    """200,000 births take 0.3 s on a slow core: two lines of Python and 60 bytes a birth."""
    few, many = many_births(100), many_births(1000)
    assert lines_run(many) - lines_run(few) < 3 * 20 * 900
    assert most_bytes(many) - most_bytes(few) < 100 * 20 * 900
