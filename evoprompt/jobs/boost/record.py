"""What a self-evaluation loop writes down: a round's line of `recurrence.jsonl`, and the loop's
part of the summary. Pure.

Round 0 is before any context. There the evaluator is calibrated too: it judges the answers to the
test questions. Every later round is predicted from that calibration alone, before it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.state import Judged, LoopState, believed_error
from evoprompt.recurrence.error_rate import rounds_needed
from evoprompt.recurrence.evaluator import (
    EvaluatorCounts,
    log_likelihood_ratio,
    sensitivity,
    specificity,
    without_gold,
)
from evoprompt.recurrence.forecast import Calibration, Loop, predict
from evoprompt.recurrence.imitation import ImitationFit, fixed_point
from evoprompt.recurrence.threshold import coverage_curve
from evoprompt.recurrence.verdict import RoundCounts, failed_assumptions, verdict
from evoprompt.seeding import Stream, generator
from evoprompt.stats.resampling import wilson_interval

Right = Sequence[bool | None]

#: A predicted interval of an error rate that is wider than this is said to be so.
WIDE = 0.5


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
    imitation: ImitationFit | None = (
        None  #: how far the answers follow a context, measured in round 0 where that is asked for
    )


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
    config: BoostConfig,
    before: Sequence[Mapping[str, Any]],
    state: LoopState,
    measured: Measured,
    threshold: float | None,
) -> dict[str, Any]:
    """Return a round as `recurrence.jsonl` has it; what is not known is None.

    Args:
        config: of the loop.
        before: the lines of the rounds before.
        state: after the round.
        measured: in it.
        threshold: of the log-odds, None where a share is accepted.
    """
    counts = counts_of(measured.judged, measured.right)
    ratio = log_likelihood_ratio(counts)
    answered = [r for j, r in zip(measured.judged, measured.right, strict=True) if not j.abstained]
    line: dict[str, Any] = {
        "round": state.round,
        **_error(measured.tested, config.alpha),
        "predicted": None,
        "predicted_ci": None,
    }
    for name, rate in (
        ("sensitivity", sensitivity(counts, config.alpha)),
        ("specificity", specificity(counts, config.alpha)),
    ):
        line |= {
            name: rate.value if rate else None,
            f"{name}_ci": [rate.low, rate.high] if rate else None,
        }
    line |= {
        "ln_lambda": {"value": ratio.value, "standard_error": ratio.standard_error}
        if ratio
        else None,
        "evaluator_counts": asdict(counts),
        "buffer_size": len(state.buffer),
        "buffer_error_rate": _share_wrong(measured.buffer_right),
        "context_size": len(state.context),
        "context_error_rate": _share_wrong(measured.context_right),
        "context_ids": [f"{j.round}/{j.question_id}" for j in state.context],
        "answered": len(answered),
        "accepted": sum(j.accepted for j in measured.judged),
        "abstained": sum(j.abstained for j in measured.judged),
        "batch_error_rate": _share_wrong(answered),
        "believed_error": believed_error(measured.judged) if answered else None,
        "threshold": threshold,
        "imitation": asdict(measured.imitation) if measured.imitation else None,
        "verdict": None,
    }
    return line | _against_prediction(config, before, line, measured)


def _against_prediction(
    config: BoostConfig,
    before: Sequence[Mapping[str, Any]],
    line: Mapping[str, Any],
    measured: Measured,
) -> dict[str, Any]:
    """Return the prediction for a round and the verdict on it; nothing in round 0, without test
    examples, and before there is a context.
    """
    if not before or measured.tested is None or not line["context_size"]:
        return {}
    first, test = before[0], measured.tested.right
    calibration = Calibration(
        round(first["error_rate"] * len(test)),
        len(test),
        EvaluatorCounts(**first["evaluator_counts"]),
    )
    imitation = imitation_of(first)
    loop = Loop(
        line["round"],
        line["context_size"],
        len(test),
        config.loop.buffer,
        1.0 if imitation is None else imitation,
    )
    forecast = predict(
        calibration,
        loop,
        generator(config.seed, Stream.PREDICTION, line["round"]),
        alpha=config.alpha,
    )
    known = [r for r in measured.context_right if r is not None]
    counts = RoundCounts(
        round=line["round"],
        num_wrong=int((~test).sum()),
        num_answers=len(test),
        context_wrong=known.count(False),
        context_size=len(known),
        evaluator=EvaluatorCounts(**line["evaluator_counts"]),
        num_accepted=line["accepted"],
        context_changed=set(line["context_ids"]) != set(before[-1]["context_ids"]),
    )
    found = verdict(counts, calibration, loop, forecast, config.alpha)
    failed = failed_assumptions(
        counts, calibration, loop, config.alpha
    )  # inside too: a wide interval refutes little, the counts may refute more
    return {
        "predicted": float(forecast.mean[-1]),
        "predicted_ci": [float(forecast.low[-1]), float(forecast.high[-1])],
        "verdict": {"inside": found.inside, "failed": list(failed), "surprise_z": found.surprise_z},
    }


def imitation_of(first: Mapping[str, Any]) -> ImitationFit | None:
    """Return what round 0 measured of the imitation."""
    measured = first.get("imitation")
    return ImitationFit(**measured) if measured else None


def summarize(
    config: BoostConfig, lines: Sequence[Mapping[str, Any]], tested: Outcomes | None
) -> dict[str, Any]:
    """Return what the lines and the last context's answers to the test questions come to."""
    summary: dict[str, Any] = {
        "rounds": lines[-1]["round"],
        "task": config.task.title if config.task else None,
        "seed": config.seed,
        "buffer": config.loop.buffer,
        "judge": config.loop.judge,
        "coverage": None,
        "notes": notes(config, lines),
    }
    if tested is not None:
        curve = coverage_curve(tested.probability, tested.right)
        summary["coverage"] = {
            "coverage": curve.coverage.tolist(),
            "error_rate": curve.error_rate.tolist(),
            "area": curve.area,
        }
    judged = [line for line in lines[1:] if line["answered"]]
    if len(judged) >= 1:
        known = without_gold(
            [line["accepted"] for line in judged],
            [line["answered"] for line in judged],
            config.alpha,
        )
        summary["without_labels"] = asdict(known)
    return summary


def notes(config: BoostConfig, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader must know of the result, in sentences."""
    alone = [
        "Answers were compared beyond each choice's mean over all inputs asked together; "
        "evoprompt play takes off the means of the last test, "
        "where all inputs have the same choices."
    ]
    return _notes(lines) + (alone if config.loop.answers == "batch" else [])


def _notes(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    first, rounds = lines[0], lines[1:]
    if first["error_rate"] is None:
        said = (
            "There are no labels, so error rate, sensitivity and specificity cannot be known: "
            "an acceptance rate fits every error rate."
        )
        return [
            f"{said} The believed error is the model's own, and right only if its evaluator is "
            f"calibrated."
        ]
    s, c = first["sensitivity"], first["specificity"]
    if s is None or c is None:
        return [
            "The evaluator met no right or no wrong answer before the first round, so nothing "
            "can be predicted of it."
        ]
    imitation = imitation_of(first)
    says = (
        "so the recurrence lets the error fall"
        if s + c > 1
        else "so the recurrence does not let the error fall"
    )
    says += " under perfect imitation" if imitation is not None else ""
    texts = [
        f"Before the first round the evaluator had sensitivity {s:.2f} and specificity {c:.2f}, "
        f"a sum of {s + c:.2f} (more than 1 is needed), {says}."
    ]
    ratio = first["ln_lambda"]["value"]
    needed = (
        rounds_needed(first["error_rate"], first["error_rate"] / 2, float(np.exp(ratio)))
        if 0 < first["error_rate"] < 1
        else None
    )
    if imitation is not None:
        end = fixed_point(imitation.imitation, float(np.exp(ratio)))
        texts.append(
            f"With right pairs in its context the model has an error of {imitation.floor:.3f}, "
            f"with wrong ones of {imitation.ceiling:.3f}, "
            f"so the loop is expected to end near {end:.3f}, wherever it begins."
        )
    elif needed is not None:
        texts.append(
            f"It would halve the error in {needed} round{'s' if needed != 1 else ''}, if the "
            f"model imitated its context perfectly."
        )
    predicted = [line for line in rounds if line["verdict"] is not None]
    if predicted:
        outside = [str(line["round"]) for line in predicted if not line["verdict"]["inside"]]
        wide = max(line["predicted_ci"][1] - line["predicted_ci"][0] for line in predicted)
        where = (
            f"Outside the predicted interval: round {', '.join(outside)}."
            if outside
            else "Every round was inside its predicted interval."
        )
        texts.append(
            where
            + (
                f" The widest interval is {wide:.2f}, so being inside says little."
                if wide > WIDE
                else ""
            )
        )
        failed = dict.fromkeys(name for line in predicted for name in line["verdict"]["failed"])
        rounds_of = {
            name: [str(line["round"]) for line in predicted if name in line["verdict"]["failed"]]
            for name in failed
        }
        texts += [
            f"What the counts refute: {name} (round {', '.join(numbers)})."
            for name, numbers in rounds_of.items()
        ]
    return texts


def _error(tested: Outcomes | None, alpha: float) -> dict[str, Any]:
    if tested is None:
        return {"error_rate": None, "ci": None}
    wrong = int((~tested.right).sum())
    return {
        "error_rate": wrong / len(tested.right),
        "ci": list(wilson_interval(wrong, len(tested.right), alpha)),
    }


def _share_wrong(right: Right) -> float | None:
    known = [r for r in right if r is not None]
    return known.count(False) / len(known) if known else None
