"""The traits whose evolution is accounted for: numbers of a policy and of what was measured of it."""

from __future__ import annotations

import numpy as np

from evoprompt.fitness.likelihood import FITNESS_DIGITS, case_fitness, correct, predicted
from evoprompt.policy import Policy
from evoprompt.records import Evaluation, LabelScores


def evaluate(policy: Policy, scores: LabelScores, kind: str, prompt_tokens: int, token_penalty: float = 0.0) -> Evaluation:
    """Return the fitness and the traits of one policy from its own scores (a single row).

    Traits: `fitness`; `prompt_tokens` (of the prompt before an input); `num_demonstrations`; `instruction_words`; `accuracy`;
    `cross_entropy` (nats per token of the right answers); and where there are choices `margin` (mean lead in nats of the right
    answer over the best wrong one) and `label_bias` (total variation distance between predicted and true label shares, 0 to 1).

    Raises:
        ValueError: `scores` holds more than this policy.
    """
    if scores.policy_ids != (policy.policy_id,):
        raise ValueError(f"evaluate(policy={policy.policy_id}) was given the scores of {scores.policy_ids}")
    cases = case_fitness(scores, kind)[0] - token_penalty * prompt_tokens
    fitness = round(float(cases.mean()), FITNESS_DIGITS)
    gold = scores.of_gold(scores.log_likelihood)[0]
    traits = {
        "fitness": fitness,
        "prompt_tokens": float(prompt_tokens),
        "num_demonstrations": float(len(policy.demonstrations)),
        "instruction_words": float(len(policy.instruction.split())),
        "accuracy": float(correct(scores)[0].mean()),
        "cross_entropy": float(-(gold / scores.of_gold(scores.num_tokens.astype(np.float64))[0]).mean()),
    }
    if (scores.present.sum(axis=2) > 1).all():
        traits |= {"margin": _margin(scores), "label_bias": _label_bias(scores)}
    rounded = {name: round(value, FITNESS_DIGITS) for name, value in traits.items()}
    return Evaluation(fitness, tuple(round(float(c), FITNESS_DIGITS) for c in cases), rounded)


def _margin(scores: LabelScores) -> float:
    wrong = scores.log_likelihood[0].copy()
    wrong[np.arange(len(scores.gold)), scores.gold] = -np.inf
    return float((scores.of_gold(scores.log_likelihood)[0] - wrong.max(axis=1)).mean())


def _label_bias(scores: LabelScores) -> float:
    width = scores.log_likelihood.shape[2]
    predicted_shares = np.bincount(predicted(scores)[0], minlength=width) / len(scores.gold)
    true_shares = np.bincount(scores.gold, minlength=width) / len(scores.gold)
    return float(np.abs(predicted_shares - true_shares).sum() / 2)
