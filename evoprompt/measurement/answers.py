"""What policies write as answers: prompts -> texts, and how much that may take, known before.

    policy + examples --render--> prompts --write--> texts --(judge)--> grades

Knows no metric: it is handed what grades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np

from evoprompt.backends.base import TextTokenizer
from evoprompt.conversation import Prompt
from evoprompt.measurement.requests import encode_prompts, requests_of
from evoprompt.measurement.steps import JOIN_SLACK
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import Example, Grade, LabelScores, Query, TokenCount
from evoprompt.scoring.trie import TokenRequest, Tokens, count_rows
from evoprompt.tasks.judge import TRUE, VERDICTS, judged_input
from evoprompt.tasks.render import render_queries, render_stops


class Grader(Protocol):
    """Says how right written answers are."""

    @property
    def is_judged(self) -> bool:
        """Whether a judge's verdict is needed."""

    def extracted(self, written: str) -> str:
        """Return the answer in what was written."""

    def grade(self, written: str, example: Example, log_odds: float | None = None) -> Grade:
        """Return how right it is; `log_odds` are the judge's, nats, where one is needed."""


@dataclass(frozen=True, slots=True)
class Answering:
    """How answers are written, and who grades them."""

    grader: Grader
    judge: Policy  #: asked where the grader needs a verdict
    max_tokens: int = 24
    temperature: float = 0.0
    seed: int = 0  #: of the draws, with each example's id
    stops: tuple[str, ...] | None = None  #: None are those of the policy's own prompt

    def seed_of(self, example: Example) -> int:
        """Return the seed of an example's draws, the same for every policy; 0 where none is
        drawn.
        """
        if self.temperature == 0:
            return 0
        name = f"{self.seed}|{example.example_id}".encode()
        return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big")

    def stops_of(self, policy: Policy) -> tuple[str, ...]:
        """Return the texts of which each ends an answer."""
        return render_stops(policy) if self.stops is None else self.stops

    def judged(self, wrote: AnswerTexts, examples: Sequence[Example]) -> list[Query]:
        """Return the queries for the judge's verdicts on the answers to examples."""
        asked = [
            Example(
                e.example_id, judged_input(e.input, self.grader.extracted(text)), TRUE, VERDICTS
            )
            for e, text in zip(examples, wrote.texts, strict=True)
        ]
        return list(render_queries(self.judge, asked))


@dataclass(frozen=True, slots=True)
class AnswerTexts:
    """What one policy wrote as answers to examples."""

    answering: Answering
    texts: tuple[str, ...]
    count: TokenCount
    log_odds: tuple[float, ...] | None = None  #: that the judge says TRUE of each, nats

    def judged_by(self, log_odds: Sequence[float], count: TokenCount) -> AnswerTexts:
        """Return the same with the judge's verdicts, and what these cost."""
        return replace(self, log_odds=tuple(log_odds), count=self.count + count)

    def graded(self, scores: LabelScores, examples: Sequence[Example]) -> LabelScores:
        """Return the policy's scores with what it wrote and what that is worth.

        Raises:
            UserError: the metric fails on an answer.
        """
        odds = self.log_odds or (None,) * len(self.texts)
        grades = [
            self.answering.grader.grade(text, example, own)
            for text, example, own in zip(self.texts, examples, odds, strict=True)
        ]
        return replace(
            scores,
            written=_texts(self.texts),
            grade=np.array([[g.value for g in grades]]),
            feedback=_texts([g.feedback for g in grades]),
        )


def write_answers(
    writer: Writer,
    answering: Answering,
    asked: Mapping[Policy, Sequence[Prompt]],
    examples: Sequence[Example],
) -> dict[str, AnswerTexts]:
    """Return what each policy writes after its prompts for these examples, by policy id.

    The floor of the cost is that of the policy's own prompts, with the tokens that were written:
    who else is asked with it changes nothing.

    Raises:
        UserError: a prompt with `max_tokens` is longer than the model's window.
    """
    seeds = [answering.seed_of(example) for example in examples]
    by_stops: dict[tuple[str, ...], list[Policy]] = {}
    for policy in asked:
        by_stops.setdefault(answering.stops_of(policy), []).append(policy)
    found: dict[str, AnswerTexts] = {}
    for stops, policies in by_stops.items():
        written = iter(
            writer.write(
                [prompt for policy in policies for prompt in asked[policy]],
                max_tokens=answering.max_tokens,
                temperature=answering.temperature,
                seeds=seeds * len(policies),
                stops=stops,
            )
        )
        for policy in policies:
            own = list(islice(written, len(examples)))
            prompts = _tokens(writer.tokenizer, asked[policy])
            count = sum((w.count for w in own), TokenCount())
            drawn = count.logical_tokens - sum(map(len, prompts))
            rows = count_rows([TokenRequest(tokens, (0,)) for tokens in prompts])
            found[policy.policy_id] = AnswerTexts(
                answering,
                tuple(w.text.strip() for w in own),
                replace(count, floor_body_tokens=rows + drawn),
            )
    return found


@dataclass(frozen=True, slots=True)
class Most:
    """What writing a policy's answers takes at most."""

    rows: int  #: distinct prefixes, each token that is written among them
    longest: int  #: tokens of the longest sequence
    logical: int  #: tokens where nothing is shared


def most_written(
    tokenizer: TextTokenizer,
    answering: Answering,
    prompts: Sequence[Prompt],
    examples: Sequence[Example],
) -> Most:
    """Return what writing after these prompts takes at most, with the judge's verdicts."""
    tokens = _tokens(tokenizer, prompts)
    written = answering.max_tokens * len(tokens)
    rows = count_rows([TokenRequest(each, (0,)) for each in tokens]) + written
    logical = sum(map(len, tokens)) + written
    longest = max(map(len, tokens)) + answering.max_tokens
    if not answering.grader.is_judged:
        return Most(rows, longest, logical)
    nothing = AnswerTexts(answering, ("",) * len(examples), TokenCount())
    blank = answering.judged(nothing, examples)
    requests = [request for _, request in requests_of(tokenizer, blank)]
    read = answering.max_tokens + JOIN_SLACK
    fed = [len(r.fed) + read for r in requests]
    return Most(
        rows + count_rows(requests) + read * len(examples),
        max(longest, *fed),
        logical + sum(fed),
    )


def _tokens(tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> list[Tokens]:
    """Return the tokens of prompts as they are written after."""
    return [each or (tokenizer.begin_token,) for each in encode_prompts(tokenizer, prompts)]


def _texts(texts: Sequence[str]) -> np.ndarray:
    """Return texts of one policy as `LabelScores` has them, shape (1, example)."""
    found = np.empty((1, len(texts)), dtype=object)
    found[0, :] = texts
    return found
