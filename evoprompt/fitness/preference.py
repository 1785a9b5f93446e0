"""Remarks -> what is known of the traits that are wanted -> a prior of the fitness. Pure.

A remark is one observation of a linear model: the value s that it gives to features f. Weights w of
features have the normal prior N(0, `PRIOR_VARIANCE`), a remark's value the variance `NOISE`. What a
policy is preferred by, k w (f - f0), is added to its fitness, with k the strength and f0 the
features of a starting policy, so that this one has 0.

Source: Sumers et al. 2021, in the form of the regression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.fitness.remarks import Remark
from evoprompt.fitness.traits import (
    demonstration_balance,
    demonstration_diversity,
    instruction_words,
    num_demonstrations,
)
from evoprompt.policy import Policy
from evoprompt.stats.linear_posterior import LinearPosterior

#: Of a weight before any remark, and of a remark's value, which is between -1 and 1.
PRIOR_VARIANCE, NOISE = 1.0, 0.5
#: What the pragmatic rule gives to the mean of what a remark leaves out.
UNMENTIONED = -1.0
#: Standard deviations of half a 95 % interval.
HALF = 1.959964
WORD, LABEL = "word:", "label:"
#: A trait -> what is wanted where its weight is positive, and where it is negative.
IN_WORDS: Mapping[str, tuple[str, str]] = {
    "prompt_tokens": ("longer prompts", "shorter prompts"),
    "num_demonstrations": ("more demonstrations", "fewer demonstrations"),
    "instruction_words": ("longer instructions", "shorter instructions"),
    "demonstration_diversity": ("more varied demonstrations", "more similar demonstrations"),
    "demonstration_balance": (
        "demonstrations with all labels alike",
        "demonstrations with few of the labels",
    ),
}


def words_of(text: str) -> list[str]:
    """Return the different words of a text in small letters, in order."""
    return list(dict.fromkeys(re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text.lower())))


def features_of(policy: Policy, prompt_tokens: int, labels: Sequence[str]) -> dict[str, float]:
    """Return the features of a policy that are not 0.

    Counts (tokens before an input, demonstrations, words of the instruction) as log2(1 + n), so
    that a doubling is about 1; diversity and balance of the demonstrations from 0 to 1; `word:W` 1
    for each word of the instruction, `label:W` 1 for each label's word.
    """
    counts = {
        "prompt_tokens": float(prompt_tokens),
        "num_demonstrations": num_demonstrations(policy, labels),
        "instruction_words": instruction_words(policy, labels),
    }
    found = {name: log2(1 + value) for name, value in counts.items()}
    found["demonstration_diversity"] = demonstration_diversity(policy, labels)
    found["demonstration_balance"] = demonstration_balance(policy, labels) or 0.0
    found |= {f"{WORD}{word}": 1.0 for word in words_of(policy.instruction)}
    found |= {f"{LABEL}{policy.word(label).strip().lower()}": 1.0 for label in labels}
    return {name: value for name, value in found.items() if value}


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return by how much the features of one policy exceed those of another, where they differ."""
    names = sorted(one.keys() | other.keys())
    found = {name: one.get(name, 0.0) - other.get(name, 0.0) for name in names}
    return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Wish:
    """What remarks tell of one feature."""

    feature: str
    mean: float
    sd: float
    remarks: int  #: that tell something of it

    @property
    def is_told(self) -> bool:
        """Whether the 95 % interval of the weight leaves 0 out."""
        return abs(self.mean) > HALF * self.sd

    @property
    def text(self) -> str:
        """The wish in a sentence."""
        many = "1 remark" if self.remarks == 1 else f"{self.remarks} remarks"
        told = "are wanted" if self.is_told else "may be wanted"
        return (
            f"{wanted(self.feature, self.mean)} {told}: weight {self.mean:+.2f} +- "
            f"{HALF * self.sd:.2f}, from {many}"
        )


def wanted(feature: str, weight: float) -> str:
    """Return what is wanted where a feature has a weight, a noun."""
    is_less = weight < 0
    if feature in IN_WORDS:
        return IN_WORDS[feature][is_less]
    kind, _, word = feature.partition(":")
    has = "without" if is_less else "with"
    return f'prompts {has} the {"label word" if kind == "label" else "word"} "{word}"'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is known of the weights of features."""

    names: tuple[str, ...]  #: of the features that a remark told something of, sorted
    posterior: LinearPosterior
    counts: tuple[int, ...]  #: remarks that tell something of each
    num_remarks: int  #: that tell something

    def each(self) -> list[Wish]:
        """Return what is known of each feature, what is surest first."""
        rows = zip(self.names, self.posterior.mean, self.posterior.sd, self.counts, strict=True)
        found = [Wish(name, float(mean), float(sd), count) for name, mean, sd, count in rows]
        return sorted(found, key=lambda wish: (-abs(wish.mean) / wish.sd, wish.feature))


def wishes_of(remarks: Sequence[Remark], *, pragmatic: bool = False) -> Wishes:
    """Return what remarks tell of the features that they name; their order does not matter.

    Args:
        remarks: of any runs; those without features tell nothing.
        pragmatic: whether what a demand or a description leaves out counts as not wanted: one more
            observation, of the mean of all features it does not name, with value -1.
    """
    telling = [remark for remark in remarks if remark.features]
    names = tuple(sorted({name for remark in telling for name in remark.features}))
    rows, values = [], []
    for remark in telling:
        row = np.array([remark.features.get(name, 0.0) for name in names])
        rows.append(row / np.abs(row).sum())
        values.append(remark.value)
        left_out = (row == 0).astype(np.float64)
        if pragmatic and remark.kind != "evaluative" and left_out.any():
            rows.append(left_out / left_out.sum())
            values.append(UNMENTIONED)
    posterior = LinearPosterior.before(len(names), PRIOR_VARIANCE)
    if rows:
        posterior = posterior.after(np.stack(rows), np.array(values), NOISE)
    counts = tuple(sum(name in remark.features for remark in telling) for name in names)
    return Wishes(names, posterior, counts, len(telling))


@dataclass(frozen=True)
class Preference:
    """What a run adds to the fitness of policies for what was said before."""

    wishes: Wishes
    weights: Floats  #: shape (feature,): the posterior's mean, or a draw
    strength: float  #: units of fitness for a unit of w f
    reference: Mapping[str, float]  #: features of the policy that has 0

    def of(self, features: Mapping[str, float]) -> float:
        """Return what is added to the fitness of a policy with these features."""
        apart = difference(features, self.reference)
        weights = zip(self.wishes.names, self.weights, strict=True)
        return float(self.strength * sum(w * apart.get(name, 0.0) for name, w in weights))
