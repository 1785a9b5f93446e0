"""What a run knows so far, as operators may be shown it: what was tried and how good it was, and
what the population answers wrong. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp

import numpy as np

from evoprompt.choices import LIKELIHOOD, Comparison, choice_log_probabilities, has_choices
from evoprompt.policy import Policy
from evoprompt.records import RIGHT, Evaluation, Example, LabelScores, Mistake, Tried

#: Of what was tried, and of what a policy answers wrong, that is remembered.
MOST_TRIED, MOST_MISTAKES = 50, 16


def history_of(scored: Iterable[tuple[Policy, Evaluation]]) -> tuple[Tried, ...]:
    """Return the best policies that were scored, no two with one instruction, the best first; ties
    in order of id. Who was measured on fewer examples than others is left out.
    """
    known = list(scored)
    most = max((e.examples for _, e in known), default=0)
    full = [each for each in known if each[1].examples == most]
    full.sort(key=lambda each: (-each[1].fitness, each[0].policy_id))
    best: dict[str, Tried] = {}
    for policy, evaluation in full:
        best.setdefault(policy.instruction.strip(), Tried(policy, score_of(evaluation)))
    return tuple(best.values())[:MOST_TRIED]


def score_of(evaluation: Evaluation) -> int:
    """Return how good a policy is, from 0 to 100: the share of right answers where it has that
    trait, else e to the fitness, which is a probability where the fitness is a mean log-likelihood.
    """
    share = evaluation.traits.get("accuracy", exp(min(0.0, evaluation.fitness)))
    return round(100 * share)


def mistakes_of(
    policy: Policy,
    scores: LabelScores,
    examples: Mapping[str, Example],
    comparison: Comparison = LIKELIHOOD,
) -> tuple[Mistake, ...]:
    """Return what a policy answers wrong among choices, from the least probable right answer on, or
    what it writes, from the lowest grade on; nothing of free text that was not written, since then
    the answer is not known.

    Args:
        policy: whose scores they are.
        scores: of one policy.
        examples: by id.
        comparison: by which it answers.
    """
    if scores.written is not None and scores.grade is not None and scores.feedback is not None:
        grades = scores.grade[0]
        low = np.flatnonzero(grades < RIGHT)
        worst = low[np.argsort(grades[low], kind="stable")][:MOST_MISTAKES].tolist()
        told = [examples[scores.example_ids[i]] for i in worst]
        wrote, says = scores.written[0], scores.feedback[0]
        return tuple(
            Mistake(policy.policy_id, e.input, e.target, wrote[i], says[i])
            for i, e in zip(worst, told, strict=True)
        )
    if not has_choices(scores):
        return ()
    logs = choice_log_probabilities(scores, comparison)
    right, answers = scores.of_gold(logs)[0], logs[0].argmax(axis=1)
    wrong = np.flatnonzero(answers != scores.gold)
    worst = wrong[np.argsort(right[wrong], kind="stable")][:MOST_MISTAKES].tolist()
    asked = [examples[scores.example_ids[i]] for i in worst]
    return tuple(
        Mistake(policy.policy_id, e.input, e.target, e.candidates[int(answers[i])])
        for i, e in zip(worst, asked, strict=True)
    )
