"""Who judges a loop's answers: each judge once, with what it is called and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evoprompt.arrays import Floats
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.recurrence.evaluator import confidence_log_odds

if TYPE_CHECKING:
    from evoprompt.measurement.asker import Answer, Asker

#: (asker, evaluator, examples, their answers) -> the log-odds that each answer is right, nats,
#: shape (answer,).
LogOdds = Callable[["Asker", Policy, Sequence[Example], Sequence["Answer"]], Floats]


@dataclass(frozen=True, slots=True)
class Judge:
    """Says how likely an answer is to be right."""

    words: str  #: for what it goes by, as the page says it
    log_odds: LogOdds
    asks_evaluator: bool = True  #: whether the evaluator's prompt is of use
    among_choices: bool = False  #: whether it asks of every choice, so that there must be some


def _of_clause(
    asker: Asker, evaluator: Policy, asked: Sequence[Example], answers: Sequence[Answer]
) -> Floats:
    return asker.verdicts(evaluator, [e.input for e in asked], [a.text for a in answers], "judging")


def _among_rivals(
    asker: Asker, evaluator: Policy, asked: Sequence[Example], answers: Sequence[Answer]
) -> Floats:
    return asker.verdicts_among(evaluator, asked, [a.text for a in answers], "judging")


def _of_confidence(
    asker: Asker, evaluator: Policy, asked: Sequence[Example], answers: Sequence[Answer]
) -> Floats:
    return confidence_log_odds([a.probability for a in answers])


#: Every judge. A new one is a function and a line here.
JUDGES: Mapping[str, Judge] = {
    "clause": Judge("the evaluator's TRUE or FALSE", _of_clause),
    "rivals": Judge(
        "the evaluator's TRUE or FALSE, against that of the other choices",
        _among_rivals,
        among_choices=True,
    ),
    "confidence": Judge(
        "the probability of the answer itself", _of_confidence, asks_evaluator=False
    ),
}
