"""Remarks -> their kinds and sentiments, by a model's likelihoods, calibrated on remarks whose kind
is known. Asks one model; needs no label of any task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.calibration import Way, apply, fitted
from evoprompt.choices import choice_log_probabilities
from evoprompt.fitness.remarks import Kind
from evoprompt.jobs.feedback.bank import KNOWN, SHOWN, Known
from evoprompt.measurement.asker import Asker
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, LabelScores

PHASE = "feedback"  #: of the ledger
#: How kinds and sentiments are calibrated: chosen on `KNOWN`, each left out of its own fit.
WAY: Way = "head"
KINDS: tuple[Kind, ...] = ("evaluative", "imperative", "descriptive")
SENTIMENTS = ("good", "bad")
KIND_PROMPT = Policy(
    "A user makes remarks about a prompt. Say what each remark does: it judges, it commands, or it "
    "describes.",
    tuple(Demonstration(known.text, known.kind) for known in SHOWN),
    Template("Remark: ", "\nThe remark", "\n\n"),
    (("evaluative", "judges"), ("imperative", "commands"), ("descriptive", "describes")),
)
SENTIMENT_PROMPT = Policy(
    "",
    tuple(
        Demonstration(known.text, SENTIMENTS[not known.good])
        for known in SHOWN
        if known.kind != "imperative"
    ),
    Template("Remark: ", "\nSentiment:", "\n\n"),
    (("good", "positive"), ("bad", "negative")),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a remark is."""

    kind: Kind
    probability: float  #: of the kind
    sentiment: float  #: p(good) - p(bad), from -1 to 1


def read(texts: Sequence[str], asker: Asker, way: Way = WAY) -> list[Reading]:
    """Return what each of some remarks is.

    Args:
        texts: the remarks.
        asker: of the model; its ledger counts the work.
        way: of calibrating; `head` needs a measurer that reads words.
    """
    if not texts:
        return []
    kinds = _probabilities(KIND_PROMPT, KINDS, KNOWN, texts, asker, way)
    judging = [known for known in KNOWN if known.kind != "imperative"]
    sentiments = _probabilities(SENTIMENT_PROMPT, SENTIMENTS, judging, texts, asker, way)
    return [
        Reading(KINDS[int(row.argmax())], float(row.max()), float(good - bad))
        for row, (good, bad) in zip(kinds, sentiments, strict=True)
    ]


def _probabilities(
    policy: Policy,
    choices: tuple[str, ...],
    known: Sequence[Known],
    texts: Sequence[str],
    asker: Asker,
    way: Way,
) -> Floats:
    """Return the probability of each choice, shape (remark, choice)."""
    told = measured(policy, [example_of(policy, one, choices) for one in known], asker)
    asked = [Example(f"r{i}", text, choices[0], choices) for i, text in enumerate(texts)]
    scores = apply(fitted([told], way), measured(policy, asked, asker))
    return np.asarray(np.exp(choice_log_probabilities(scores)[0]))


def example_of(policy: Policy, known: Known, choices: tuple[str, ...]) -> Example:
    """Return a remark of the bank as an example of a prompt's task."""
    target = known.kind if policy is KIND_PROMPT else SENTIMENTS[not known.good]
    return Example(known.text, known.text, target, choices)


def measured(policy: Policy, examples: Sequence[Example], asker: Asker) -> LabelScores:
    """Return a policy's scores; the work is counted."""
    found = asker.measurer.measure([policy], examples, asker.on_scored, asker.ledger.timed)
    scores, count = found[policy.policy_id]
    asker.ledger.count(PHASE, count)
    return scores
