"""Policies and examples -> LabelScores: write what stands after steps, render, tokenize, score,
assemble. Knows nothing of fitness.

Context tokens must be a prefix of the tokens of context and continuation; where they are not, the
likelihood would belong to another text, and the two token sequences are shown instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

import numpy as np

from evoprompt.backends.base import Executor, ModelInfo, TextTokenizer, WorkUnit
from evoprompt.errors import UserError
from evoprompt.measurement.steps import (
    STEP_TOKENS,
    StepAnswers,
    StepWriter,
    blank_answers,
    most_tokens,
)
from evoprompt.measurement.verdicts import Verdicts
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, Query, QueryKind, TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.trie import TokenRequest, count_rows, trunk_cuts
from evoprompt.tasks.judge import judgement, verdict_queries
from evoprompt.tasks.render import (
    CONTENT_FREE,
    render_input,
    render_prefix,
    render_prompt,
    render_queries,
)

#: Tokens of a trunk's segment, which ends after a line end. Shorter ones would be slower to forward
#: (SmolLM2 on a CPU: 250 tokens/s at 32, 325 at 48, 356 at 64); of a longer one more is lost where
#: a child changes it.
LEAST_SEGMENT, MOST_SEGMENT = 48, 128

#: Tokens by which a prompt may grow where its parts are joined; used only to refuse children that
#: come near the window.
JOIN_SLACK = 16


class Measurer:
    """Measures policies on examples with one model."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        executor: Executor,
        *,
        with_prior: bool,
        with_prompt: bool = False,
        with_verdicts: bool = False,
        open_memo: Callable[[ModelInfo], Memo] | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.executor = executor
        self.with_prior = with_prior
        #: whether the prompt's own likelihood is measured: its tokens are forwarded anyway, its
        #: head rows are not
        self.with_prompt = with_prompt
        #: whether the policy's evaluator is asked about each example's right answer and a wrong one
        self.with_verdicts = with_verdicts
        self._open_memo = (
            open_memo  #: once the model is loaded: how it computes is part of the memo's key
        )
        self._memo: Memo | None = None
        self._steps = (
            StepWriter(writer) if writer is not None else None
        )  #: needed by policies with steps alone
        self._verdicts = Verdicts()
        self._prompt_tokens: dict[str, int] = {}

    def prompt_tokens(self, policy: Policy) -> int:
        """Return how many tokens a policy's prompt has before the input."""
        if policy.policy_id not in self._prompt_tokens:
            self._prompt_tokens[policy.policy_id] = len(
                self.tokenizer.encode([render_prefix(policy)])[0]
            )
        return self._prompt_tokens[policy.policy_id]

    def fits(self, policy: Policy, examples: Sequence[Example]) -> bool:
        """Return whether a policy's longest prompt, and its evaluator's where it has one, surely
        fit the model's window.
        """
        longest = max(examples, key=lambda e: len(e.input))
        blank = blank_answers(policy, [longest.input])[longest.input]
        parts = [
            render_input(policy, longest.input, blank),
            *(" " + policy.word(c) for c in longest.candidates),
        ]
        example, *answers = (len(ids) for ids in self.tokenizer.encode(parts))
        written = STEP_TOKENS * len(policy.steps)
        if (
            self.prompt_tokens(policy) + example + written + max(answers) + JOIN_SLACK
            > self.executor.info().window
        ):
            return False
        return policy.evaluator is None or self.fits(
            policy.evaluator, [judgement(longest, max(longest.candidates, key=len))]
        )

    def forecast(self, policies: Sequence[Policy], examples: Sequence[Example]) -> int:
        """Return how many distinct prefixes measuring these policies has; what stands after steps
        is taken to be as long as it may get.

        Raises:
            UserError: as `prepare`.
        """
        units = [*self._judging(policies, examples).values(), *self.prepare(policies, examples)]
        return sum(count_rows(unit.requests) for unit in units) + sum(
            most_tokens(self.tokenizer, policy, self._texts(examples)) for policy in policies
        )

    def prompts(self, policy: Policy, texts: Sequence[str]) -> tuple[list[str], TokenCount]:
        """Return the whole prompt for each input, with what the model writes after the policy's
        steps, and what writing it cost.

        Raises:
            UserError: a prompt is longer than the model's window.
        """
        answers, count = self._answer_steps(policy, texts)
        return [render_prompt(policy, text, answers.get(text)) for text in texts], count

    def prepare(
        self,
        policies: Sequence[Policy],
        examples: Sequence[Example],
        answers: Mapping[str, StepAnswers] | None = None,
    ) -> list[WorkUnit]:
        """Return a unit for each policy. `answers` has what stands after its steps, by policy id;
        without them nothing does.

        Raises:
            UserError: a prompt is longer than the model's window, or the boundary between prompt
                and answer falls inside a token.
        """
        if answers is None:
            answers = {p.policy_id: blank_answers(p, self._texts(examples)) for p in policies}
        queries = [
            render_queries(p, examples, with_prior=self.with_prior, written=answers[p.policy_id])
            for p in policies
        ]
        tokenized = iter(
            tokenize(self.tokenizer, [query for of_policy in queries for query in of_policy])
        )  # one call: it runs in threads
        units = []
        for policy, of_policy in zip(policies, queries, strict=True):
            requests = tuple(islice(tokenized, len(of_policy))) + (
                self._prompt_request(policy, answers) if self.with_prompt else ()
            )
            units.append(
                self._unit(policy.policy_id, f"policy {policy.policy_id}", policy, requests)
            )
        return units

    def _judging(
        self, policies: Sequence[Policy], examples: Sequence[Example]
    ) -> dict[str, WorkUnit]:
        """Return a unit for each evaluator that was not asked about these examples yet, by the id
        of the first policy that has it.
        """
        if not self.with_verdicts:
            return {}
        units = {}
        for first, evaluator in self._verdicts.due(policies, examples).items():
            requests = tokenize(self.tokenizer, verdict_queries(evaluator, examples))
            units[first] = self._unit(
                f"{first}/verdict", f"the evaluator of policy {first}", evaluator, requests
            )
        return units

    def _unit(
        self, key: str, name: str, policy: Policy, requests: tuple[TokenRequest, ...]
    ) -> WorkUnit:
        longest, window = max(len(r.fed) for r in requests), self.executor.info().window
        if longest > window:
            raise UserError(
                f"{name} makes a prompt of {longest} tokens, longer than the model's window of "
                f"{window}; nothing is "
                "ever cut off: use shorter inputs or fewer demonstrations (it has "
                f"{len(policy.demonstrations)})"
            )
        cuts = trunk_cuts(
            [r.context for r in requests], self.tokenizer.break_tokens, LEAST_SEGMENT, MOST_SEGMENT
        )
        return WorkUnit(key, requests, cuts)

    def _prompt_request(
        self, policy: Policy, answers: Mapping[str, StepAnswers]
    ) -> tuple[TokenRequest]:
        """Return the request that scores the prompt with a content-free input, all of its tokens
        but the first.
        """
        [tokens] = self.tokenizer.encode(
            [render_prompt(policy, CONTENT_FREE, answers[policy.policy_id].get(CONTENT_FREE))]
        )
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
        """Return each policy's scores and what they cost, by policy id. An evaluator's cost is that
        of the first policy that has it.

        `on_policy` is called as each is done; `timed` is given the phases `tokenization`, `memo`
        and `scoring`, and `writing` where there are steps.
        """
        with timed("writing") if any(p.steps for p in policies) else nullcontext():
            written = {p.policy_id: self._answer_steps(p, self._texts(examples)) for p in policies}
        answers = {policy_id: texts for policy_id, (texts, _) in written.items()}
        beside = {
            policy_id: count for policy_id, (_, count) in written.items()
        }  # what a policy costs beside its own scores
        with timed("tokenization"):
            judging = self._judging(policies, examples)
            units = [*judging.values(), *self.prepare(policies, examples, answers)]
        judged_for = {unit.key: policy_id for policy_id, unit in judging.items()}

        def tell(key: str, done: TokenScores) -> None:
            if key in judged_for:
                beside[judged_for[key]] += done.count
            else:
                on_policy(done.count + beside[key])

        with timed("memo"):
            scores = self._recall(units)
            for key, recalled in scores.items():
                tell(key, recalled)
        new = {unit.key: unit for unit in units if unit.key not in scores}

        def on_result(key: str, done: TokenScores) -> None:
            if self._memo is not None:
                self._memo.keep(new[key].requests, done)
            tell(key, done)

        with timed("scoring"):
            scores |= self.executor.score(list(new.values()), on_result)
        for policy in policies:
            if policy.policy_id in judging:
                self._verdicts.enter(
                    policy, examples, scores[judging[policy.policy_id].key].log_likelihood
                )
        by_id = {unit.key: unit for unit in units}
        return {
            p.policy_id: (
                self._assemble(p, examples, by_id[p.policy_id], scores[p.policy_id]),
                scores[p.policy_id].count + beside[p.policy_id],
            )
            for p in policies
        }

    def recall_verdicts(self, policy: Policy, scores: LabelScores) -> None:
        """Remember the verdicts of an earlier measurement, so that its evaluator is not asked
        again.
        """
        self._verdicts.recall(policy, scores)

    def _texts(self, examples: Sequence[Example]) -> list[str]:
        """Return the different inputs that a policy's prompts are made with."""
        content_free = [CONTENT_FREE] if self.with_prior or self.with_prompt else []
        return list(dict.fromkeys([*(e.input for e in examples), *content_free]))

    def _answer_steps(self, policy: Policy, texts: Sequence[str]) -> tuple[StepAnswers, TokenCount]:
        if not policy.steps:
            return {}, TokenCount()
        if self._steps is None:
            raise ValueError(
                f"policy {policy.policy_id} has steps {list(policy.steps)}: give the Measurer a "
                f"writer"
            )
        return self._steps.write(policy, texts)

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

    def _assemble(
        self, policy: Policy, examples: Sequence[Example], unit: WorkUnit, scores: TokenScores
    ) -> LabelScores:
        queries = render_queries(policy, examples, with_prior=self.with_prior)
        place = {e.example_id: i for i, e in enumerate(examples)}
        shape = (1, len(examples), max(len(e.candidates) for e in examples))
        log_likelihood, prior = np.full(shape, -np.inf), np.full(shape, -np.inf)
        num_tokens, num_bytes = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        is_greedy = np.zeros(shape, dtype=bool)
        for query, request, value, greedy in zip(
            queries,
            unit.requests,
            scores.log_likelihood,
            scores.is_greedy,
            strict=not self.with_prompt,
        ):
            at = (0, place[query.example_id], query.candidate)
            if query.kind is QueryKind.PRIOR:
                prior[at] = value
                continue
            log_likelihood[at], is_greedy[at] = value, greedy
            num_tokens[at], num_bytes[at] = (
                len(request.continuation),
                len(query.continuation.encode()),
            )
        return LabelScores(
            policy_ids=(policy.policy_id,),
            example_ids=tuple(place),
            gold=np.array([e.gold for e in examples]),
            log_likelihood=log_likelihood,
            num_tokens=num_tokens,
            num_bytes=num_bytes,
            is_greedy=is_greedy,
            prior=prior if self.with_prior else None,
            verdict=self._verdicts.of(policy, examples) if self.with_verdicts else None,
            prompt_cross_entropy=-scores.log_likelihood[-1:] / len(unit.requests[-1].continuation)
            if self.with_prompt
            else None,
        )


def tokenize(tokenizer: TextTokenizer, queries: Sequence[Query]) -> tuple[TokenRequest, ...]:
    """Return the token request of each query, in order.

    Raises:
        UserError: the tokens of a context are not a prefix of the tokens of context and
            continuation.
    """
    contexts = tokenizer.encode([q.context for q in queries])
    wholes = tokenizer.encode([q.context + q.continuation for q in queries])
    requests = []
    for query, context, whole in zip(queries, contexts, wholes, strict=True):
        if whole[: len(context)] != context or len(whole) == len(context):
            at = next(
                (i for i, (a, b) in enumerate(zip(context, whole, strict=False)) if a != b),
                min(len(context), len(whole)),
            )
            raise UserError(
                "the tokens of the prompt are not a prefix of the tokens of prompt and answer: "
                f"prompt ...{query.context[-40:]!r} has "
                f"{list(context[at:])} where prompt and {query.continuation!r} has "
                f"{list(whole[at : at + 6])}; "
                "end the template's output_prefix with a letter or a punctuation mark, and check "
                "the label words"
            )
        begin = context or (tokenizer.begin_token,)
        requests.append(TokenRequest(begin, whole[len(context) :]))
    return tuple(requests)
