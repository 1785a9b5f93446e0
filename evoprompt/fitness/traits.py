"""The traits whose evolution is accounted for: numbers of a policy and of what was measured of it.

    fitness, prompt_tokens (before an input), num_demonstrations, instruction_words
    demonstration_balance 1 - total variation distance between the demonstrations' label shares and
    even ones; 1 without demonstrations
    demonstration_diversity mean Jaccard distance of the word sets of two demonstrations' inputs; 0
    with fewer than two
    accuracy                  share of right answers
    cross_entropy             nats per token of the right answers
    prompt_cross_entropy nats per token of the prompt itself with a content-free input (fluency),
    where it was measured
  where there are choices:
    margin                    mean lead in nats of the right answer over the best wrong one
    label_bias                total variation distance between predicted and true label shares
    calibration_error sum over ten bins of confidence of the share of examples times |accuracy -
    mean confidence| (Guo et al. 2017)
  where the evaluator's verdicts were measured, on each example's right answer and a wrong one:
    sensitivity, specificity shares of right answers accepted and of wrong answers rejected;
    log-odds of at least 0 accept
    verdict_log_likelihood    mean log-likelihood of the right verdicts, nats; chance is -log 2
  where all examples have the same choices, for each of them:
    log_probability_LABEL mean of log p(LABEL | the choices) over the examples whose answer it is,
    nats

A trait of your own is a function of a policy and its scores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import combinations
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.fitness.likelihood import (
    FITNESS_DIGITS,
    case_fitness,
    correct,
    has_choices,
    predicted,
    verdict_log_likelihood,
    verdict_log_odds,
)
from evoprompt.policy import Policy
from evoprompt.records import Evaluation, LabelScores

#: A user's own trait.
TraitFunction = Callable[[Policy, LabelScores], float]

#: Bins of confidence for `calibration_error`.
NUM_BINS = 10


def evaluate(
    policy: Policy,
    scores: LabelScores,
    kind: str,
    prompt_tokens: int,
    token_penalty: float = 0.0,
    labels: Sequence[str] = (),
    extra: Mapping[str, TraitFunction] | None = None,
    self_evaluation: float = 0.0,
) -> Evaluation:
    """Return the fitness and the traits of one policy from its own scores (a single row).

    Args:
        policy: its structure gives some of the traits.
        scores: of this policy alone.
        kind: of the fitness.
        prompt_tokens: of the prompt before an input.
        token_penalty: taken off the fitness for each of them.
        labels: the choices, where all examples have the same ones in the same order; else none.
        extra: the user's own traits by name.
        self_evaluation: weight of the evaluator's verdicts in the fitness.

    Raises:
        ValueError: `scores` holds more than this policy.
        UserError: a user's own trait is not a finite number.
    """
    if scores.policy_ids != (policy.policy_id,):
        raise ValueError(
            f"evaluate(policy={policy.policy_id}) was given the scores of {scores.policy_ids}"
        )
    cases = case_fitness(scores, kind, self_evaluation)[0] - token_penalty * prompt_tokens
    fitness = round(float(cases.mean()), FITNESS_DIGITS)
    traits = {
        "fitness": fitness,
        "prompt_tokens": float(prompt_tokens),
        **_structure(policy, labels),
        **case_means(scores),
    }
    if scores.prompt_cross_entropy is not None:
        traits["prompt_cross_entropy"] = float(scores.prompt_cross_entropy[0])
    if has_choices(scores):
        traits |= {
            "label_bias": _label_bias(scores),
            "calibration_error": _calibration_error(scores),
        }
        traits |= {
            f"log_probability_{plain(label)}": value
            for label, value in _by_label(scores, labels).items()
        }
    traits |= {
        name: _own(name, function, policy, scores) for name, function in (extra or {}).items()
    }
    rounded = {name: round(value, FITNESS_DIGITS) for name, value in traits.items()}
    return Evaluation(fitness, tuple(round(float(c), FITNESS_DIGITS) for c in cases), rounded)


def case_traits(scores: LabelScores) -> dict[str, NDArray[np.float64]]:
    """Return the traits that are means over examples, by example: shape (policy, example) each."""
    gold = scores.of_gold(scores.log_likelihood)
    traits = {
        "accuracy": correct(scores).astype(np.float64),
        "cross_entropy": -gold / scores.of_gold(scores.num_tokens),
    }
    if has_choices(scores):
        wrong = scores.log_likelihood.copy()
        np.put_along_axis(wrong, scores.gold[None, :, None], -np.inf, axis=2)
        traits["margin"] = gold - wrong.max(axis=2)
    if scores.verdict is not None:
        accepted = verdict_log_odds(scores) >= 0  # (policy, example, answer)
        traits |= {
            "sensitivity": accepted[..., 0].astype(np.float64),
            "specificity": (~accepted[..., 1]).astype(np.float64),
        }
        traits["verdict_log_likelihood"] = verdict_log_likelihood(scores)
    return traits


def case_means(scores: LabelScores) -> dict[str, float]:
    """Return the means of `case_traits` of one policy."""
    return {name: float(values[0].mean()) for name, values in case_traits(scores).items()}


def plain(label: str) -> str:
    """Return a label as a part of a trait's name: everything but letters, digits, dot and hyphen
    becomes an underscore.
    """
    return re.sub(r"[^\w.-]", "_", label)


def _structure(policy: Policy, labels: Sequence[str]) -> dict[str, float]:
    shown = policy.demonstrations
    words = [set(d.input.lower().split()) for d in shown]
    distances = [1 - len(a & b) / max(1, len(a | b)) for a, b in combinations(words, 2)]
    counts = Counter(d.target for d in shown)
    even = 1 / max(1, len(labels))
    imbalance = (
        sum(abs(counts[label] / len(shown) - even) for label in labels) / 2 if shown else 0.0
    )
    structure = {
        "num_demonstrations": float(len(shown)),
        "instruction_words": float(len(policy.instruction.split())),
        "demonstration_diversity": float(np.mean(distances)) if distances else 0.0,
    }
    return structure | ({"demonstration_balance": 1 - imbalance} if labels else {})


def _label_bias(scores: LabelScores) -> float:
    width = scores.log_likelihood.shape[2]
    predicted_shares = np.bincount(predicted(scores)[0], minlength=width) / len(scores.gold)
    true_shares = np.bincount(scores.gold, minlength=width) / len(scores.gold)
    return float(np.abs(predicted_shares - true_shares).sum() / 2)


def _calibration_error(scores: LabelScores) -> float:
    shifted = np.exp(scores.log_likelihood[0] - scores.log_likelihood[0].max(axis=1, keepdims=True))
    confidence = 1 / shifted.sum(axis=1)  # of the likeliest choice
    place = np.minimum((confidence * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    gap = np.bincount(place, correct(scores)[0] - confidence, NUM_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _by_label(scores: LabelScores, labels: Sequence[str]) -> dict[str, float]:
    values = case_fitness(scores, "label_normalized")[0]
    return {
        label: float(values[scores.gold == i].mean())
        for i, label in enumerate(labels)
        if (scores.gold == i).any()
    }


def _own(name: str, function: TraitFunction, policy: Policy, scores: LabelScores) -> float:
    value = function(policy, scores)
    if not isinstance(value, (int, float)) or not isfinite(value):
        raise UserError(
            f"the trait '{name}' of policy {policy.policy_id} is {value!r}; traits.extra "
            f"functions return a finite number"
        )
    return float(value)


def extra_traits(functions: Mapping[str, str]) -> dict[str, TraitFunction]:
    """Return the user's own traits by name, from "package.module:function" each.

    Raises:
        UserError: a module or function cannot be found.
    """
    found = {}
    for name, place in functions.items():
        module, _, attribute = place.partition(":")
        try:
            found[name] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise UserError(
                f"traits.extra.{name}: {place!r} cannot be imported ({error}); give "
                f"package.module:function, and for a file in this folder "
                "run with PYTHONPATH=."
            ) from None
    return found
