"""A backend whose model is a program that nobody looks into: it is given prompts and rows, and what
it answers comes back with its score.

A prompt with its row is one token, and an answer with its score another: so a run's budget in
logical tokens is one of calls, two tokens each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from uuid import uuid4

from evoprompt.backends.base import Executor, Identity, ModelInfo, TextTokenizer, WorkUnit
from evoprompt.backends.local import LocalBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError, clip, quoted
from evoprompt.optimizers.prompts import Form
from evoprompt.optimizers.rows import Record
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest, Tokens

#: What a program is called where models have names.
PROGRAM = "predict_fn"
#: Stands around the input of a row: an invisible separator, which no prompt needs.
MARK = "\u2063"
#: Between the turns of a chat as the search has it, and within one.
TURN, ANSWER = "\n\u2062\n", "\n\u2064"
#: Tokens of a call: the prompt with its row, and the answer.
TOKENS_A_CALL = 2
#: Characters of an answer that are kept.
KEPT = 2000

#: What MLflow hands to an optimizer: (templates by name, rows) -> a result for each row.
Evaluate = Callable[[dict[str, str], list[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of one row."""

    score: float
    by_scorer: Mapping[str, float]
    written: str  #: the answer with its score, in one line


def grade(answer: str, example: Example) -> tuple[float, str]:
    """Return the score that came with an answer, and why. A metric of written answers."""
    told = json.loads(answer)
    return float(told["score"]), str(told.get("why", ""))


@dataclass(slots=True)
class BlackBox:
    """What is asked, and what is known of it. Implements `backends.base.Backend`.

    Args:
        evaluate: scores prompts on rows.
        form: of the prompt that is varied.
        records: the rows, by the input of their example.
        others: templates by name that stay as they are.
    """

    evaluate: Evaluate
    form: Form
    records: Mapping[str, Record]
    others: Mapping[str, str]
    known: dict[tuple[str, str], Scored] = field(default_factory=dict)  #: by template and input
    calls: int = 0
    _texts: list[str] = field(default_factory=lambda: [""])
    _numbers: dict[str, int] = field(default_factory=lambda: {"": 0})

    # the backend

    def identify(self, model: ModelConfig) -> Identity:
        """Return what answers: a program may be another one the next time. Another model, which
        writes instructions, is one of this process.
        """
        if model.name != PROGRAM:
            return LocalBackend().identify(model)
        return Identity(model.name, "a function of this process", uuid4().hex)

    def tokenizer(self, identity: Identity) -> TextTokenizer:
        """Return what makes texts tokens."""
        return self if identity.name == PROGRAM else LocalBackend().tokenizer(identity)

    def open(self, model: ModelConfig, workers: WorkersConfig) -> Executor:
        """Return what asks."""
        if model.name == PROGRAM:
            return self
        return LocalBackend().open(model, WorkersConfig(backend="local", threads=None))

    # the tokenizer

    begin_token: int = field(default=0, init=False)
    break_tokens: frozenset[int] = field(default=frozenset(), init=False)
    special_tokens: frozenset[int] = field(default=frozenset(), init=False)

    def encode(
        self, texts: Sequence[Any], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return one token for a prompt with its row, and one for what follows; of other texts one
        for each word.
        """
        return [tuple(self._number(part) for part in self._parts(str(text))) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return "".join(self._texts[token] for token in tokens)

    def tokens_with(self, text: str) -> frozenset[int]:
        """No answer has a line end."""
        return frozenset()

    # the executor

    def info(self) -> ModelInfo:
        """Return what is known of it."""
        told = {"placement": PROGRAM, "device": PROGRAM, "arithmetic": "none"}
        return ModelInfo(
            window=10**9,
            dtype="none",
            path="black box",
            reason="its scores alone",
            num_workers=1,
            chunk_tokens=1,
            **told,
        )

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """It has no likelihoods.

        Raises:
            UserError: any are asked for.
        """
        raise UserError(
            "predict_fn answers, and tells no likelihoods; leave out of settings what needs them "
            "(traits.likelihood, traits.prompt_cross_entropy, fitness.self_evaluation)"
        )

    def score_plain(self, requests: Sequence[TokenRequest]) -> None:
        """Nothing is scored."""

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        """It proposes no words."""

    def gains(self, asked: Exchange) -> None:
        """It has no gradient."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what came of each prompt with its row: the answer and its score, in one token.

        Raises:
            UserError: a text is to be written that answers no row, or there are no scores.
        """
        asked = [self._asked(self.decode(request.prompt)) for request in requests]
        by_template: dict[str, dict[str, None]] = {}
        for template, row in asked:
            by_template.setdefault(template, {})[row] = None
        for template, rows in by_template.items():
            self._ask(template, list(rows))
        texts = [self.known[one].written for one in asked]
        count = TokenCount(body_tokens=1, floor_body_tokens=1, requests=1, generated_tokens=1)
        return [Decoded((self._number(text),), (0.0,), False, count) for text in texts]

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""

    # what is asked

    def policy(self) -> Policy:
        """Return the prompt as it is given, in the form in which the search has it."""
        given = self.form.policy
        if not self.form.is_chat:
            return given
        template = Template(given.template.input_prefix, ANSWER, TURN)
        return Policy(given.instruction, given.demonstrations, template)

    def template(self, policy: Policy) -> str:
        """Return the template of a policy of the search."""
        return self.form.text(policy)

    def is_better(self, template: str, given: str, held_out: Sequence[str]) -> bool:
        """Return whether a template scores more than the given one on the rows that both were asked
        for, but for those that are held out: of two that tie the given one is kept.
        """
        rows = [r for r in self.records if r not in held_out]
        pairs = [(self.known.get((template, r)), self.known.get((given, r))) for r in rows]
        return sum(new.score - old.score for new, old in pairs if new and old) > 0

    def mean(self, template: str, rows: Sequence[str]) -> tuple[float, dict[str, float]]:
        """Return the mean score of a template on rows, and that of each scorer."""
        self._ask(template, rows)
        found = [self.known[template, row] for row in rows]
        names = dict.fromkeys(name for each in found for name in each.by_scorer)
        scorers = {n: sum(each.by_scorer.get(n, 0.0) for each in found) / len(found) for n in names}
        return sum(each.score for each in found) / len(found), scorers

    def _ask(self, template: str, rows: Sequence[str]) -> None:
        """Have the scores of a template on rows known; what is known is not asked again."""
        rows = [row for row in rows if (template, row) not in self.known]
        if not rows:
            return
        self.calls += len(rows)
        prompts = {**self.others, self.form.name: template}
        results = self.evaluate(prompts, [dict(self.records[row]) for row in rows])
        for row, result in zip(rows, results, strict=True):
            self.known[template, row] = _scored(result)

    def _asked(self, text: str) -> tuple[str, str]:
        """Return the template and the row of a prompt."""
        before, mark, rest = text.partition(MARK)
        if not mark:
            raise UserError(
                "predict_fn answers rows, and writes no instructions or demonstrations; give "
                "writer, or leave the operators out that have something written"
            )
        row = MARK + rest.partition(MARK)[0] + MARK
        if self.form.is_chat:
            return self.form.text(self._said(before)), row
        if not self.form.variables:
            return before.removesuffix(self.form.policy.template.input_prefix).removesuffix(
                self.form.policy.template.separator
            ), row
        return before + self.form.asked + self.form.after, row

    def _said(self, before: str) -> Policy:
        """Return the policy of a chat whose prompt begins so."""
        *blocks, _ = before.split(TURN)
        prefix = self.form.policy.template.input_prefix
        instruction = blocks.pop(0) if blocks and ANSWER not in blocks[0] else ""
        pairs = [block.removeprefix(prefix).partition(ANSWER + " ") for block in blocks]
        shown = tuple(Demonstration(asked, answer) for asked, _, answer in pairs)
        return Policy(instruction, shown, self.form.policy.template)

    def _parts(self, text: str) -> list[str]:
        first, last = text.find(MARK), text.rfind(MARK)
        if first == last:
            return re.findall(r"\s*\S+\s*", text) or ([text] if text else [])
        template = self.policy().template
        end = last + len(MARK + template.output_prefix + template.answer_prefix.rstrip(" "))
        return [part for part in (text[:end], text[end:]) if part]

    def _number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return self._numbers[text]


def _scored(result: Any) -> Scored:
    score = result.score
    if score is None:
        raise UserError(
            "optimize_prompts was given no scorers, and a black box is known by its scores alone; "
            "give scorers, or EvoPromptOptimizer(model=...) to go by likelihood"
        )
    if not isfinite(float(score)):
        raise UserError(
            f"the scorers give {score!r} for the answer {quoted(result.outputs)}; a score is a "
            "finite number"
        )
    by_scorer = {name: float(value) for name, value in result.individual_scores.items()}
    why = "; ".join(f"{name}: {text}" for name, text in result.rationales.items() if text)
    said = result.outputs
    answer = said if isinstance(said, str) else json.dumps(said, default=str)
    told = {"answer": answer[:KEPT], "score": float(score), "scores": by_scorer, "why": clip(why)}
    return Scored(float(score), by_scorer, json.dumps(told))
