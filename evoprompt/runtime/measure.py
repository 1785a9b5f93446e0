"""Policies and examples -> LabelScores: render, tokenize, score, assemble. Knows nothing of fitness.

Context tokens must be a prefix of the tokens of context and continuation; where they are not, the likelihood would belong to
another text, and the two token sequences are shown instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import numpy as np

from evoprompt.errors import UserError
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, Query, QueryKind, TokenCount
from evoprompt.runtime.executor import Executor, ModelInfo, WorkUnit
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, trunk_cuts
from evoprompt.tasks.render import CONTENT_FREE, render_prefix, render_prompt, render_queries

#: Tokens of a trunk's segment, which ends after a line end. Shorter ones would be slower to forward (SmolLM2 on a CPU: 250 tokens/s at
#: 32, 325 at 48, 356 at 64); of a longer one more is lost where a child changes it.
LEAST_SEGMENT, MOST_SEGMENT = 48, 128


class Measurer:
    """Measures policies on examples with one model."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        executor: Executor,
        *,
        with_prior: bool,
        with_prompt: bool = False,
        open_memo: Callable[[ModelInfo], Memo] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.executor = executor
        self.with_prior = with_prior
        self.with_prompt = with_prompt  #: whether the prompt's own likelihood is measured: its tokens are forwarded anyway, its head rows are not
        self._open_memo = open_memo  #: once the model is loaded: how it computes is part of the memo's key
        self._memo: Memo | None = None
        self._prompt_tokens: dict[str, int] = {}

    def prompt_tokens(self, policy: Policy) -> int:
        """Return how many tokens a policy's prompt has before the input."""
        if policy.policy_id not in self._prompt_tokens:
            self._prompt_tokens[policy.policy_id] = len(self.tokenizer.encode([render_prefix(policy)])[0])
        return self._prompt_tokens[policy.policy_id]

    def prepare(self, policies: Sequence[Policy], examples: Sequence[Example]) -> list[WorkUnit]:
        """Return a unit for each policy.

        Raises:
            UserError: a prompt is longer than the model's window, or the boundary between prompt and answer falls inside a token.
        """
        window = self.executor.info().window
        queries = [render_queries(policy, examples, with_prior=self.with_prior) for policy in policies]
        tokenized = iter(tokenize(self.tokenizer, [query for of_policy in queries for query in of_policy]))  # one call: it runs in threads
        units = []
        for policy, of_policy in zip(policies, queries, strict=True):
            requests = tuple(islice(tokenized, len(of_policy))) + (self._prompt_request(policy) if self.with_prompt else ())
            longest = max(len(r.fed) for r in requests)
            if longest > window:
                raise UserError(
                    f"policy {policy.policy_id} makes a prompt of {longest} tokens, longer than the model's window of {window}; nothing is "
                    f"ever cut off: use shorter inputs or fewer demonstrations (it has {len(policy.demonstrations)})"
                )
            cuts = trunk_cuts([r.context for r in requests], self.tokenizer.break_tokens, LEAST_SEGMENT, MOST_SEGMENT)
            units.append(WorkUnit(policy.policy_id, requests, cuts))
        return units

    def _prompt_request(self, policy: Policy) -> tuple[TokenRequest]:
        """Return the request that scores the prompt with a content-free input, all of its tokens but the first."""
        [tokens] = self.tokenizer.encode([render_prompt(policy, CONTENT_FREE)])
        return (TokenRequest(tokens[:1], tokens[1:]),)

    def pin(self, policies: Sequence[Policy]) -> None:
        """Prefer to keep what was computed for these policies: their children begin alike."""
        self.executor.pin(self.tokenizer.encode([render_prefix(p) for p in policies]))

    def measure(
        self,
        policies: Sequence[Policy],
        examples: Sequence[Example],
        on_policy: Callable[[TokenCount], None],
        timed: Callable[[str], AbstractContextManager[None]],
    ) -> dict[str, tuple[LabelScores, TokenCount]]:
        """Return each policy's scores and what they cost, by policy id.

        `on_policy` is called as each is done; `timed` is given the phases `tokenization` and `scoring`.
        """
        with timed("tokenization"):
            units = self.prepare(policies, examples)
        with timed("memo"):
            scores = self._recall(units)
            for recalled in scores.values():
                on_policy(recalled.count)
        new = {unit.key: unit for unit in units if unit.key not in scores}

        def on_result(key: str, done: TokenScores) -> None:
            if self._memo is not None:
                self._memo.keep(new[key].requests, done)
            on_policy(done.count)

        with timed("scoring"):
            scores |= self.executor.score(list(new.values()), on_result)
        by_id = {p.policy_id: p for p in policies}
        return {unit.key: (self._assemble(by_id[unit.key], examples, unit, scores[unit.key]), scores[unit.key].count) for unit in units}

    def _recall(self, units: Sequence[WorkUnit]) -> dict[str, TokenScores]:
        """Return the scores of the units that the memo has."""
        if self._open_memo is None:
            return {}
        if self._memo is None:
            self._memo = self._open_memo(self.executor.info())
        found = {unit.key: self._memo.recall(unit.requests) for unit in units}
        return {key: scores for key, scores in found.items() if scores is not None}

    def close(self) -> None:
        """Close the memo and give the executor's workers back."""
        if self._memo is not None:
            self._memo.close()
        self.executor.close()

    def _assemble(self, policy: Policy, examples: Sequence[Example], unit: WorkUnit, scores: TokenScores) -> LabelScores:
        queries = render_queries(policy, examples, with_prior=self.with_prior)
        place = {e.example_id: i for i, e in enumerate(examples)}
        shape = (1, len(examples), max(len(e.candidates) for e in examples))
        log_likelihood, prior = np.full(shape, -np.inf), np.full(shape, -np.inf)
        num_tokens, num_bytes = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        is_greedy = np.zeros(shape, dtype=bool)
        for query, request, value, greedy in zip(queries, unit.requests, scores.log_likelihood, scores.is_greedy, strict=not self.with_prompt):
            at = (0, place[query.example_id], query.candidate)
            if query.kind is QueryKind.PRIOR:
                prior[at] = value
                continue
            log_likelihood[at], is_greedy[at] = value, greedy
            num_tokens[at], num_bytes[at] = len(request.continuation), len(query.continuation.encode())
        return LabelScores(
            policy_ids=(policy.policy_id,),
            example_ids=tuple(place),
            gold=np.array([e.gold for e in examples]),
            log_likelihood=log_likelihood,
            num_tokens=num_tokens,
            num_bytes=num_bytes,
            is_greedy=is_greedy,
            prior=prior if self.with_prior else None,
            prompt_cross_entropy=-scores.log_likelihood[-1:] / len(unit.requests[-1].continuation) if self.with_prompt else None,
        )


def tokenize(tokenizer: Tokenizer, queries: Sequence[Query]) -> tuple[TokenRequest, ...]:
    """Return the token request of each query, in order.

    Raises:
        UserError: the tokens of a context are not a prefix of the tokens of context and continuation.
    """
    contexts = tokenizer.encode([q.context for q in queries])
    wholes = tokenizer.encode([q.context + q.continuation for q in queries])
    requests = []
    for query, context, whole in zip(queries, contexts, wholes, strict=True):
        if whole[: len(context)] != context or len(whole) == len(context):
            at = next((i for i, (a, b) in enumerate(zip(context, whole, strict=False)) if a != b), min(len(context), len(whole)))
            raise UserError(
                f"the tokens of the prompt are not a prefix of the tokens of prompt and answer: prompt ...{query.context[-40:]!r} has "
                f"{list(context[at:])} where prompt and {query.continuation!r} has {list(whole[at : at + 6])}; "
                "end the template's output_prefix with a letter or a punctuation mark, and check the label words"
            )
        begin = context or (tokenizer.begin_token,)
        requests.append(TokenRequest(begin, whole[len(context) :]))
    return tuple(requests)
