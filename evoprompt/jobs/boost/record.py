"""What a self-evaluation loop writes down of a round: its line of `recurrence.jsonl`. Pure.

Round 0 is before any context. There the evaluator is calibrated too: it judges the answers to the
test questions. Every later round is predicted from that calibration alone, before it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.state import Judged, LoopState, believed_error
from evoprompt.recurrence.advice import Advice
from evoprompt.recurrence.evaluator import (
    EvaluatorCounts,
    LogRatio,
    log_likelihood_ratio,
    sensitivity,
    specificity,
)
from evoprompt.recurrence.imitation import ImitationFit
from evoprompt.stats.resampling import wilson_interval
from evoprompt.stats.significance import Estimate

Right = Sequence[bool | None]

Ends = tuple[float, float]  #: of an interval


@dataclass(frozen=True, slots=True)
class RoundVerdict:
    """Whether a round did as it was predicted."""

    inside: bool  #: the error rate, within the predicted interval
    failed: tuple[str, ...]  #: the assumptions that the round's counts refute
    surprise_z: float | None  #: the deviation from the prediction in its standard deviations


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A round; what is not known of it is None. Sizes and counts are numbers of answers."""

    round: int  #: 0 is before any context
    error_rate: float | None  #: on the test examples, with the context that the round led to
    ci: Ends | None
    predicted: float | None  #: the error rate, from round 0 alone
    predicted_ci: Ends | None
    sensitivity: float | None
    sensitivity_ci: Ends | None
    specificity: float | None
    specificity_ci: Ends | None
    ln_lambda: LogRatio | None
    evaluator_counts: EvaluatorCounts
    buffer_size: int
    buffer_error_rate: float | None
    context_size: int
    context_error_rate: float | None
    context_ids: tuple[str, ...]  #: round and question of each pair
    answered: int  #: those that abstained are not counted
    accepted: int
    abstained: int
    batch_error_rate: float | None
    believed_error: float | None  #: what the judge expects of the answers that were given
    threshold: float | None  #: of the log-odds; None where a share is accepted
    imitation: ImitationFit | None  #: of round 0, where it was measured
    predicted_for: str | None = None  #: the contexts that the prediction supposes, in words
    verdict: RoundVerdict | None = None
    tokens: int = 0  #: so far
    time_ms: int = 0  #: when it was committed, since 1970
    seconds: float = 0.0  #: so far
    advice: Advice | None = None  #: of round 0, where the imitation was measured

    def to_dict(self) -> dict[str, object]:
        """Return the round as `recurrence.jsonl` has it."""
        advice = self.advice.to_dict() if self.advice else None
        return asdict(replace(self, advice=None)) | {"advice": advice}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the round of `to_dict`'s values."""
        nested = {
            name: kind(**values[name]) if values[name] else None
            for name, kind in (("ln_lambda", LogRatio), ("imitation", ImitationFit))
        }
        ends = {
            name: tuple(values[name]) if values[name] else None for name in values if _is_ends(name)
        }
        known = {
            "evaluator_counts": EvaluatorCounts(**values["evaluator_counts"]),
            "context_ids": tuple(values["context_ids"]),
            "verdict": _verdict(values["verdict"]),
            "advice": _advice(values.get("advice")),
        }
        return cls(**{**values, **nested, **ends, **known})


def _is_ends(name: str) -> bool:
    return name == "ci" or name.endswith("_ci")


def _verdict(values: Mapping[str, Any] | None) -> RoundVerdict | None:
    if values is None:
        return None
    return RoundVerdict(values["inside"], tuple(values["failed"]), values["surprise_z"])


def _advice(values: Mapping[str, Any] | None) -> Advice | None:
    return None if values is None else Advice.from_dict(values)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the test examples went, by example."""

    right: NDArray[np.bool_]
    probability: NDArray[np.float64]  #: of the answers


@dataclass(frozen=True, slots=True)
class Measured:
    """What labels tell of a round; None and empty where there are none."""

    tested: Outcomes | None
    judged: tuple[Judged, ...]  #: of the round; in round 0 those of the calibration
    right: tuple[bool | None, ...]  #: by judged answer
    buffer_right: tuple[bool | None, ...]  #: by pair of the buffer
    context_right: tuple[bool | None, ...]  #: by pair of the context
    #: how far the answers follow a context, measured in round 0 where that is asked for
    imitation: ImitationFit | None = None
    #: the answers of all rounds before, that of the calibration included, and whether each is right
    earlier: tuple[tuple[Judged, bool | None], ...] = ()


def counts_of(judged: Sequence[Judged], right: Right) -> EvaluatorCounts:
    """Return how the evaluator did on the answers that did not abstain and whose label is known."""
    known = [
        (j.accepted, r)
        for j, r in zip(judged, right, strict=True)
        if r is not None and not j.abstained
    ]
    accepted_right, accepted_wrong = (
        sum(a and r for a, r in known),
        sum(a and not r for a, r in known),
    )
    num_right = sum(bool(r) for _, r in known)
    return EvaluatorCounts(accepted_right, num_right, accepted_wrong, len(known) - num_right)


def round_line(
    config: BoostConfig, state: LoopState, measured: Measured, threshold: float | None
) -> RoundLine:
    """Return what is written down of a round, all but its prediction and its cost.

    Args:
        config: of the loop.
        state: after the round.
        measured: in it.
        threshold: of the log-odds, None where a share is accepted.
    """
    counts = counts_of(measured.judged, measured.right)
    s, c = sensitivity(counts, config.alpha), specificity(counts, config.alpha)
    answered = [r for j, r in zip(measured.judged, measured.right, strict=True) if not j.abstained]
    error_rate, ends = _error(measured.tested, config.alpha)
    believed = believed_error(measured.judged)
    return RoundLine(
        round=state.round,
        error_rate=error_rate,
        ci=ends,
        predicted=None,
        predicted_ci=None,
        sensitivity=s.value if s else None,
        sensitivity_ci=_ends(s),
        specificity=c.value if c else None,
        specificity_ci=_ends(c),
        ln_lambda=log_likelihood_ratio(counts),
        evaluator_counts=counts,
        buffer_size=len(state.buffer),
        buffer_error_rate=_share_wrong(measured.buffer_right),
        context_size=len(state.context),
        context_error_rate=_share_wrong(measured.context_right),
        context_ids=tuple(f"{j.round}/{j.question_id}" for j in state.context),
        answered=len(answered),
        accepted=sum(j.accepted for j in measured.judged),
        abstained=sum(j.abstained for j in measured.judged),
        batch_error_rate=_share_wrong(answered),
        believed_error=None if isnan(believed) else believed,
        threshold=threshold,
        imitation=measured.imitation,
    )


def _ends(rate: Estimate | None) -> Ends | None:
    if rate is None or rate.low is None or rate.high is None:
        return None
    return rate.low, rate.high


def _error(tested: Outcomes | None, alpha: float) -> tuple[float | None, Ends | None]:
    if tested is None:
        return None, None
    wrong = int((~tested.right).sum())
    return wrong / len(tested.right), wilson_interval(wrong, len(tested.right), alpha)


def _share_wrong(right: Right) -> float | None:
    known = [r for r in right if r is not None]
    return known.count(False) / len(known) if known else None
