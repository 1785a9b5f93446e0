"""The traits whose evolution is accounted for: numbers of a policy and of what was measured of it.

Beside `fitness` and `prompt_tokens` (before an input) they stand in three tables, by what they are
functions of: `STRUCTURE` of the policy, `CASES` of the scores by example, `WHOLE` of all its scores
at once. A new trait is a line in one of them. Where there are labels, that is, all examples have
the same choices, each has its `log_probability_LABEL`. A trait of your own is a function of a
policy and its scores.

A trait that is not defined (a margin without choices) is None in its table and absent from a run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import isfinite
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.choices import (
    LIKELIHOOD,
    Comparison,
    choice_log_probabilities,
    correct,
    has_choices,
    predicted,
)
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.self_evaluation import verdict_log_likelihood, verdict_log_odds
from evoprompt.plugins import find
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, Evaluation, LabelScores

#: Of the policy and the labels.
StructureTrait = Callable[[Policy, Sequence[str]], float | None]
#: Of any policies' scores: by example, shape (policy, example).
CaseTrait = Callable[[LabelScores, Comparison], NDArray[np.float64] | None]
#: Of one policy's scores and the labels.
WholeTrait = Callable[[LabelScores, Comparison, Sequence[str]], float | None]
#: A user's own trait.
TraitFunction = Callable[[Policy, LabelScores], float]

#: The trait that a bonus for named steps counts.
NAMED_STEPS = "named_steps"

#: Bins of confidence for `calibration_error`.
NUM_BINS = 10


def evaluate(
    policy: Policy,
    scores: LabelScores,
    fitness: Fitness,
    prompt_tokens: int,
    labels: Sequence[str] = (),
    extra: Mapping[str, TraitFunction] | None = None,
    preferred: float | None = None,
) -> Evaluation:
    """Return the fitness and the traits of one policy from its own scores (a single row).

    Args:
        policy: its structure gives some of the traits.
        scores: of this policy alone.
        fitness: what it is selected by.
        prompt_tokens: of the prompt before an input.
        labels: the choices, where all examples have the same ones in the same order; else none.
        extra: the user's own traits by name.
        preferred: what is added to the fitness for remarks of before, which is a trait then; None
            where there are none.

    Raises:
        ValueError: `scores` holds more than this policy.
        UserError: the fitness or a user's own trait is not a finite number.
    """
    if scores.policy_ids != (policy.policy_id,):
        raise ValueError(
            f"evaluate(policy={policy.policy_id}) was given the scores of {scores.policy_ids}"
        )
    cases = fitness.cases(scores, prompt_tokens, lacks_labels(policy, labels))[0]
    if preferred is not None:
        cases = cases + preferred
    mean, comparison = round(float(cases.mean()), FITNESS_DIGITS), fitness.comparison
    traits = {
        "fitness": mean,
        "prompt_tokens": float(prompt_tokens),
        **_defined({name: trait(policy, labels) for name, trait in STRUCTURE.items()}),
        **case_means(scores, comparison),
        **_defined({name: trait(scores, comparison, labels) for name, trait in WHOLE.items()}),
        **_by_label(scores, comparison, labels),
        **{name: _own(name, trait, policy, scores) for name, trait in (extra or {}).items()},
        **_defined({"preference": preferred}),
    }
    rounded = {name: round(value, FITNESS_DIGITS) for name, value in traits.items()}
    by_case = tuple(round(float(c), FITNESS_DIGITS) for c in cases)
    return Evaluation(mean, by_case, rounded, len(by_case))


def case_traits(scores: LabelScores, comparison: Comparison = LIKELIHOOD) -> dict[str, Floats]:
    """Return the traits that are means over examples, by example: shape (policy, example) each;
    `comparison` is that of the fitness.
    """
    found = {name: trait(scores, comparison) for name, trait in CASES.items()}
    return {name: values for name, values in found.items() if values is not None}


def case_means(scores: LabelScores, comparison: Comparison = LIKELIHOOD) -> dict[str, float]:
    """Return the means of `case_traits` of one policy."""
    found = case_traits(scores, comparison)
    return {name: float(values[0].mean()) for name, values in found.items()}


def extra_traits(places: Mapping[str, str]) -> dict[str, TraitFunction]:
    """Return the user's own traits by name, each from "package.module:function" or from the name of
    a plug-in.

    Raises:
        UserError: one of them cannot be found, or has the name of a trait of the package.
    """
    for name in places:
        if name in OWN or name.startswith(BY_LABEL):
            raise UserError(
                f"traits.extra.{name}: the package has a trait of that name, and one would hide "
                "the other; give yours another name"
            )
    return {
        name: find("trait", place, {}, f"traits.extra.{name}") for name, place in places.items()
    }


def plain(label: str) -> str:
    """Return a label as a part of a trait's name: everything but letters, digits, dot and hyphen
    becomes an underscore.
    """
    return re.sub(r"[^\w.-]", "_", label)


def lacks_labels(policy: Policy, labels: Sequence[str]) -> bool:
    """Return whether a label is missing among a policy's demonstrations."""
    return not {d.target for d in policy.demonstrations}.issuperset(labels)


def num_demonstrations(policy: Policy, labels: Sequence[str]) -> float:
    """Return how many worked examples the prompt shows."""
    return float(len(policy.demonstrations))


def instruction_words(policy: Policy, labels: Sequence[str]) -> float:
    """Return the number of words of the instruction."""
    return float(len(policy.instruction.split()))


def demonstration_diversity(policy: Policy, labels: Sequence[str]) -> float:
    """Return the mean Jaccard distance of the word sets of two demonstrations' inputs; 0 with fewer
    than two.
    """
    words = [set(d.input.lower().split()) for d in policy.demonstrations]
    distances = [1 - len(a & b) / max(1, len(a | b)) for a, b in combinations(words, 2)]
    return float(np.mean(distances)) if distances else 0.0


def demonstration_balance(policy: Policy, labels: Sequence[str]) -> float | None:
    """Return 1 - total variation distance between the demonstrations' label shares and even ones; 1
    without demonstrations.
    """
    if not labels:
        return None
    shown = policy.demonstrations
    counts, even = Counter(d.target for d in shown), 1 / len(labels)
    shares = [counts[label] / len(shown) if shown else even for label in labels]
    return 1 - sum(abs(share - even) for share in shares) / 2


def accuracy(scores: LabelScores, comparison: Comparison) -> Floats:
    """Return 1 for a right answer, else 0."""
    return correct(scores, comparison).astype(np.float64)


def cross_entropy(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return nats per token of the right answer."""
    if not scores.is_scored:
        return None
    nats: Floats = -scores.of_gold(scores.log_likelihood) / scores.of_gold(scores.num_tokens)
    return nats


def margin(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return the lead of the right answer over the best wrong one, nats, as they are compared."""
    if not has_choices(scores):
        return None
    values = comparison.values(scores)
    wrong = values.copy()
    np.put_along_axis(wrong, scores.gold[None, :, None], -np.inf, axis=2)
    lead: Floats = scores.of_gold(values) - wrong.max(axis=2)
    return lead


def sensitivity(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return 1 where the evaluator accepts the right answer, else 0; log-odds of at least 0
    accept.
    """
    if scores.verdict is None:
        return None
    return (verdict_log_odds(scores)[..., 0] >= 0).astype(np.float64)


def specificity(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return 1 where the evaluator rejects the wrong answer, else 0."""
    if scores.verdict is None:
        return None
    return (~(verdict_log_odds(scores)[..., 1] >= 0)).astype(np.float64)


def right_verdicts(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return the mean log-likelihood of the right verdicts, nats; chance is -log 2."""
    return verdict_log_likelihood(scores) if scores.verdict is not None else None


def named_steps(scores: LabelScores, comparison: Comparison) -> Floats | None:
    """Return the mean over a path's moves of log p(g | s), nats: how likely the model says what the
    expert is about to do, and so that what comes before is done.
    """
    if scores.said is None:
        return None
    found: Floats = np.nanmean(scores.said, axis=2)
    return found


def prompt_cross_entropy(
    scores: LabelScores, comparison: Comparison, labels: Sequence[str]
) -> float | None:
    """Return nats per token of the prompt itself with a content-free input (fluency)."""
    known = scores.prompt_cross_entropy
    return float(known[0]) if known is not None else None


def label_bias(scores: LabelScores, comparison: Comparison, labels: Sequence[str]) -> float | None:
    """Return the total variation distance between predicted and true label shares; None where
    choices differ by example, so that one place is not one label.
    """
    if not has_choices(scores) or not labels:
        return None
    width = scores.log_likelihood.shape[2]
    predicted_shares = np.bincount(predicted(scores, comparison)[0], minlength=width) / len(
        scores.gold
    )
    true_shares = np.bincount(scores.gold, minlength=width) / len(scores.gold)
    return float(np.abs(predicted_shares - true_shares).sum() / 2)


def calibration_error(
    scores: LabelScores, comparison: Comparison, labels: Sequence[str]
) -> float | None:
    """Return the sum over `NUM_BINS` bins of confidence of the share of examples times |accuracy -
    mean confidence|. Source: Guo et al. 2017.
    """
    if not has_choices(scores):
        return None
    # of the likeliest choice
    confidence = np.exp(choice_log_probabilities(scores, comparison)[0].max(axis=1))
    place = np.minimum((confidence * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    gap = np.bincount(place, correct(scores, comparison)[0] - confidence, NUM_BINS)
    return float(np.abs(gap).sum() / len(confidence))


#: Of a policy as it is written.
STRUCTURE: Mapping[str, StructureTrait] = {
    "num_demonstrations": num_demonstrations,
    "instruction_words": instruction_words,
    "demonstration_diversity": demonstration_diversity,
    "demonstration_balance": demonstration_balance,
}

#: Of the scores by example; the trait is the mean, and its terms have standard errors.
CASES: Mapping[str, CaseTrait] = {
    "accuracy": accuracy,
    "cross_entropy": cross_entropy,
    "margin": margin,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "verdict_log_likelihood": right_verdicts,
    NAMED_STEPS: named_steps,
}

#: Of all scores of one policy at once.
WHOLE: Mapping[str, WholeTrait] = {
    "prompt_cross_entropy": prompt_cross_entropy,
    "label_bias": label_bias,
    "calibration_error": calibration_error,
}


#: Names that a user's trait cannot have; nor one that begins as the last.
OWN = frozenset(
    {
        *("fitness", "preference", "prompt_tokens", "under_changes", "accuracy_under_changes"),
        *(*STRUCTURE, *CASES, *WHOLE),
    }
)
BY_LABEL = "log_probability_"


def _defined(traits: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in traits.items() if value is not None}


def _by_label(
    scores: LabelScores, comparison: Comparison, labels: Sequence[str]
) -> dict[str, float]:
    """Return for each label the mean of log p(label | the choices) over the examples whose answer
    it is, nats.
    """
    if not labels or not has_choices(scores):
        return {}
    values = scores.of_gold(choice_log_probabilities(scores, comparison))[0]
    return {
        f"{BY_LABEL}{plain(label)}": float(values[scores.gold == i].mean())
        for i, label in enumerate(labels)
        if (scores.gold == i).any()
    }


def _own(name: str, function: TraitFunction, policy: Policy, scores: LabelScores) -> float:
    try:
        value = function(policy, scores)
    except Exception as error:
        raise UserError(
            f"the trait '{name}' of policy {policy.policy_id} raised {type(error).__name__}: "
            f"{error}; traits.extra functions return a finite number for every policy"
        ) from error
    if not isinstance(value, Real) or not isfinite(value):
        raise UserError(
            f"the trait '{name}' of policy {policy.policy_id} is {value!r}; traits.extra "
            f"functions return a finite number"
        )
    return float(value)
