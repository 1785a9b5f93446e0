"""What a policy is worth under changes that leave its meaning. Pure.

With c_i its fitness on example i as it is, and c_id under change d, the drop is

    1/k sum_i (c_i - min_d c_id)

over the k examples that were asked under changes. A policy's worth under changes is its fitness
less the drop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.records import LabelScores

#: Parts of the examples, each judged by a calibration that is fitted on the others.
FOLDS = 4
#: Scores a calibration is fitted on, and others of the same policy -> these, calibrated.
Apply = Callable[[Sequence[LabelScores], LabelScores], LabelScores]
#: Scores of one policy -> fitness and right answers by example, shape (example,) each.
Judge = Callable[[LabelScores], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Drop:
    """What changes take away from a policy."""

    fitness: float  #: in units of the fitness, in the mean over examples, by the worst change
    accuracy: float  #: the share of examples whose answer is right under every change


def drop_of(clean: LabelScores, changed: Sequence[LabelScores], apply: Apply, judge: Judge) -> Drop:
    """Return what changes take away from one policy.

    A calibration belongs to the prompt as it is, and is fitted on it alone. It would flatter the
    same examples under a change, so each is judged by one that is fitted on other examples, of
    which there are `FOLDS` parts.

    Args:
        clean: of the policy as it is, uncalibrated, the examples under changes first.
        changed: under each change, on those examples or on more.
        apply: calibrates.
        judge: of calibrated scores.

    Raises:
        ValueError: there is no change.
    """
    if not changed:
        raise ValueError("a drop takes at least one change")
    num = min(len(clean.example_ids), len(changed[0].example_ids))
    cases, right = np.empty((len(changed) + 1, num)), np.empty((len(changed) + 1, num))
    for own in np.array_split(np.arange(num), min(FOLDS, num)):
        others = np.setdiff1d(np.arange(len(clean.example_ids)), own)
        learned = [clean.at(others)] if len(others) else [clean]
        for row, scores in enumerate([clean, *changed]):
            cases[row, own], right[row, own] = judge(apply(learned, scores.at(own)))
    return Drop(
        float((cases[0] - cases[1:].min(axis=0)).mean()), float(right[1:].min(axis=0).mean())
    )
