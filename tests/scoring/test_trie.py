"""Invariants: (1) rows are the distinct prefixes; (2) every row is forwarded once, after its
ancestors; (3) passes obey the budget; (4) the mask is the ancestor relation; (5) the scored rows
read off each request's own path.
"""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.requests import request_lists

from evoprompt.scoring.trie import TokenRequest, count_rows, plan, trunk_cuts, visible

budgets = st.integers(1, 30)


def path_of(trie, row: int) -> tuple[int, ...]:
    """The tokens from the root to a row, by the slow way: all rows whose subtree holds it."""
    return tuple(int(trie.tokens[k]) for k in range(row + 1) if trie.subtree_end[k] > row)


@given(request_lists, budgets)
def test_rows_are_exactly_the_distinct_prefixes(requests, budget):
    trie = plan(requests, budget)
    prefixes = {r.fed[:n] for r in requests for n in range(1, len(r.fed) + 1)}
    assert [path_of(trie, row) for row in range(trie.num_rows)] == sorted(prefixes)
    assert count_rows(requests) == trie.num_rows
    assert trie.depth.tolist() == [len(path_of(trie, row)) - 1 for row in range(trie.num_rows)]


@given(request_lists, budgets)
def test_every_row_is_forwarded_once_within_the_budget_and_after_its_ancestors(requests, budget):
    trie = plan(requests, budget)
    assert next((p.start, p.end) for p in trie.passes)[0] == 0
    assert [row for p in trie.passes for row in range(p.start, p.end)] == list(range(trie.num_rows))
    for piece in trie.passes:
        assert piece.end - piece.start <= budget
        known = {row for start, end in piece.past for row in range(start, end)} | set(
            range(piece.start, piece.end)
        )
        for row in range(piece.start, piece.end):
            assert {k for k in range(row) if trie.subtree_end[k] > row} <= known
        assert all(
            trie.subtree_end[row] > piece.end - 1
            for start, end in piece.past
            for row in range(start, end)
        )


@given(request_lists, budgets)
def test_kept_rows_are_a_stack(requests, budget):
    kept: tuple = ()
    for piece in plan(requests, budget).passes:
        assert piece.past == kept[: len(piece.past)]
        kept = piece.past + (((piece.start, piece.end),) if piece.keep else ())


@given(request_lists, budgets)
def test_a_row_sees_its_ancestors_and_nothing_else(requests, budget):
    trie = plan(requests, budget)
    for piece in trie.passes:
        columns = [row for s, e in (*piece.past, (piece.start, piece.end)) for row in range(s, e)]
        expected = [
            [trie.subtree_end[k] > q and k <= q for k in columns]
            for q in range(piece.start, piece.end)
        ]
        assert visible(trie, piece).tolist() == expected


@given(request_lists, budgets)
def test_each_scored_token_is_predicted_at_the_end_of_its_own_prefix(requests, budget):
    trie = plan(requests, budget)
    at = 0
    for index, request in enumerate(requests):
        whole = request.context + request.continuation
        for position in range(len(request.context), len(whole)):
            assert path_of(trie, int(trie.scored_row[at])) == whole[:position]
            assert trie.scored_token[at] == whole[position]
            assert trie.scored_request[at] == index
            at += 1
    assert np.flatnonzero(trie.needs_head).tolist() == sorted(set(trie.scored_row.tolist()))


def test_two_examples_under_one_prompt_worked_by_hand():
    # prompt 7 7; examples 1 and 2; continuations (5,) and (6, 4). Fed: 7 7 1, 7 7 1 6, 7 7 2, 7 7 2
    # 6 -> rows 7 7 1 6 2 6.
    requests = [TokenRequest((7, 7, x), y) for x in (1, 2) for y in ((5,), (6, 4))]
    trie = plan(requests, budget=3)
    assert trie.tokens.tolist() == [7, 7, 1, 6, 2, 6]
    assert trie.subtree_end.tolist() == [6, 6, 4, 4, 6, 6]
    assert [(p.start, p.end, p.keep) for p in trie.passes] == [
        (0, 2, True),
        (2, 4, False),
        (4, 6, False),
    ]
    assert trie.needs_head.tolist() == [False, False, True, True, True, True]


def test_what_fits_the_budget_goes_in_one_pass():
    requests = [TokenRequest((7, 7, x), (5, 6)) for x in (1, 2)]
    assert len(plan(requests, budget=6).passes) == 1


def test_an_empty_part_is_refused():
    with pytest.raises(ValueError, match="neither may be empty"):
        TokenRequest((), (1,))


@given(request_lists, st.lists(st.integers(1, 12), max_size=4), st.integers(1, 40))
def test_cuts_give_the_trunk_passes_of_its_own_and_change_nothing_else(requests, steps, budget):
    shared = min(len(_shared([r.context for r in requests])), min(len(r.context) for r in requests))
    cuts = [c for c in np.cumsum(steps).tolist() if c <= shared]
    cut, whole = plan(requests, budget, cuts), plan(requests, budget)
    assert cut.tokens.tolist() == whole.tokens.tolist()
    trunk = [p for p in cut.passes if p.is_trunk]
    assert [p.end for p in trunk] == cuts
    assert all(p.keep for p in trunk)
    covered = sorted((p.start, p.end) for p in cut.passes)
    assert [row for start, end in covered for row in range(start, end)] == list(range(cut.num_rows))


def test_a_cut_beyond_what_all_share_is_refused():
    requests = [TokenRequest((1, 2, 3), (4,)), TokenRequest((1, 2, 5), (4,))]
    plan(requests, 16, [2])
    for cuts in ([3], [4], [2, 2], [9]):
        with pytest.raises(
            ValueError, match="not ascending within the tokens that all requests share"
        ):
            plan(requests, 16, cuts)


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=40),
    st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=4),
)
def test_trunks_that_begin_alike_are_cut_alike(trunk, endings):
    """The property that lets a stored segment serve another prompt: a cut depends on nothing after
    it.
    """
    breaks = frozenset([0])
    alone = trunk_cuts([tuple(trunk)], breaks, 3, 7)
    together = trunk_cuts([(*trunk, *ending) for ending in endings], breaks, 3, 7)
    assert together[: len(alone)] == alone
    for start, end in zip((0, *alone), alone, strict=False):
        assert end - start == 7 or (end - start >= 3 and trunk[end - 1] == 0)


def test_a_trunk_cut_by_hand():
    contexts = [(5, 5, 0, 5, 0, 5, 5, 5, 5, 5, 1), (5, 5, 0, 5, 0, 5, 5, 5, 5, 5, 2)]
    assert trunk_cuts(contexts, frozenset([0]), 4, 5) == (
        5,
        10,
    )  # the line end at 3 comes too early, that at 5 ends one; then the longest
    assert trunk_cuts(contexts, frozenset([0]), 1, 99) == (3, 5)


def _shared(contexts):
    return list(takewhile(lambda column: len(set(column)) == 1, zip(*contexts, strict=False)))
