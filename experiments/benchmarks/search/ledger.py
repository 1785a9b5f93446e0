"""One model that scores and writes for every contender, and the ledger of what each asks of it.

Logical tokens are the summed length of every sequence scored or written, nothing shared: the prompt
of each policy and example once, and the tokens of its candidates; of what is written, what was
asked and the text. A policy and an example are charged once in a run. How many tokens are forwarded
is a matter of speed: prefixes are shared, and what an earlier run scored is not scored again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.backends.open import OpenModel, open_model
from evoprompt.calibration import Way, leave_one_out
from evoprompt.config.sections import JobConfig, ModelConfig, WorkersConfig
from evoprompt.measurement.features import feature_words
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import memo_opener
from evoprompt.measurement.units import Unit
from evoprompt.policy import Policy
from evoprompt.records import Example, QueryKind
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from experiments.benchmarks.search.tasks import BenchTask

Floats = NDArray[np.float64]

#: Of a text that a model writes: at most so many tokens, at this temperature.
WRITTEN_TOKENS, TEMPERATURE = 128, 0.7


class SpentError(Exception):
    """What is asked for next would cost more than is left."""


@dataclass
class Ledger:
    """Logical tokens of one run, by kind."""

    budget: float
    context: int = 0  #: of prompts that were scored
    answers: int = 0  #: of the candidates after them
    asked: int = 0  #: of prompts for writing
    written: int = 0
    prefill: int = 0  #: forwarded; no part of the budget
    refused: bool = False  #: whether something would have cost more than was left

    @property
    def total(self) -> int:
        """All that counts against the budget."""
        return self.context + self.answers + self.asked + self.written

    @property
    def left(self) -> float:
        """What may still be spent."""
        return self.budget - self.total

    def check(self, cost: float) -> None:
        """Refuse what would cost more than is left."""
        if cost > self.left:
            self.refused = True
            raise SpentError(f"{cost:,.0f} more tokens, and {self.left:,.0f} are left")

    def to_dict(self) -> dict[str, int]:
        """Return the tokens by kind, and their sum."""
        kinds = ("context", "answers", "asked", "written", "prefill")
        return {k: getattr(self, k) for k in kinds} | {"total": self.total}


@dataclass(frozen=True)
class Scores:
    """What a policy has on some examples."""

    log_likelihood: Floats  #: nats, shape (example, candidate)
    num_tokens: NDArray[np.int64]  #: of the candidates, same shape
    is_greedy: NDArray[np.bool_]  #: whether the right one is the model's own answer, (example,)
    gold: NDArray[np.int64]  #: shape (example,)
    words: Floats  #: log-probabilities of the words that a head reads, nats, shape (example, word)


@dataclass(frozen=True)
class _Known:
    log_likelihood: Floats
    num_tokens: NDArray[np.int64]
    is_greedy: bool
    words: Floats
    context: int
    answers: int


@dataclass
class Bench:
    """A model and a task, for one run after another."""

    model: OpenModel
    task: BenchTask
    name: str  #: of the model
    memo: Memo | None = None  #: what was scored by other processes
    ledger: Ledger = field(default_factory=lambda: Ledger(float("inf")))
    #: examples on which each policy was measured in this run, in order
    measured: dict[Policy, dict[str, Example]] = field(default_factory=dict)
    elsewhere: int = 0  #: policies that this run measured without the bench
    _known: dict[tuple[str, str], _Known] = field(default_factory=dict)
    _chat: Any = None

    def __post_init__(self) -> None:
        self._measurer = Measurer(self.model.tokenizer, self.model.executor)
        if self.task.is_shared:
            self._measurer.features = feature_words(self.model.tokenizer)

    def begin(self, budget: float) -> None:
        """Begin a run."""
        self.ledger, self.measured, self.elsewhere = Ledger(budget), {}, 0
        self.begun = time.perf_counter()

    def fits(self, policy: Policy, examples: Sequence[Example]) -> bool:
        """Return whether a policy's prompts can be tokenized and fit the model's window."""
        return self._measurer.fits(policy, examples)

    def cost(self, policy: Policy, examples: Sequence[Example]) -> int:
        """Return the logical tokens of a policy on these examples, as if none were measured."""
        [unit] = self._measurer.prepare([policy], examples)
        return sum(c + a for c, a in _lengths(unit).values())

    def scores(self, policy: Policy, examples: Sequence[Example]) -> Scores:
        """Return a policy's scores; those that this run has not yet seen are charged.

        Raises:
            SpentError: they cost more than is left. Nothing is measured then.
        """
        seen = self.measured.get(policy, {})
        new = [e for e in examples if e.example_id not in seen]
        self._know(policy, new)
        known = [self._known[policy.policy_id, e.example_id] for e in new]
        self.ledger.context += sum(k.context for k in known)
        self.ledger.answers += sum(k.answers for k in known)
        self.measured.setdefault(policy, {}).update((e.example_id, e) for e in new)
        return self._collect(policy, examples)

    def test(self, policy: Policy) -> Scores:
        """Return the test scores of a policy; no budget pays for them."""
        ledger, self.ledger = self.ledger, Ledger(float("inf"))
        self._know(policy, self.task.task.test)
        self.ledger = ledger
        return self._collect(policy, self.task.task.test)

    def write(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        system: str = "",
        max_tokens: int = WRITTEN_TOKENS,
    ) -> list[str]:
        """Return what the model writes when it is told these texts, each drawn by its seed.

        Raises:
            SpentError: the longest texts would cost more than is left.
        """
        asked = [self._told(prompt, system) for prompt in prompts]
        self.ledger.check(sum(len(a) + max_tokens for a in asked))
        stop = tuple(sorted(self.model.tokenizer.special_tokens))
        decoded = self.model.executor.generate(
            [
                Decoding(a, max_tokens, TEMPERATURE, seed, stop)
                for a, seed in zip(asked, seeds, strict=True)
            ]
        )
        self.ledger.asked += sum(map(len, asked))
        self.ledger.written += sum(len(d.tokens) for d in decoded)
        self.ledger.prefill += sum(d.count.body_tokens for d in decoded)
        return [self.model.tokenizer.decode(d.tokens) for d in decoded]

    def _know(self, policy: Policy, examples: Sequence[Example]) -> None:
        """Have the scores of a policy, from before or newly."""
        self.ledger.check(0)
        if not examples:
            return
        [unit] = self._measurer.prepare([policy], examples)
        self.ledger.check(sum(c + a for c, a in _lengths(unit).values()))
        missing = [e for e in examples if (policy.policy_id, e.example_id) not in self._known]
        if not missing:
            return
        [unit] = self._measurer.prepare([policy], missing)
        done = self._score(unit)
        self.ledger.prefill += done.count.body_tokens
        lengths, none = _lengths(unit), np.zeros(0)
        # as a run of the package keeps them
        words = {e: w.astype(np.float16) for e, w in unit.features_of(done).items()}
        values: dict[str, dict[int, tuple[float, int]]] = {}
        greedy: dict[str, list[tuple[QueryKind, int, bool]]] = {}
        for asked, value, is_greedy in unit.answered(done):
            query = asked.query
            greedy.setdefault(query.example_id, []).append((query.kind, query.candidate, is_greedy))
            if query.kind is QueryKind.CANDIDATE:
                length = len(asked.request.continuation)
                values.setdefault(query.example_id, {})[query.candidate] = (value, length)
        for example in missing:
            found = [values[example.example_id][i] for i in range(len(example.candidates))]
            self._known[policy.policy_id, example.example_id] = _Known(
                np.array([v for v, _ in found]),
                np.array([n for _, n in found]),
                _is_answer(greedy[example.example_id], example.gold),
                words.get(example.example_id, none).astype(float),
                *lengths[example.example_id],
            )

    def _score(self, unit: Unit) -> TokenScores:
        """Return the scores of a unit; what the memo knows is not forwarded."""
        work = unit.work
        known = self.memo.recall(work.requests, work.features) if self.memo else None
        if known is not None:
            return known
        found = self.model.executor.score([work], lambda *_: None)[work.key]
        if self.memo:
            self.memo.keep(work.requests, found, work.features)
        return found

    def _collect(self, policy: Policy, examples: Sequence[Example]) -> Scores:
        known = [self._known[policy.policy_id, e.example_id] for e in examples]
        return Scores(
            np.array([k.log_likelihood for k in known]),
            np.array([k.num_tokens for k in known]),
            np.array([k.is_greedy for k in known]),
            np.array([e.gold for e in examples]),
            np.array([k.words for k in known]),
        )

    def _told(self, prompt: str, system: str) -> tuple[int, ...]:
        """Return the tokens after which the model answers; in its chat form, where it has one."""
        if self._chat is None:
            from transformers import AutoTokenizer

            self._chat = AutoTokenizer.from_pretrained(self.model.identity.place)
        if not self._chat.chat_template:
            return self.model.tokenizer.encode([prompt])[0]
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": prompt})
        text = self._chat.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return tuple(self._chat(text, add_special_tokens=False)["input_ids"])


def open_bench(
    task: BenchTask, model: str, threads: int | None = 1, revision: str | None = None
) -> Bench:
    """Return a bench with its model loaded in this process."""
    config = JobConfig(
        model=ModelConfig(name=model, revision=revision),
        workers=WorkersConfig(backend="local", threads=threads),
    )
    opened = open_model(config)
    opener = memo_opener(config, opened.identity)
    return Bench(opened, task, model, opener(opened.executor.info()) if opener else None)


def log_probabilities(bench: Bench, scores: Scores, way: Way) -> Floats:
    """Return the log-probabilities among the choices, nats, shape (example, choice), each example's
    by a calibration fitted on the others, where all have the same choices.
    """
    way = way if bench.task.is_shared else "off"
    return leave_one_out(scores.log_likelihood, scores.gold, way, words=scores.words)


def likelihoods(bench: Bench, scores: Scores, way: Way) -> Floats:
    """Return the log-likelihood of each right answer, nats: among the choices, or per token where
    there are none; shape (example,).
    """
    rows = np.arange(len(scores.gold))
    if scores.log_likelihood.shape[1] == 1:
        found: Floats = (scores.log_likelihood / scores.num_tokens)[rows, scores.gold]
        return found
    chosen: Floats = log_probabilities(bench, scores, way)[rows, scores.gold]
    return chosen


def _lengths(unit: Unit) -> dict[str, tuple[int, int]]:
    """Return by example the tokens of its prompt, and of all of its candidates."""
    found: dict[str, tuple[int, int]] = {}
    for asked in unit.asked:
        if asked.query.kind is QueryKind.CANDIDATE:
            _, answers = found.get(asked.query.example_id, (0, 0))
            found[asked.query.example_id] = (
                len(asked.request.context),
                answers + len(asked.request.continuation),
            )
    return found


def _is_answer(greedy: Sequence[tuple[QueryKind, int, bool]], gold: int) -> bool:
    """Return whether the right candidate is the model's own answer, its end included."""
    right = any(g for kind, c, g in greedy if kind is QueryKind.CANDIDATE and c == gold)
    ends = [g for kind, c, g in greedy if kind is QueryKind.END and c == gold]
    return right and (any(ends) or not ends)
