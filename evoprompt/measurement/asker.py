"""What a policy answers, how sure the model is of it, and what an evaluator says of the answer.
Sees no label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from evoprompt.calibration import LabelCalibration
from evoprompt.choices import COMPARISONS, batch_calibrated, choice_log_probabilities
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.judge import VERDICTS, judged_input
from evoprompt.tasks.render import render_stops

#: The mean value that each choice has over a batch of inputs, nats: what answers and verdicts are
#: freed of.
Prior = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that the model gave."""

    text: str
    probability: float  #: among the choices, or per token of what was written
    #: of all choices in their order; of the answer alone where there are none
    probabilities: tuple[float, ...]
    written: str = ""  #: what was written, of which the answer is what a metric takes


class Asker:
    """Asks one model.

    Args:
        measurer: scores choices.
        writer: writes answers where there are no choices.
        ledger: counts the work, by phase.
        on_scored: is told of each part of it.
        answer_tokens: written at most for an answer.
        answered_by: how choices are compared, a name of `choices.COMPARISONS`; what is beyond the
            prior needs a measurer with prior.
        calibration: of the answers; choices that it does not know are compared as they are.
        verdict_calibration: of the verdicts that `tasks.judge.VERDICTS` names.
        answering: how answers are written, where a run graded them; instead of `answer_tokens`.
    """

    def __init__(
        self,
        measurer: Measurer,
        writer: Writer,
        ledger: Ledger,
        on_scored: Callable[[TokenCount], None] = lambda _: None,
        answer_tokens: int = 16,
        answered_by: str = "likelihood",
        calibration: LabelCalibration | None = None,
        verdict_calibration: LabelCalibration | None = None,
        answering: Answering | None = None,
    ) -> None:
        self.measurer = measurer
        self.writer = writer
        self.ledger = ledger
        self.on_scored = on_scored
        self.answer_tokens = answer_tokens if answering is None else answering.max_tokens
        self.answering = answering
        self.comparison = COMPARISONS[answered_by]
        self.calibration = calibration
        self.verdict_calibration = verdict_calibration
        if calibration is not None and calibration.head is not None:
            measurer.features = calibration.head.words

    def answers(self, policy: Policy, asked: Sequence[Example], phase: str) -> list[Answer]:
        """Return the policy's answer to each example: the likeliest of its choices, or what the
        model writes where it has none.

        All examples have choices or none has; their targets are not looked at.
        """
        if not asked:
            return []
        if asked[0].choices is None:
            return self._written(policy, asked, phase)
        logs, words = self._choices(policy, asked, phase)
        if self.comparison.over_batch:
            logs = batch_calibrated(logs, _groups(asked))
        for row, read, e in zip(logs, words, asked, strict=True):
            width = len(e.candidates)
            row[:width] = self.calibrated(row[:width], e.candidates, read)
        rows = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
        return [
            Answer(
                e.candidates[int(row.argmax())],
                float(row.max()),
                tuple(row[: len(e.candidates)].tolist()),
            )
            for e, row in zip(asked, rows, strict=True)
        ]

    def stops_of(self, policy: Policy) -> tuple[str, ...]:
        """Return the texts of which each ends an answer that the policy writes."""
        found = self.answering
        return render_stops(policy) if found is None else found.stops_of(policy)

    def calibrated(
        self, values: NDArray[np.float64], choices: Sequence[str], words: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what these choices are compared by, shape (choice,): their values, calibrated.
        `words` are the log-probabilities of the words that the calibration reads.
        """
        if self.calibration is None:
            return values
        return self.calibration.apply(values, choices, words)

    def verdicts(
        self, evaluator: Policy, inputs: Sequence[str], answers: Sequence[str], phase: str
    ) -> NDArray[np.float64]:
        """Return log p(TRUE) - log p(FALSE) that the evaluator gives to each answer, calibrated,
        nats, shape (answer,).
        """
        if not inputs:
            return np.zeros(0)
        asked = [
            Example(str(i), judged_input(text, a), VERDICTS[0], VERDICTS)
            for i, (text, a) in enumerate(zip(inputs, answers, strict=True))
        ]
        values = self._scores(evaluator, asked, phase).log_likelihood[0]
        if self.verdict_calibration is not None:
            values = self.verdict_calibration.apply(values, VERDICTS)
        log_odds: NDArray[np.float64] = values[:, 0] - values[:, 1]
        return log_odds

    def verdicts_among(
        self,
        evaluator: Policy,
        asked: Sequence[Example],
        answers: Sequence[str],
        phase: str,
        prior: Prior | None = None,
    ) -> NDArray[np.float64]:
        """Return the log-odds that an answer, and no other of the example's choices, is right,
        nats, shape (answer,).

        With d_c the log-odds log p(TRUE) - log p(FALSE) that the evaluator gives to choice c, a the
        answer:

            d_a - log sum over c != a of exp(d_c)

        These are the log-odds of a if the verdicts on the choices are independent and exactly one
        choice is right. Where answers come by `batch`, so do the d_c. It costs a verdict for each
        choice; their common beginning is forwarded once.

        Args:
            evaluator: judges.
            asked: examples with two or more choices each.
            answers: one of its choices for each example.
            phase: the work is counted under this.
            prior: instead of the batch's own, where it has all choices.
        """
        if not asked:
            return np.zeros(0)
        odds = self._odds(evaluator, asked, phase)
        if prior is not None:
            for row, e in zip(odds, asked, strict=True):
                row[: len(e.candidates)] -= prior_of(prior, e.candidates)
        elif self.comparison.over_batch:
            odds = batch_calibrated(odds, _groups(asked))
        rows, places = (
            np.arange(len(asked)),
            [e.candidates.index(a) for e, a in zip(asked, answers, strict=True)],
        )
        own = odds[rows, places]
        odds[rows, places] = -np.inf
        against: NDArray[np.float64] = own - np.logaddexp.reduce(odds, axis=1)
        return against

    def answer_prior(self, policy: Policy, asked: Sequence[Example], phase: str) -> Prior:
        """Return what a batch of these examples takes from the log-probability, among the choices,
        of each choice that all of them have.
        """
        return _prior(self._choices(policy, asked, phase)[0], asked)

    def verdict_prior(self, evaluator: Policy, asked: Sequence[Example], phase: str) -> Prior:
        """Return what a batch of these examples takes from the evaluator's log-odds for each choice
        that all of them have.
        """
        return _prior(self._odds(evaluator, asked, phase), asked)

    def _choices(
        self, policy: Policy, asked: Sequence[Example], phase: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log-probability of each choice among the choices, or beyond the prior, shape
        (example, choice), -inf where there is none; and of the words that are read beside them,
        shape (example, word).
        """
        scores = self._scores(policy, [blind(e) for e in asked], phase)
        return choice_log_probabilities(scores, self.comparison)[0], words_read(scores)

    def _odds(self, evaluator: Policy, asked: Sequence[Example], phase: str) -> NDArray[np.float64]:
        """Return the evaluator's log-odds for each choice, shape (example, choice); -inf where
        there is none.
        """
        pairs = [(e.input, c) for e in asked for c in e.candidates]
        odds = np.full((len(asked), _width(asked)), -np.inf)
        there = np.arange(_width(asked)) < np.array([[len(e.candidates)] for e in asked])
        odds[there] = self.verdicts(
            evaluator, [text for text, _ in pairs], [c for _, c in pairs], phase
        )
        return odds

    def _written(self, policy: Policy, asked: Sequence[Example], phase: str) -> list[Answer]:
        with self.ledger.timed("scoring"):
            prompts, count = self.measurer.prompts(policy, [e.input for e in asked])
            found = self.answering
            written = self.writer.write(
                prompts,
                max_tokens=self.answer_tokens,
                temperature=0.0 if found is None else found.temperature,
                seeds=None if found is None else [found.seed_of(e) for e in asked],
                stops=self.stops_of(policy),
            )
        count = sum((w.count for w in written), count)
        self.ledger.count(phase, count)
        self.on_scored(count)
        per_token = [exp(w.log_likelihood / max(1, w.num_tokens)) for w in written]
        texts = [w.text.strip() for w in written]
        answers = texts if found is None else [found.grader.extracted(text) for text in texts]
        return [
            Answer(answer, p, (p,), text)
            for answer, p, text in zip(answers, per_token, texts, strict=True)
        ]

    def _scores(self, policy: Policy, examples: Sequence[Example], phase: str) -> LabelScores:
        [(scores, count)] = self.measurer.measure(
            [policy], examples, self.on_scored, self.ledger.timed
        ).values()
        self.ledger.count(phase, count)
        return scores


def words_read(scores: LabelScores) -> NDArray[np.float64]:
    """Return the log-probabilities of the words that were read of one policy, nats, shape (example,
    word); of none, where none were.
    """
    return np.zeros((len(scores.gold), 0)) if scores.features is None else scores.features[0]


def blind(example: Example) -> Example:
    """Return the example with its label put away: the first choice stands where the right one
    would.
    """
    return replace(example, target=example.candidates[0])


def is_right(answer: str, target: str) -> bool | None:
    """Return whether an answer is the right one, letter case and outer spaces aside; None where
    that is not known.
    """
    return answer.strip().lower() == target.strip().lower() if target else None


def _width(examples: Sequence[Example]) -> int:
    return max(len(e.candidates) for e in examples)


def prior_of(prior: Prior, choices: Sequence[str]) -> NDArray[np.float64]:
    """Return what a prior takes from each of these choices, shape (choice,): nothing unless it
    knows all of them, for then none is comparable.
    """
    return (
        np.array([prior[c] for c in choices])
        if set(choices) <= prior.keys()
        else np.zeros(len(choices))
    )


def _prior(values: NDArray[np.float64], asked: Sequence[Example]) -> Prior:
    groups = _groups(asked)
    calibrated = batch_calibrated(values, groups)
    return {
        c: float(values[0, i] - calibrated[0, i])
        for i, c in enumerate(asked[0].candidates)
        if groups[0, i]
    }


def _groups(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Return a number for each choice that all examples have, and 0 for any other; shape (example,
    choice).
    """
    shared = sorted(set.intersection(*(set(e.candidates) for e in examples)))
    numbers = {choice: i + 1 for i, choice in enumerate(shared)}
    width = _width(examples)
    return np.array(
        [
            [numbers.get(c, 0) for c in e.candidates] + [0] * (width - len(e.candidates))
            for e in examples
        ]
    )
