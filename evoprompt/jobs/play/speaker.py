"""One model, asked about one input at a time: how likely are these answers, what would it write, is
this answer right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evoprompt.conversation import Prompt
from evoprompt.measurement.asker import Asker, Prior, words_read
from evoprompt.measurement.requests import text_of
from evoprompt.measurement.steps import JOIN_SLACK, STEP_TOKENS
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.tasks.render import render_answer, render_prompt

PHASE = "play"  #: of the ledger


@dataclass(frozen=True, slots=True)
class Measure:
    """How likely an answer is after the prompt."""

    log_likelihood: float  #: nats, summed over the answer's tokens
    num_tokens: int
    prior: float = 0.0  #: nats that are taken off where answers are compared


class Speaker:
    """Answers by policies with one model.

    Args:
        asker: asks the model, and compares answers.
        verdict_prior: what an evaluator's log-odds are freed of where an answer is judged among
            others and it has all of them.
    """

    def __init__(self, asker: Asker, verdict_prior: Prior | None = None) -> None:
        self.asker = asker
        self.verdict_prior = verdict_prior or {}

    def fits(self, policy: Policy, text: str, answers: Sequence[str]) -> bool:
        """Return whether the prompt with any of these answers, and with one that the model writes,
        surely fits the model's window.
        """
        measurer = self.asker.measurer
        prompt, *rest = measurer.tokenizer.encode(
            [render_prompt(policy, text), *(render_answer(policy, a) for a in answers)]
        )
        longest = max([self.asker.answer_tokens, *map(len, rest)])
        return (
            len(prompt) + STEP_TOKENS * len(policy.steps) + longest + JOIN_SLACK
            <= measurer.executor.info().window
        )

    def shown(self, policy: Policy) -> str:
        """Return the whole prompt as the model reads it, with placeholders."""
        return self.asker.measurer.shown(policy)

    def prompt(self, policy: Policy, text: str) -> str:
        """Return the whole prompt for an input as the model reads it, with what it writes after the
        policy's steps.

        Raises:
            UserError: it does not fit the model's window.
        """
        return text_of(self.asker.measurer.tokenizer, self._prompt(policy, text))

    def _prompt(self, policy: Policy, text: str) -> Prompt:
        [prompt], count = self.asker.measurer.prompts(policy, [text])
        self.asker.ledger.count(PHASE, count)
        return prompt

    def measure(self, policy: Policy, text: str, answers: Sequence[str]) -> list[Measure]:
        """Return how likely each of these different answers to an input is.

        Raises:
            UserError: as `prompt`.
        """
        example = Example("", text, answers[0], tuple(answers))
        asker = self.asker
        [(scores, count)] = asker.measurer.measure(
            [policy], [example], asker.on_scored, asker.ledger.timed
        ).values()
        asker.ledger.count(PHASE, count)
        compared = asker.calibrated(
            asker.comparison.values(scores)[0, 0], answers, words_read(scores)[0]
        )
        prior = scores.log_likelihood[0, 0] - compared
        return [
            Measure(float(v), int(n), float(p))
            for v, n, p in zip(
                scores.log_likelihood[0, 0], scores.num_tokens[0, 0], prior, strict=True
            )
        ]

    def write(
        self, policy: Policy, text: str, *, temperature: float, seeds: Sequence[int]
    ) -> list[str]:
        """Return an answer that the model writes for each seed, the likeliest token each time at
        temperature 0; it may be empty.

        Raises:
            UserError: as `prompt`.
        """
        prompts = [self._prompt(policy, text)] * len(seeds)
        asker = self.asker
        with asker.ledger.timed("scoring"):
            written = asker.writer.write(
                prompts,
                max_tokens=asker.answer_tokens,
                temperature=temperature,
                seeds=seeds,
                stops=asker.stops_of(policy),
            )
        for w in written:
            asker.ledger.count(PHASE, w.count)
        return [w.text.strip() for w in written]

    def log_odds(
        self, evaluator: Policy, text: str, answer: str, rivals: Sequence[str] = ()
    ) -> float:
        """Return log p(TRUE) - log p(FALSE) that the evaluator gives to an answer, nats; with
        rivals, that it and none of them is right.
        """
        if rivals:
            asked = [Example("", text, answer, (answer, *rivals))]
            return float(
                self.asker.verdicts_among(evaluator, asked, [answer], PHASE, self.verdict_prior)[0]
            )
        return float(self.asker.verdicts(evaluator, [text], [answer], PHASE)[0])

    def close(self) -> None:
        """Give everything back."""
        self.asker.measurer.close()
