"""The kind of fitness that counts what is written: the run's metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import LabelScores


@dataclass(frozen=True)
class WrittenMetric:
    """What `fitness.metric` gives the written answer."""

    name: str = "metric"
    needs_prior: bool = False
    needs_choices: bool = False
    needs_answers: bool = True

    def cases(self, scores: LabelScores) -> NDArray[np.float64]:
        """Return the grades, shape (policy, example).

        Raises:
            ValueError: no answers were written.
        """
        if scores.grade is None:
            raise ValueError("fitness 'metric' needs written answers, and none were measured")
        return scores.grade
