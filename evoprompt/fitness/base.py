"""LabelScores -> the number that selection uses, higher is better: a number per (policy, example),
averaged over the examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprompt.choices import COMPARISONS, Comparison, has_choices
from evoprompt.errors import UserError
from evoprompt.fitness.self_evaluation import verdict_log_likelihood
from evoprompt.records import LabelScores


@runtime_checkable
class FitnessKind(Protocol):
    """How the answers count. A new one is a frozen class like those of `likelihood` and a line in
    `catalog.KINDS`; what it has to hold is in `evoprompt.testing.fitness`.

    It may have `compared_by`, a name of `choices.COMPARISONS`: how an answer is found among choices
    wherever a policy that was selected by it answers; without, it is the likeliest one. With
    `needs_answers`, a truth value, answers are written and graded by the run's metric.
    """

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def needs_prior(self) -> bool:
        """Whether `scores.prior` has to be measured."""

    @property
    def needs_choices(self) -> bool:
        """Whether it is undefined where an example has no choices."""

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return the number of each policy on each example, higher is better, shape (policy,
        example).
        """


@dataclass(frozen=True, slots=True)
class Fitness:
    """What a run selects by.

        f = k + w v - c t - b l / n

    With k = `kind.cases`, w = `self_evaluation`, v = `verdict_log_likelihood`, c =
    `prompt_token_penalty`, t the prompt's tokens before an input, b = `demonstrations_prior`, l = 1
    where the prompt does not show each label, and n the examples that it was measured on. So n f is
    a log posterior where k is a log-likelihood: the prior fades as examples are added.
    """

    name: str  #: under which the kind is found again, in another process too
    kind: FitnessKind
    self_evaluation: float = 0.0  #: weight of the evaluator's right verdicts
    prompt_token_penalty: float = 0.0  #: for each token of the prompt
    demonstrations_prior: float = 0.0  #: nats, against prompts that lack a label

    @property
    def needs_prior(self) -> bool:
        """Whether the candidates' prior has to be measured."""
        return self.kind.needs_prior

    @property
    def needs_choices(self) -> bool:
        """Whether every example has to have choices."""
        return self.kind.needs_choices

    @property
    def needs_answers(self) -> bool:
        """Whether answers have to be written."""
        return bool(getattr(self.kind, "needs_answers", False))

    @property
    def compared_by(self) -> str:
        """How an answer is found among choices, a name of `choices.COMPARISONS`."""
        return str(getattr(self.kind, "compared_by", "likelihood"))

    @property
    def comparison(self) -> Comparison:
        """How an answer is found among choices."""
        return COMPARISONS[self.compared_by]

    @property
    def needs_verdicts(self) -> bool:
        """Whether the evaluator's verdicts have to be measured."""
        return self.self_evaluation > 0

    def handicap(self, lacks_labels: ArrayLike, num_examples: int) -> NDArray[np.float64]:
        """Return what the prior takes off the fitness on each of so many examples, for each policy
        that lacks a label among its demonstrations or does not.
        """
        lacking = np.asarray(lacks_labels, dtype=np.float64)
        taken: NDArray[np.float64] = lacking * self.demonstrations_prior / max(1, num_examples)
        return taken

    def cases(
        self, scores: LabelScores, prompt_tokens: ArrayLike = 0, lacks_labels: ArrayLike = False
    ) -> NDArray[np.float64]:
        """Return the fitness of each policy on each example, shape (policy, example), unrounded.

        Args:
            scores: of any policies.
            prompt_tokens: of each policy, shape (policy,), or of all alike; 0 leaves the penalty
                out.
            lacks_labels: whether the prompt does not show each label, likewise; False leaves the
                prior out.

        Raises:
            ValueError: choices, a prior or verdicts are needed that the scores lack.
            UserError: the kind does not give a finite number for each policy and example.
        """
        if self.needs_choices and not has_choices(scores):
            raise ValueError(
                f"fitness '{self.name}' compares choices, and an example has none; use per_token"
            )
        if self.needs_prior and scores.prior is None:
            raise ValueError(
                f"fitness '{self.name}' needs the candidates' prior, and it was not measured"
            )
        cases = self._checked(np.asarray(self.kind.cases(scores), dtype=np.float64), scores)
        if self.needs_verdicts:
            cases = cases + self.self_evaluation * verdict_log_likelihood(scores)
        fit: NDArray[np.float64] = cases - self.prompt_token_penalty * np.reshape(
            prompt_tokens, (-1, 1)
        )
        return fit - self.handicap(lacks_labels, len(scores.example_ids)).reshape(-1, 1)

    def _checked(self, cases: NDArray[np.float64], scores: LabelScores) -> NDArray[np.float64]:
        shape = (len(scores.policy_ids), len(scores.example_ids))
        if cases.shape != shape or not np.isfinite(cases).all():
            raise UserError(
                f"fitness '{self.name}' gives an array of shape {cases.shape}, with "
                f"{int(np.sum(~np.isfinite(cases)))} numbers that are not finite; it takes "
                f"one finite number for each policy and example, {shape}"
            )
        return cases
