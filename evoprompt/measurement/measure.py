"""Policies and examples -> LabelScores: write what stands after steps, render, tokenize, score,
assemble. Knows nothing of fitness.

Context tokens must be a prefix of the tokens of context and continuation; where they are not, the
likelihood would belong to another text, and the two token sequences are shown instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from evoprompt.backends.base import Executor, ModelInfo, TextTokenizer
from evoprompt.conversation import Prompt
from evoprompt.errors import UserError
from evoprompt.measurement import instructing
from evoprompt.measurement.answers import Answering, AnswerTexts, most_written, write_answers
from evoprompt.measurement.requests import requests_of, text_of
from evoprompt.measurement.scorer import UnitScorer
from evoprompt.measurement.standing import StandingCheck
from evoprompt.measurement.steps import (
    JOIN_SLACK,
    STEP_TOKENS,
    StepAnswers,
    StepWriter,
    blank_answers,
    most_logical,
    most_tokens,
)
from evoprompt.measurement.units import (
    ANSWERS_ALONE,
    Asked,
    Unit,
    UnitKey,
    Wanted,
    Weight,
    judge_log_odds,
    label_scores,
    logical_tokens,
    unscored,
    verdict_scores,
)
from evoprompt.measurement.verdicts import Verdicts
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.recent import Recent
from evoprompt.records import Example, LabelScores, Query, TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.trie import Tokens, count_rows, trunk_cuts
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.judge import judgements, verdict_queries
from evoprompt.tasks.render import CONTENT_FREE, render_prefix, render_prompt, render_queries

#: Tokens of a trunk's segment, which ends after a line end. Shorter ones would be slower to forward
#: (SmolLM2 on a CPU: 250 tokens/s at 32, 325 at 48, 356 at 64); of a longer one more is lost where
#: a child changes it.
LEAST_SEGMENT, MOST_SEGMENT = 48, 128
#: Policies whose lengths are remembered.
KEPT = 4096


class Measurer:
    """Measures policies on examples with one model.

    Args:
        tokenizer: of the model.
        executor: scores with it.
        wanted: what is measured of each policy.
        open_memo: called once the model is loaded, since how it computes is part of the memo's key;
            None measures everything anew.
        writer: needed for policies with steps, and where answers are written.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        executor: Executor,
        wanted: Wanted = ANSWERS_ALONE,
        *,
        open_memo: Callable[[ModelInfo], Memo] | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.executor = executor
        self.wanted = wanted
        #: how answers are written in the end, where the search has none written
        self.final_answers: Answering | None = None
        self.features: Tokens = ()  #: read after each example's prompt of a policy's own answers
        self._scorer = UnitScorer(executor, open_memo)
        self._open_memo = open_memo
        self._writer = writer
        self._steps = StepWriter(writer) if writer is not None else None
        self._verdicts = Verdicts()
        self._prompt_tokens: Recent[str, int] = Recent(KEPT)

    def without_verdicts(self) -> Measurer:
        """Return what measures the same but for verdicts, and shares all else with this."""
        found = copy(self)
        found.wanted = replace(self.wanted, verdicts=False)
        return found

    @property
    def final(self) -> Measurer:
        """What measures validation and test; it shares all else with this."""
        if self.final_answers is None:
            return self
        found = copy(self)
        found.wanted = replace(self.wanted, answers=self.final_answers)
        return found

    def watch(self, seed: int, ledger: Ledger) -> None:
        """Check from now on a sample of what is measured; the ledger gets what is found."""
        self._scorer.check = StandingCheck(self.executor, seed, ledger, self._open_memo)

    def prompt_tokens(self, policy: Policy) -> int:
        """Return how many tokens a policy's prompt has before the input."""
        return self._prompt_tokens.get(
            policy.policy_id, lambda: len(self.tokenizer.encode([render_prefix(policy)])[0])
        )

    def shared_tokens(self, policy: Policy) -> int:
        """Return how many tokens all inputs without choices share: those before the input, twice
        where answers are scored and written, and those of a judge.
        """
        answering, before = self.wanted.answers, self.prompt_tokens(policy)
        if answering is None:
            return before
        judge = self.prompt_tokens(answering.judge) if answering.grader.is_judged else 0
        return before * (2 if self.wanted.likelihood or self.wanted.content_free else 1) + judge

    def fits(self, policy: Policy, examples: Sequence[Example]) -> bool:
        """Return whether every prompt of a policy can be tokenized with each candidate of these
        examples and fits the model's window, and whether its evaluator's do where it has one.
        """
        try:
            self.weigh(policy, examples)
            if policy.evaluator is not None and (judged := judgements(examples)):
                self.weigh(policy.evaluator, judged)
        except UserError:
            return False
        return True

    def weigh(self, policy: Policy, examples: Sequence[Example]) -> Weight:
        """Return how much measuring one policy forwards; what stands after steps is taken to be as
        long as it may get.

        Raises:
            UserError: as `prepare`.
        """
        [unit] = self.prepare([policy], examples)
        longest = max(len(a.request.fed) for a in unit.asked)
        if policy.steps:
            longest += STEP_TOKENS * len(policy.steps) + JOIN_SLACK
            self._check_window(longest, f"policy {policy.policy_id}", policy)
        texts = self._texts(examples)
        rows = most_tokens(self.tokenizer, policy, texts)
        logical = most_logical(self.tokenizer, policy, texts)
        if self.wanted.scores(examples):
            rows += count_rows(unit.work.requests)
            logical += logical_tokens(unit.asked)
        if (answering := self.wanted.writes(examples)) is not None:
            steps = blank_answers(policy, texts)
            prompts = [render_prompt(policy, e.input, steps[e.input]) for e in examples]
            most = most_written(self.tokenizer, answering, prompts, examples)
            # what stands after steps is read once more
            more = STEP_TOKENS * len(policy.steps)
            longest = max(longest, most.longest + (more + JOIN_SLACK if more else 0))
            self._check_window(longest, f"policy {policy.policy_id}", policy)
            rows += most.rows + more * len(examples)
            logical += most.logical + more * len(examples)
        found = instructing.with_instructions(Weight(rows, longest, logical), examples)
        self._check_window(found.longest, f"policy {policy.policy_id}", policy)
        return found

    def forecast(self, policies: Sequence[Policy], examples: Sequence[Example]) -> int:
        """Return how many distinct prefixes measuring these policies has; what stands after steps
        is taken to be as long as it may get.

        Raises:
            UserError: as `prepare`.
        """
        judging = self._judging(policies, examples)
        return sum(count_rows(unit.work.requests) for unit in judging) + sum(
            self.weigh(policy, examples).rows for policy in policies
        )

    def shown(self, policy: Policy) -> str:
        """Return the whole prompt as the model reads it, with placeholders, for people to read."""
        return text_of(self.tokenizer, render_prompt(policy))

    def prompts(self, policy: Policy, texts: Sequence[str]) -> tuple[list[Prompt], TokenCount]:
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
    ) -> list[Unit]:
        """Return a unit for each policy, in order. `answers` has what stands after its steps, by
        policy id; without them nothing does.

        Raises:
            UserError: a prompt is longer than the model's window, or the boundary between prompt
                and answer falls inside a token.
        """
        if answers is None:
            answers = {p.policy_id: blank_answers(p, self._texts(examples)) for p in policies}
        queries = [
            render_queries(
                p,
                examples,
                with_prior=self.wanted.prior,
                with_prompt=self.wanted.prompt,
                written=answers[p.policy_id],
            )
            for p in dict.fromkeys(policies)
        ]
        # one call: it runs in threads
        asked = self._asked([query for of_policy in queries for query in of_policy])
        units = {
            policy_id: tuple(of_one)
            for policy_id, of_one in groupby(asked, key=attrgetter("query.policy_id"))
        }
        return [self._unit(UnitKey(p.policy_id), p, units[p.policy_id]) for p in policies]

    def _judging(self, policies: Sequence[Policy], examples: Sequence[Example]) -> list[Unit]:
        """Return a unit for each evaluator that was not asked about these examples yet; the first
        policy that has it is charged.
        """
        if not self.wanted.verdicts:
            return []
        return [
            self._unit(
                UnitKey(first, is_judging=True),
                evaluator,
                tuple(self._asked(verdict_queries(evaluator, examples))),
            )
            for first, evaluator in self._verdicts.due(policies, examples).items()
        ]

    def _asked(self, queries: Sequence[Query]) -> list[Asked]:
        return [Asked(query, request) for query, request in requests_of(self.tokenizer, queries)]

    def _unit(self, key: UnitKey, policy: Policy, asked: tuple[Asked, ...]) -> Unit:
        name = f"{'the evaluator of ' if key.is_judging else ''}policy {key.policy_id}"
        self._check_window(max(len(a.request.fed) for a in asked), name, policy)
        contexts = [a.request.context for a in asked]
        cuts = trunk_cuts(contexts, self.tokenizer.break_tokens, LEAST_SEGMENT, MOST_SEGMENT)
        return Unit(key, asked, cuts, () if key.is_judging else self.features)

    def _check_window(self, longest: int, name: str, policy: Policy) -> None:
        window = self.executor.info().window
        if longest > window:
            raise UserError(
                f"{name} makes a prompt of {longest} tokens, longer than the model's window of "
                f"{window}; nothing is ever cut off: use shorter inputs or fewer demonstrations "
                f"(it has {len(policy.demonstrations)})"
            )

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

        `on_policy` is called as each is done; `timed` is given the phases `tokenization`, `memo`,
        `scoring` and `check`, and `writing` where there are steps.

        Raises:
            InexactScoringError: the standing check found a wrong score.
        """
        if instructing.are_written(examples):
            asked = policies, examples, on_policy, timed
            return instructing.measure_instructed(self.measure, self._writer, *asked)
        with timed("writing") if any(p.steps for p in policies) else nullcontext():
            written = {p.policy_id: self._answer_steps(p, self._texts(examples)) for p in policies}
        answers = {policy_id: texts for policy_id, (texts, _) in written.items()}
        # what a policy costs beside its own scores
        beside = {policy_id: count for policy_id, (_, count) in written.items()}
        with timed("tokenization"):
            judging = self._judging(policies, examples)
            answering = self.prepare(policies, examples, answers)

        wrote = self._write(policies, examples, answers, timed)
        for policy_id, found in wrote.items():
            beside[policy_id] += found.count
        is_scored = self.wanted.scores(examples)
        if not is_scored:
            for policy in policies:
                on_policy(beside[policy.policy_id])

        def tell(key: UnitKey, done: TokenScores) -> None:
            if key.is_judging:
                beside[key.policy_id] += done.count
            else:
                on_policy(done.count + beside[key.policy_id])

        scores = self._scorer.score([*judging, *(answering if is_scored else ())], tell, timed)
        by_id = {p.policy_id: p for p in policies}
        for unit in judging:
            verdict = verdict_scores(unit, scores[unit.key], examples)
            self._verdicts.enter(by_id[unit.key.policy_id], examples, verdict)
        measured = {}
        for policy, unit in zip(policies, answering, strict=True):
            done, count = scores.get(unit.key), beside[policy.policy_id]
            known = self._verdicts.of(policy, examples) if self.wanted.verdicts else None
            told = (
                unscored(unit, examples, known)
                if done is None
                else label_scores(unit, done, examples, known)
            )
            if (texts := wrote.get(policy.policy_id)) is not None:
                told = texts.graded(told, examples)
            measured[policy.policy_id] = told, count if done is None else count + done.count
        return measured

    def _write(
        self,
        policies: Sequence[Policy],
        examples: Sequence[Example],
        steps: Mapping[str, StepAnswers],
        timed: Callable[[str], AbstractContextManager[None]],
    ) -> dict[str, AnswerTexts]:
        """Return what policies write as answers, by policy id, with a judge's verdicts where one
        is asked; nothing where answers are not written.
        """
        if (answering := self.wanted.writes(examples)) is None:
            return {}
        if self._writer is None:
            raise ValueError("answers are to be written: give the Measurer a writer")
        with timed("writing"):
            asked = {
                p: [render_prompt(p, e.input, steps[p.policy_id].get(e.input)) for e in examples]
                for p in policies
            }
            found = write_answers(self._writer, answering, asked, examples)
        if not answering.grader.is_judged:
            return found
        keys = {UnitKey(policy_id, is_judging=True): wrote for policy_id, wrote in found.items()}
        units = [
            self._unit(key, answering.judge, tuple(self._asked(answering.judged(wrote, examples))))
            for key, wrote in keys.items()
        ]
        scores = self._scorer.score(units, lambda *_: None, timed)
        return {
            unit.key.policy_id: keys[unit.key].judged_by(
                judge_log_odds(unit, scores[unit.key], examples), scores[unit.key].count
            )
            for unit in units
        }

    def recall_verdicts(self, policy: Policy, scores: LabelScores) -> None:
        """Remember the verdicts of an earlier measurement, so that its evaluator is not asked
        again.
        """
        self._verdicts.recall(policy, scores)

    def _texts(self, examples: Sequence[Example]) -> list[str]:
        """Return the different inputs that a policy's prompts are made with."""
        content_free = [CONTENT_FREE] if self.wanted.content_free else []
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

    def close(self) -> None:
        """Close the memo and give the executor's workers back."""
        self._scorer.close()
