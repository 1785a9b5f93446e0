"""Writes inputs and labels them, with the model that the prompts are for. Implements
`authors.Author`; knows nothing of evolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from math import inf

from evoprompt.choices import LIKELIHOOD, Comparison, choice_log_probabilities, predicted
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import FITNESS_DIGITS, Example, LabelScores, TokenCount
from evoprompt.tasks.base import Task
from evoprompt.tasks.render import render_stops

#: At which inputs are drawn.
TEMPERATURE = 0.8
#: Written at most for an answer in free form.
ANSWER_TOKENS = 16
#: An input may have as many times the tokens of the longest one shown; where it has not ended by
#: then, it is not taken.
LENGTH_RATIO = 2


class ModelAuthor:
    """Writes with one model.

    Args:
        measurer: scores.
        writer: writes.
        choices: that every input of the task offers; None where answers are in free form.
        comparison: how an answer is found among them; what is beyond the prior needs a measurer
            with prior.
        allowance: counts its work. Once it is used up, nothing is begun, and what is asked is
            answered as what does not fit the window.
    """

    def __init__(
        self,
        measurer: Measurer,
        writer: Writer,
        choices: tuple[str, ...] | None,
        comparison: Comparison = LIKELIHOOD,
        allowance: Allowance | None = None,
    ) -> None:
        self._measurer = measurer
        self._writer = writer
        self._choices = choices
        self._comparison = comparison
        self._allowance = Allowance() if allowance is None else allowance

    @property
    def _is_spent(self) -> bool:
        return not self._allowance.has_room()

    def write_input(self, policy: Policy, shown: Sequence[str], seed: int) -> str | None:
        """Return an input like those shown, drawn by the seed after them in the policy's template.

        None where nothing was written, it did not end in time, the prompt does not fit the model's
        window, or an input has several lines: a line is what is written.
        """
        if self._is_spent or any("\n" in text for text in shown):
            return None
        prefix = policy.template.input_prefix
        prompt = (
            "".join(prefix + text + policy.template.separator for text in shown) + prefix
        ).rstrip(" ")
        tokens, *lengths = (len(ids) for ids in self._writer.tokenizer.encode([prompt, *shown]))
        most = LENGTH_RATIO * max(lengths)
        if tokens + most > self._measurer.executor.info().window:
            return None
        [written] = self._writer.write(
            [prompt],
            max_tokens=most,
            temperature=TEMPERATURE,
            seeds=[seed],
            stops=render_stops(policy),
        )
        self._allowance.add(written.count)
        return (written.text.strip() or None) if written.num_tokens < most else None

    def label(self, policy: Policy, text: str) -> str:
        """Return the policy's answer among the choices, or what the model writes where there are
        none; empty where the prompt does not fit the window.
        """
        example = Example(
            "", text, *((self._choices[0], self._choices) if self._choices else ("?", None))
        )
        if self._is_spent or not self._measurer.fits(policy, [example]):
            return ""
        if self._choices is not None:
            scores = self._measure([policy], [example])[policy.policy_id]
            return self._choices[int(predicted(scores, self._comparison)[0, 0])]
        prompts, count = self._measurer.prompts(policy, [text])
        [written] = self._writer.write(
            prompts, max_tokens=ANSWER_TOKENS, stops=render_stops(policy)
        )
        self._allowance.add(count + written.count)
        return written.text.strip()

    def gain(self, before: Policy, after: Policy, held_out: Sequence[Demonstration]) -> float:
        """Return by how much the mean log-likelihood of the right answers rises, nats, rounded as
        fitness is; -inf where a prompt does not fit.

        Where there are choices it is that of the right one among them: the first demonstration
        makes all of them likelier.
        """
        examples = [
            Example(str(i), d.input, d.target, self._choices) for i, d in enumerate(held_out)
        ]
        if self._is_spent or not all(
            self._measurer.fits(policy, examples) for policy in (before, after)
        ):
            return -inf
        scores = self._measure([before, after], examples)
        low, high = (self._worth(scores[policy.policy_id]) for policy in (before, after))
        return round(high - low, FITNESS_DIGITS)

    def _worth(self, scores: LabelScores) -> float:
        chosen = self._choices is not None
        values = choice_log_probabilities(scores) if chosen else scores.log_likelihood
        return float(scores.of_gold(values).mean())

    def close(self) -> None:
        """Close what the measurer holds."""
        self._measurer.close()

    def _measure(
        self, policies: Sequence[Policy], examples: Sequence[Example]
    ) -> dict[str, LabelScores]:
        measured = self._measurer.measure(
            policies, examples, lambda _: None, lambda _: nullcontext()
        )
        self._allowance.add(sum((count for _, count in measured.values()), TokenCount()))
        return {policy_id: scores for policy_id, (scores, _) in measured.items()}


def author_of(
    task: Task,
    measurer: Measurer,
    writer: Writer,
    comparison: Comparison = LIKELIHOOD,
    allowance: Allowance | None = None,
) -> ModelAuthor | None:
    """Return an author for a task, or None where its examples differ in their choices: of a new
    input nobody knows what it offers. The arguments are those of `ModelAuthor`.
    """
    offers = {e.choices for split in (task.fitness, task.validation, task.test) for e in split}
    if len(offers) > 1:
        return None
    return ModelAuthor(measurer, writer, task.choices, comparison, allowance)
