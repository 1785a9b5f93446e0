"""What is sent to be scored, and what each score that comes back is of.

    queries + requests --Unit--> WorkUnit --> TokenScores --pairs--> LabelScores

Workers get token ids alone; each request keeps its query here. Results are assembled from what the
queries say of themselves, never from their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.backends.base import WorkUnit
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.moves import Told, with_moves
from evoprompt.records import Example, LabelScores, Query, QueryKind, TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.trie import Features, TokenRequest, Tokens


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is measured of a policy beside the likelihood of every candidate."""

    prior: bool = False  #: the candidates' likelihood after a content-free input
    #: the prompt's own likelihood: its tokens are forwarded anyway, its head rows are not
    prompt: bool = False
    verdicts: bool = False  #: what its evaluator says of a right and a wrong answer to each example
    answers: Answering | None = None  #: what it writes to examples without choices, graded
    #: whether the likelihood of the right answer is measured where answers are written
    likelihood: bool = True

    @property
    def content_free(self) -> bool:
        """Whether a prompt with the content-free input is needed."""
        return self.prior or self.prompt

    def writes(self, examples: Sequence[Example]) -> Answering | None:
        """Return how answers to these examples are written; None where they are chosen."""
        return None if any(e.choices is not None for e in examples) else self.answers

    def scores(self, examples: Sequence[Example]) -> bool:
        """Return whether candidates of these examples are scored."""
        return self.likelihood or self.content_free or self.writes(examples) is None


#: Nothing but the likelihood of every candidate.
ANSWERS_ALONE = Wanted()


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What a unit of work measures: a policy's own answers, or its evaluator's verdicts."""

    policy_id: str  #: of the policy that is charged for it
    is_judging: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """How much measuring a policy forwards."""

    rows: int  #: distinct prefixes
    longest: int  #: tokens of the longest sequence
    logical: int = 0  #: tokens where nothing is shared


@dataclass(frozen=True, slots=True)
class Asked:
    """A query with its tokens."""

    query: Query
    request: TokenRequest


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work that knows what it asks."""

    key: UnitKey
    asked: tuple[Asked, ...]
    cuts: tuple[int, ...]  #: as of `WorkUnit`
    features: Tokens = ()  #: read after the prompt of each example

    @property
    def work(self) -> WorkUnit:
        """What workers get of it."""
        requests = tuple(a.request for a in self.asked)
        places = tuple(self._read().values()) if self.features else ()
        features = Features(self.features, places) if places else None
        return WorkUnit(self.key, requests, self.cuts, features)

    def _read(self) -> dict[str, int]:
        """Return by example the place of the request after whose context its features are read."""
        found: dict[str, int] = {}
        for place, asked in enumerate(self.asked):
            if asked.query.kind is QueryKind.CANDIDATE:
                found.setdefault(asked.query.example_id, place)
        return found

    def features_of(self, scores: TokenScores) -> dict[str, NDArray[np.float64]]:
        """Return each example's features, nats, shape (word,); none where none were read."""
        if scores.features is None:
            return {}
        return dict(zip(self._read(), scores.features, strict=True))

    def answered(self, scores: TokenScores) -> list[tuple[Asked, float, bool]]:
        """Return what was asked, each with its log-likelihood in nats and whether it is greedy.

        Raises:
            ValueError: there are not as many scores as requests.
        """
        values, greedy = scores.log_likelihood.tolist(), scores.is_greedy.tolist()
        return list(zip(self.asked, values, greedy, strict=True))


def logical_tokens(asked: Sequence[Asked]) -> int:
    """Return the tokens of all that is asked where nothing is shared: each prompt of an example,
    and every candidate after it. What ends an answer in free form counts nothing.
    """
    prompts, total = set(), 0
    for each in asked:
        query, request = each.query, each.request
        if query.kind is QueryKind.END:
            continue
        own = query.candidate if query.is_partial else None
        answer = 0 if query.kind is QueryKind.MOVE else query.answer
        place = (query.policy_id, query.example_id, query.kind, answer, query.step, own)
        total += len(request.continuation) + (0 if place in prompts else len(request.context))
        prompts.add(place)
    return total


def label_scores(
    unit: Unit,
    scores: TokenScores,
    examples: Sequence[Example],
    verdict: NDArray[np.float64] | None = None,
) -> LabelScores:
    """Return what a unit measured of its policy's answers to these examples, with the verdicts on
    them as they were measured.
    """
    found = _candidate_scores(unit, scores, examples, verdict)
    if not any(e.path for e in examples):
        return found
    told = [
        Told(asked.query, len(asked.request.continuation), value, greedy)
        for asked, value, greedy in unit.answered(scores)
    ]
    return with_moves(found, told, examples)


def _candidate_scores(
    unit: Unit,
    scores: TokenScores,
    examples: Sequence[Example],
    verdict: NDArray[np.float64] | None,
) -> LabelScores:
    """Return what was measured of candidates, and nothing of moves."""
    place = {e.example_id: i for i, e in enumerate(examples)}
    shape = (1, len(examples), max(len(e.candidates) for e in examples))
    log_likelihood, prior = np.full(shape, -np.inf), np.full(shape, -np.inf)
    num_tokens, num_bytes = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    is_greedy = np.zeros(shape, dtype=bool)
    prompt, features = None, unit.features_of(scores)
    asks_end, ends = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for asked, value, greedy in unit.answered(scores):
        query, length = asked.query, len(asked.request.continuation)
        if query.kind is QueryKind.PROMPT:
            prompt = np.array([-value / length])
        if query.kind in (QueryKind.PROMPT, QueryKind.MOVE):
            continue
        at = (0, place[query.example_id], query.candidate)
        if query.kind is QueryKind.PRIOR:
            prior[at] = value
            continue
        if query.kind is QueryKind.END:
            asks_end[at], ends[at] = True, ends[at] or greedy
            continue
        log_likelihood[at], is_greedy[at] = value, greedy
        text = query.continuation + (query.end if query.is_ended else "")
        num_tokens[at], num_bytes[at] = length, len(text.encode())
    return LabelScores(
        policy_ids=(unit.key.policy_id,),
        example_ids=tuple(place),
        gold=np.array([e.gold for e in examples]),
        log_likelihood=log_likelihood,
        num_tokens=num_tokens,
        num_bytes=num_bytes,
        is_greedy=is_greedy & (ends | ~asks_end),
        prior=prior if any(a.query.kind is QueryKind.PRIOR for a in unit.asked) else None,
        verdict=verdict,
        prompt_cross_entropy=prompt,
        features=_rounded([features[e] for e in place]) if features else None,
    )


def unscored(
    unit: Unit, examples: Sequence[Example], verdict: NDArray[np.float64] | None = None
) -> LabelScores:
    """Return what stands where a policy's answers are written and none is scored."""
    num = len(unit.asked)
    nothing = TokenScores(np.full(num, -np.inf), np.zeros(num, dtype=bool), TokenCount())
    return label_scores(unit, nothing, examples, verdict)


def judge_log_odds(unit: Unit, scores: TokenScores, examples: Sequence[Example]) -> list[float]:
    """Return log p(TRUE) - log p(FALSE) of the judge on the answer to each example, nats."""
    found = {
        (asked.query.example_id, asked.query.candidate): value
        for asked, value, _ in unit.answered(scores)
    }
    return [found[e.example_id, 0] - found[e.example_id, 1] for e in examples]


def verdict_scores(
    unit: Unit, scores: TokenScores, examples: Sequence[Example]
) -> NDArray[np.float64]:
    """Return the log-likelihood of each verdict, nats, shape (1, example, answer, verdict)."""
    place = {e.example_id: i for i, e in enumerate(examples)}
    verdict = np.full((1, len(examples), 2, 2), np.nan)
    for asked, value, _ in unit.answered(scores):
        query = asked.query
        verdict[0, place[query.example_id], query.answer, query.candidate] = value
    return verdict


def _rounded(features: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return features as they are kept in a run's folder, in numbers of 16 bits (three digits),
    shape (1, example, word). What they cannot hold, as of a word that never comes, is the least.
    """
    least = np.finfo(np.float16).min
    return np.maximum([features], least).astype(np.float16).astype(np.float64)
