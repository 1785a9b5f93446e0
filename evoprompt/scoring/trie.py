"""The plan of a scoring call: which tokens are forwarded, in what order, and where the answers lie.
Integers only, no torch.

Requests are laid into a token trie over context + continuation[:-1], numbered depth first, so that
one array holds the whole mask: row q sees row k iff k <= q < subtree_end[k]. The trie is then cut
into forward passes of at most `budget` tokens: a branch that fits goes through in one packed pass;
the stem of a branch that does not is forwarded once and kept while its parts follow.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]

TOKEN_BYTES = array("I").itemsize


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """log p(continuation | context) is wanted. Neither part is empty: an empty context is a
    beginning-of-text token.
    """

    context: Tokens
    continuation: Tokens

    def __post_init__(self) -> None:
        if not self.context or not self.continuation:
            raise ValueError(
                f"TokenRequest(context={len(self.context)} tokens, "
                f"continuation={len(self.continuation)} tokens): neither may be empty"
            )

    @property
    def fed(self) -> Tokens:
        """The tokens that the model reads: the last token of a continuation is predicted, never
        fed.
        """
        return self.context + self.continuation[:-1]


@dataclass(frozen=True, slots=True)
class Features:
    """Tokens whose log-probability is wanted too, after the contexts of some requests. Where the
    continuation of a request is scored, its context's end is at hand, so they cost no forward.
    """

    tokens: Tokens
    places: tuple[int, ...]  #: of the requests, by place in their list, ascending


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass over the rows [start, end). `past` are the rows kept before it; `keep` keeps
    these rows for the next ones.
    """

    start: int
    end: int
    past: tuple[tuple[int, int], ...]  #: ranges of rows, in order
    keep: bool
    #: a segment between two cuts: what it computes depends on its own prefix only, so it may come
    #: from a store
    is_trunk: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A path through a pass down to a leaf. Of its rows, those from `first` on are on no earlier
    path.
    """

    rows: NDArray[np.int64]
    first: int


@dataclass(frozen=True, slots=True)
class TriePlan:
    """Integer arrays over rows (trie nodes in depth-first order) and over scored tokens."""

    tokens: NDArray[np.int64]  #: shape (row,)
    depth: NDArray[np.int64]  #: position of the row's token in its sequence, from 0
    subtree_end: NDArray[np.int64]  #: one past the last row of the row's subtree
    needs_head: NDArray[np.bool_]  #: whether a scored token is predicted at this row
    passes: tuple[Pass, ...]
    scored_row: NDArray[np.int64]  #: the row that predicts each scored token, shape (scored token,)
    scored_token: NDArray[np.int64]
    scored_request: NDArray[np.int64]  #: which request the scored token belongs to; ascending
    num_requests: int

    @property
    def num_rows(self) -> int:
        """Distinct prefixes: the floor of body tokens."""
        return len(self.tokens)


def plan(requests: Sequence[TokenRequest], budget: int, cuts: Sequence[int] = ()) -> TriePlan:
    """Return the plan that forwards every distinct prefix of the requests once, in passes of at
    most `budget` tokens.

    Args:
        requests: at least one.
        budget: tokens per pass.
        cuts: ascending ends of the trunk's segments, in tokens from the start; each segment gets a
            pass of its own, whatever its length.

    Raises:
        ValueError: a cut lies beyond the tokens that all requests share.
    """
    fed = [request.fed for request in requests]
    tokens: list[int] = []
    depth: list[int] = []
    subtree_end = np.zeros(sum(map(len, fed)), dtype=np.int64)  # more than there are rows
    # The current sequence: runs of rows, as depth, row and length.
    path: list[tuple[int, int, int]] = []
    # In the order of the sequences, and compared many times faster.
    keys = [_key(sequence) for sequence in fed]
    previous = b""
    first_scored: list[list[int]] = [[]] * len(requests)
    for r in sorted(range(len(requests)), key=keys.__getitem__):
        shared = _common_prefix(previous, keys[r]) // TOKEN_BYTES
        _leave(path, shared, subtree_end, len(tokens))
        if len(fed[r]) > shared:
            path.append((shared, len(tokens), len(fed[r]) - shared))
            tokens += fed[r][shared:]
            depth += range(shared, len(fed[r]))
        first_scored[r] = _rows_from(path, len(requests[r].context) - 1)
        previous = keys[r]
    _leave(path, 0, subtree_end, len(tokens))
    rows = [row for scored in first_scored for row in scored]
    subtree_end = subtree_end[: len(tokens)].copy()
    needs_head = np.zeros(len(tokens), dtype=bool)
    needs_head[rows] = True
    return TriePlan(
        tokens=np.array(tokens, dtype=np.int64),
        depth=np.array(depth, dtype=np.int64),
        subtree_end=subtree_end,
        needs_head=needs_head,
        passes=tuple(_passes(subtree_end.tolist(), depth, budget, cuts)),
        scored_row=np.array(rows, dtype=np.int64),
        scored_token=np.array([t for q in requests for t in q.continuation], dtype=np.int64),
        scored_request=np.repeat(np.arange(len(requests)), [len(q.continuation) for q in requests]),
        num_requests=len(requests),
    )


def features_of(features: Features | None, which: Sequence[int]) -> Features | None:
    """Return the features of some requests, given by their places, ascending."""
    if features is None:
        return None
    wanted = set(features.places)
    return Features(features.tokens, tuple(i for i, r in enumerate(which) if r in wanted))


def trunk_cuts(
    contexts: Sequence[Tokens], breaks: frozenset[int], least: int, most: int
) -> tuple[int, ...]:
    """Return where the trunk of these contexts is cut: a segment ends after a break token once it
    has `least` tokens, or at `most`.

    The trunk is what all contexts share. A cut depends on nothing but the tokens before it, so
    contexts that begin alike are cut alike, whatever follows: that is what lets a segment be
    computed for one of them and used for another, to the bit.
    """
    shared = min(contexts)
    # what the first and the last in order share, all share
    trunk = shared[: _common_prefix(shared, max(contexts))]
    cuts: list[int] = []
    start = 0
    for end in range(1, len(trunk) + 1):
        length = end - start
        if length == most or (length >= least and trunk[end - 1] in breaks):
            cuts.append(end)
            start = end
    return tuple(cuts)


def branches(trie: TriePlan, piece: Pass) -> list[Branch]:
    """Return the paths through a pass, from where the kept rows end to each leaf, in order of the
    leaves.
    """
    ends = trie.subtree_end[piece.start : piece.end] - piece.start
    leaves = np.flatnonzero(ends == np.arange(1, len(ends) + 1))
    firsts = [0, *(leaves[:-1] + 1)]
    return [
        Branch(piece.start + np.flatnonzero(ends[: leaf + 1] > leaf), piece.start + int(own))
        for leaf, own in zip(leaves, firsts, strict=True)
    ]


def count_rows(requests: Sequence[TokenRequest]) -> int:
    """Return how many distinct prefixes the requests have: the rows of their plan, without making
    it.
    """
    rows = 0
    previous: Tokens = ()
    for fed in sorted({r.fed for r in requests}):
        rows += len(fed) - _common_prefix(previous, fed)
        previous = fed
    return rows


def visible(trie: TriePlan, piece: Pass) -> NDArray[np.bool_]:
    """Return which rows each row of a pass attends to, shape (row of the pass, past rows then rows
    of the pass).
    """
    columns = np.concatenate([np.arange(s, e) for s, e in (*piece.past, (piece.start, piece.end))])
    rows = np.arange(piece.start, piece.end)[:, None]
    seen: NDArray[np.bool_] = (columns <= rows) & (rows < trie.subtree_end[columns])
    return seen


def column_ends(trie: TriePlan, piece: Pass) -> NDArray[np.int64]:
    """Return where the subtree of each column of a pass ends, in columns, shape (past rows then
    rows of the pass,).

    Row i of the pass is column p + i after p past rows; it attends to column k iff k <= p + i <
    column_ends[k]: the same as `visible`.
    """
    num_past = sum(end - start for start, end in piece.past)
    columns = np.concatenate([np.arange(s, e) for s, e in (*piece.past, (piece.start, piece.end))])
    ends: NDArray[np.int64] = (
        np.clip(trie.subtree_end[columns], piece.start, piece.end) - piece.start + num_past
    )
    return ends


def _leave(
    path: list[tuple[int, int, int]], shared: int, subtree_end: NDArray[np.int64], end: int
) -> None:
    """Take what lies at depth `shared` and below from a path; the subtrees of its rows end at the
    row `end`.
    """
    while path and path[-1][0] + path[-1][2] > shared:
        start, row, length = path.pop()
        kept = max(0, shared - start)
        subtree_end[row + kept : row + length] = end
        if kept:
            path.append((start, row, kept))


def _rows_from(path: Sequence[tuple[int, int, int]], depth: int) -> list[int]:
    """Return the rows of a path from this depth on."""
    rows: list[int] = []
    for start, row, length in reversed(path):
        rows[:0] = range(row + max(0, depth - start), row + length)
        if start <= depth:
            break
    return rows


def segments(trie: TriePlan, ranges: Sequence[tuple[int, int]]) -> list[Tokens]:
    """Return the tokens of ranges of rows, each [start, end)."""
    return [tuple(trie.tokens[start:end].tolist()) for start, end in ranges]


def _key(tokens: Tokens) -> bytes:
    """Return tokens as bytes that are ordered as the tokens are, `TOKEN_BYTES` each."""
    key = array("I", tokens)
    if sys.byteorder == "little":
        key.byteswap()
    return key.tobytes()


def _common_prefix(a: Tokens | bytes, b: Tokens | bytes) -> int:
    # The first `same` are equal; the first `other` are not, or there are fewer.
    same, other = 0, min(len(a), len(b)) + 1
    while other - same > 1:
        middle = (same + other) // 2
        if a[same:middle] == b[same:middle]:
            same = middle
        else:
            other = middle
    return same


def _passes(end: list[int], depth: list[int], budget: int, cuts: Sequence[int]) -> Iterator[Pass]:
    past: tuple[tuple[int, int], ...] = ()
    start = 0
    for cut in cuts:
        if not start < cut <= len(end) or depth[cut - 1] != cut - 1 or end[cut - 1] != len(end):
            raise ValueError(
                f"plan(cuts={tuple(cuts)}): {cut} is not ascending within the tokens that all "
                f"requests share"
            )
        yield Pass(start, cut, past, keep=True, is_trunk=True)
        past = (*past, (start, cut))
        start = cut
    yield from _cut(end, start, len(end), past, budget)


def _cut(
    end: list[int], start: int, stop: int, past: tuple[tuple[int, int], ...], budget: int
) -> Iterator[Pass]:
    """Cut the branches that begin in [start, stop) into passes; branches next to each other share a
    pass while they fit.
    """
    open_from = row = start
    while row < stop:
        if end[row] - open_from > budget:
            if row > open_from:
                yield Pass(open_from, row, past, keep=False)
                open_from = row
            if end[row] - row > budget:
                yield from _cut_branch(end, row, past, budget)
                open_from = end[row]
        row = end[row]
    if open_from < stop:
        yield Pass(open_from, stop, past, keep=False)


def _cut_branch(
    end: list[int], row: int, past: tuple[tuple[int, int], ...], budget: int
) -> Iterator[Pass]:
    """Forward the stem of a branch that is larger than the budget, keep it, and cut what hangs from
    it.
    """
    stop = end[row]
    stem = row + 1
    while stem < stop and end[stem] == stop:  # an only child: the stem goes on
        stem += 1
    for piece in range(row, stem, budget):
        piece_end = min(piece + budget, stem)
        yield Pass(piece, piece_end, past, keep=True)
        past = (*past, (piece, piece_end))
    yield from _cut(end, stem, stop, past, budget)
