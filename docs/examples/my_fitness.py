"""A fitness and a trait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evoprompt.policy import Policy
from evoprompt.records import LabelScores


@dataclass(frozen=True, slots=True)
class Cautious:
    """The log-likelihood of the right answer, but no less than -20 nats for any example."""

    name: ClassVar[str] = "cautious"
    needs_prior: ClassVar[bool] = False
    needs_choices: ClassVar[bool] = False

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return max(l_y, -20), shape (policy, example)."""
        return np.asarray(np.maximum(scores.of_gold(scores.log_likelihood), -20.0))


def question_marks(policy: Policy, scores: LabelScores) -> float:
    """Return how many question marks the instruction has."""
    return float(policy.instruction.count("?"))
