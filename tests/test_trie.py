"""Invariants: (1) rows are the distinct prefixes; (2) every row is forwarded once, after its ancestors; (3) passes obey the budget;
(4) the mask is the ancestor relation; (5) the scored rows read off each request's own path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.scoring.trie import TokenRequest, count_rows, plan, visible

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)  # three tokens only, so that prefixes are shared a lot
request_lists = st.lists(st.builds(TokenRequest, tokens, tokens), min_size=1, max_size=25)
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
        known = {row for start, end in piece.past for row in range(start, end)} | set(range(piece.start, piece.end))
        for row in range(piece.start, piece.end):
            assert {k for k in range(row) if trie.subtree_end[k] > row} <= known
        assert all(trie.subtree_end[row] > piece.end - 1 for start, end in piece.past for row in range(start, end))


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
        expected = [[trie.subtree_end[k] > q and k <= q for k in columns] for q in range(piece.start, piece.end)]
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
    # prompt 7 7; examples 1 and 2; continuations (5,) and (6, 4). Fed: 7 7 1, 7 7 1 6, 7 7 2, 7 7 2 6 -> rows 7 7 1 6 2 6.
    requests = [TokenRequest((7, 7, x), y) for x in (1, 2) for y in ((5,), (6, 4))]
    trie = plan(requests, budget=3)
    assert trie.tokens.tolist() == [7, 7, 1, 6, 2, 6]
    assert trie.subtree_end.tolist() == [6, 6, 4, 4, 6, 6]
    assert [(p.start, p.end, p.keep) for p in trie.passes] == [(0, 2, True), (2, 4, False), (4, 6, False)]
    assert trie.needs_head.tolist() == [False, False, True, True, True, True]


def test_what_fits_the_budget_goes_in_one_pass():
    requests = [TokenRequest((7, 7, x), (5, 6)) for x in (1, 2)]
    assert len(plan(requests, budget=6).passes) == 1


def test_an_empty_part_is_refused():
    with pytest.raises(ValueError, match="neither may be empty"):
        TokenRequest((), (1,))
