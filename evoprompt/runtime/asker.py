"""What a policy answers, how sure the model is of it, and what an evaluator says of the answer. Sees no label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from evoprompt.fitness.likelihood import case_fitness
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.runtime.ledger import Ledger
from evoprompt.runtime.measure import Measurer
from evoprompt.runtime.writer import Writer
from evoprompt.tasks.judge import VERDICTS, judged_input


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that the model gave."""

    text: str
    probability: float  #: among the choices, or per token of what was written
    probabilities: tuple[float, ...]  #: of all choices in their order; of the answer alone where there are none


class Asker:
    """Asks one model.

    Args:
        measurer: scores choices.
        writer: writes answers where there are no choices.
        ledger: counts the work, by phase.
        on_scored: is told of each part of it.
        answer_tokens: written at most for an answer.
        kind: how choices are compared, `label_normalized` or `pmi` (`fitness.likelihood`); the latter needs a measurer with prior.
    """

    def __init__(
        self,
        measurer: Measurer,
        writer: Writer,
        ledger: Ledger,
        on_scored: Callable[[TokenCount], None] = lambda _: None,
        answer_tokens: int = 16,
        kind: str = "label_normalized",
    ) -> None:
        self.measurer = measurer
        self.writer = writer
        self.ledger = ledger
        self.on_scored = on_scored
        self.answer_tokens = answer_tokens
        self.kind = kind

    def answers(self, policy: Policy, asked: Sequence[Example], phase: str) -> list[Answer]:
        """Return the policy's answer to each example: the likeliest of its choices, or what the model writes where it has none.

        All examples have choices or none has; their targets are not looked at.
        """
        if not asked:
            return []
        if asked[0].choices is None:
            return self._written(policy, asked, phase)
        scores = self._scores(policy, [blind(e) for e in asked], phase)
        rows = np.exp([case_fitness(replace(scores, gold=np.full(len(asked), c)), self.kind)[0] for c in range(_width(asked))]).T
        return [
            Answer(e.candidates[int(row.argmax())], float(row.max()), tuple(row[: len(e.candidates)].tolist()))
            for e, row in zip(asked, rows, strict=True)
        ]

    def verdicts(self, evaluator: Policy, inputs: Sequence[str], answers: Sequence[str], phase: str) -> NDArray[np.float64]:
        """Return log p(TRUE) - log p(FALSE) that the evaluator gives to each answer, nats, shape (answer,)."""
        if not inputs:
            return np.zeros(0)
        asked = [Example(str(i), judged_input(text, a), VERDICTS[0], VERDICTS) for i, (text, a) in enumerate(zip(inputs, answers, strict=True))]
        log_likelihood = self._scores(evaluator, asked, phase).log_likelihood
        log_odds: NDArray[np.float64] = log_likelihood[0, :, 0] - log_likelihood[0, :, 1]
        return log_odds

    def _written(self, policy: Policy, asked: Sequence[Example], phase: str) -> list[Answer]:
        with self.ledger.timed("scoring"):
            prompts, count = self.measurer.prompts(policy, [e.input for e in asked])
            written = self.writer.write(prompts, max_tokens=self.answer_tokens)
        count = sum((w.count for w in written), count)
        self.ledger.count(phase, count)
        self.on_scored(count)
        per_token = [exp(w.log_likelihood / max(1, w.num_tokens)) for w in written]
        return [Answer(w.text.strip(), p, (p,)) for w, p in zip(written, per_token, strict=True)]

    def _scores(self, policy: Policy, examples: Sequence[Example], phase: str) -> LabelScores:
        [(scores, count)] = self.measurer.measure([policy], examples, self.on_scored, self.ledger.timed).values()
        self.ledger.count(phase, count)
        return scores


def blind(example: Example) -> Example:
    """Return the example with its label put away: the first choice stands where the right one would."""
    return replace(example, target=example.candidates[0])


def is_right(answer: str, target: str) -> bool | None:
    """Return whether an answer is the right one, letter case and outer spaces aside; None where that is not known."""
    return answer.strip().lower() == target.strip().lower() if target else None


def _width(examples: Sequence[Example]) -> int:
    return max(len(e.candidates) for e in examples)
