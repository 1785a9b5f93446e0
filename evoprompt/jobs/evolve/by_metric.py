"""What written answers say in the end: who is chosen by a metric, and how the search's fitness
ranks the finalists beside it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.records import FITNESS_DIGITS, Example, LabelScores
from evoprompt.stats.rank_correlation import RankCorrelation


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """The metric that validation and test went by."""

    name: str
    validation: Mapping[str, float]  #: its mean on the validation examples, by finalists' policy id
    #: of the search's likelihood with it, over the finalists on the validation examples; None where
    #: the search went by the metric itself, or it is undefined
    rank_correlation: RankCorrelation | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what a summary has."""
        ranks = values.get("rank_correlation")
        if ranks is not None:
            ranks = RankCorrelation(**{**ranks, "ci": ranks["ci"] and tuple(ranks["ci"])})
        return cls(values["name"], values["validation"], ranks)


def mean_grades(scores: Mapping[str, LabelScores]) -> dict[str, float]:
    """Return the mean grade of each policy's written answers, by policy id; of none where answers
    were not written.
    """
    return {
        policy_id: round(float(found.grade.mean()), FITNESS_DIGITS)
        for policy_id, found in scores.items()
        if found.grade is not None
    }


def grades_of(examples: Sequence[Example], scores: LabelScores | None) -> Floats:
    """Return the grade of one policy's answer to each example, shape (example,); 0 where it has
    none.
    """
    if scores is None or scores.grade is None:
        return np.zeros(len(examples))
    found = dict(zip(scores.example_ids, scores.grade[0].tolist(), strict=True))
    return np.array([found.get(e.example_id, 0.0) for e in examples])
