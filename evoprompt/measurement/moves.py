"""Scores of the moves of paths -> the scores of the paths.

    log p(path | policy) = sum over moves of (shift + log sum_g p(g | s) p(a | s, g))

With s all that stands before a move, g the instructions that are scored and a the expert's action;
without instructions a move's likelihood is log p(a | s), and after one that the policy wrote itself
log p(a | s, g). Where a move says what else can be done,
or said, p is that among all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evoprompt.records import Example, LabelScores, Move, Query, QueryKind


@dataclass(frozen=True, slots=True)
class Told:
    """A query that was answered."""

    query: Query
    num_tokens: int  #: of the continuation
    log_likelihood: float  #: nats
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """A move."""

    log_likelihood: float
    is_greedy: bool
    num_tokens: int
    num_bytes: int
    said: float  #: log-probability of the expert's instruction, nats; NaN where it is not scored


#: What of a move is summed up over a path.
SUMMED = ("log_likelihood", "is_greedy", "num_tokens", "num_bytes")


@dataclass(slots=True)
class _Spans:
    """The queries of a move, by instruction: what says it, and by their number the actions."""

    said: dict[int, Told] = field(default_factory=dict)
    actions: dict[int, dict[int, Told]] = field(default_factory=dict)


def with_moves(
    found: LabelScores, told: Sequence[Told], examples: Sequence[Example]
) -> LabelScores:
    """Return scores of one policy with those of paths: of each move, and of the path their sum.

    A path's tokens are those of the actions, and of the instructions where these are scored with
    them. It is greedy where at each move the model's first choice is the action, or one of the
    instructions and then the action; where others can be done, their likeliest.
    """
    spans: dict[tuple[str, int], _Spans] = {}
    for each in told:
        query = each.query
        if query.kind is QueryKind.MOVE:
            of_move = spans.setdefault((query.example_id, query.step), _Spans())
            if query.is_partial:
                of_move.actions.setdefault(query.candidate, {})[query.answer] = each
            else:
                of_move.said[query.candidate] = each
    moves = np.full((1, len(examples), max(len(e.path) for e in examples)), np.nan)
    said = moves.copy()
    parts = {name: getattr(found, name).copy() for name in SUMMED}
    for place, example in enumerate(examples):
        scored = [
            _move(move, spans[example.example_id, step])
            for step, move in enumerate(example.path)
            if not move.is_given
        ]
        if not scored:
            continue
        moves[0, place, : len(scored)] = [move.log_likelihood for move in scored]
        said[0, place, : len(scored)] = [move.said for move in scored]
        for name, values in parts.items():
            of_moves = [getattr(move, name) for move in scored]
            values[0, place, 0] = all(of_moves) if name == "is_greedy" else sum(of_moves)
    is_said = bool(np.array_equal(np.isnan(said), np.isnan(moves)))
    return replace(found, moves=moves, said=said if is_said else None, **parts)


def _move(move: Move, spans: _Spans) -> _Scored:
    """Return what a move's spans are together."""
    values, greedy = [], []
    for index, actions in spans.actions.items():
        value, is_first = _first(actions)
        if move.sayings:
            before, is_said = _said(move, spans, move.scored[index])
            value, is_first = value + before, is_first and is_said
        values.append(value)
        greedy.append(is_first)
    own = np.nan
    if move.instruction in move.sayings:
        own, _ = _said(move, spans, move.instruction)
    counted = [spans.actions[0][0]]
    if move.is_joint:
        counted.append(spans.said[move.sayings.index(move.instruction)])
    return _Scored(
        move.shift + float(np.logaddexp.reduce(values)),
        any(greedy),
        sum(each.num_tokens for each in counted),
        sum(len(each.query.continuation.encode()) for each in counted),
        own,
    )


def _said(move: Move, spans: _Spans, instruction: str) -> tuple[float, bool]:
    """Return the log-likelihood of one of a move's sayings, and whether it is the first choice; the
    only one that may be said is certain.
    """
    place = move.sayings.index(instruction)
    if not move.offered:
        return _first({place: spans.said[place]}, place)
    return _first(spans.said, place) if len(move.offered) > 1 else (0.0, True)


def _first(told: Mapping[int, Told], place: int = 0) -> tuple[float, bool]:
    """Return the log-likelihood of one of what can be done or said, among all of it where there are
    others, and whether it is the first choice.
    """
    own = told[place].log_likelihood
    others = [each.log_likelihood for n, each in told.items() if n != place]
    if not others:
        return own, told[place].is_greedy
    return own - float(np.logaddexp.reduce([own, *others])), own > max(others)
