"""What the rounds of a self-evaluation loop come to: its part of the summary, and what a reader
must know of it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from evoprompt.choices import COMPARISONS
from evoprompt.jobs.boost.config import BoostConfig, LoopConfig
from evoprompt.jobs.boost.record import Outcomes, RoundLine
from evoprompt.recurrence.advice import Answer
from evoprompt.recurrence.evaluator import without_gold
from evoprompt.recurrence.threshold import coverage_curve
from evoprompt.store.ledger import Checked

NO_LABELS = (
    "There are no labels, so error rate, sensitivity and specificity cannot be known: an "
    "acceptance rate fits every error rate. The believed error is the model's own, and right only "
    "if its evaluator is calibrated. Whether the loop can pay is not known either: the error with "
    "right pairs in the context decides it, and a task with 100 labelled examples would tell."
)
#: A predicted interval of an error rate that is wider than this is said to be so.
WIDE = 0.5


def summarize(
    config: BoostConfig, lines: Sequence[RoundLine], tested: Outcomes | None, checked: Checked
) -> dict[str, object]:
    """Return what the lines, the last context's answers to the test questions, and the standing
    check come to.
    """
    summary: dict[str, object] = {
        "rounds": lines[-1].round,
        "task": config.task.title if config.task else None,
        "seed": config.seed,
        "buffer": config.loop.buffer,
        "judge": config.loop.judge,
        "coverage": None,
        "advice": lines[0].advice.to_dict() if lines[0].advice else None,
        "notes": [*notes(config, lines), f"Standing check: {checked.told}."],
    }
    if tested is not None:
        curve = coverage_curve(tested.probability, tested.right)
        summary["coverage"] = {
            "coverage": curve.coverage.tolist(),
            "error_rate": curve.error_rate.tolist(),
            "area": curve.area,
        }
    judged = [line for line in lines[1:] if line.answered]
    if judged:
        known = without_gold(
            [line.accepted for line in judged], [line.answered for line in judged], config.alpha
        )
        summary["without_labels"] = asdict(known)
    return summary


def notes(config: BoostConfig, lines: Sequence[RoundLine]) -> list[str]:
    """Return what a reader must know of the result, in sentences."""
    advice = advice_text(lines[0], config.loop) if lines[0].advice is not None else None
    said = [*([advice] if advice else []), *_known(lines)]
    if COMPARISONS[config.loop.answers].over_batch:
        said.append(
            "Answers were compared beyond each choice's mean over all inputs asked together; "
            "evoprompt play takes off the means of the last test, "
            "where all inputs have the same choices."
        )
    return said


def advice_text(first: RoundLine, loop: LoopConfig) -> str | None:
    """Return in sentences whether the loop can pay, by its round 0; None where nothing was asked of
    labels.
    """
    advice, fit, before = first.advice, first.imitation, first.error_rate
    if before is None:
        return NO_LABELS
    if advice is None or fit is None:
        return None
    said = {
        Answer.YES: "Learning from its own answers can pay here",
        Answer.NO: "Learning from its own answers is not expected to pay here",
        Answer.UNKNOWN: "Whether learning from its own answers pays here cannot be told",
    }[advice.answer]
    rounds = f"{loop.rounds} round{'' if loop.rounds == 1 else 's'}"
    text = (
        f"{said}: the chance of a lower error after {rounds} is {advice.chance:.0%}, and the "
        f"change that is expected {advice.change:+.3f} [{advice.low:+.3f}, {advice.high:+.3f}]. "
        f"Without context the model is wrong in {before:.3f} of the answers, with right pairs "
        f"alone in {fit.floor:.3f}, with wrong ones in {fit.ceiling:.3f}."
    )
    if not advice.pays and advice.at_best < 0:
        text += (
            f" A judge without mistakes would change it by {advice.at_best:+.3f}, so a better "
            "evaluator may help."
        )
    if not advice.pays:
        text += (
            " It goes round all the same, as loop.go_on says."
            if loop.go_on
            else " So it ends here; with loop.go_on=true it goes round all the same."
        )
    return text


def supposed(lines: Sequence[RoundLine]) -> str:
    """Return for which loop these rounds are predicted: the end of a sentence.

    A folder of an earlier version does not say for which contexts; there it was these.
    """
    said = [line.predicted_for for line in lines if line.predicted_for is not None]
    contexts = said[-1] if said else "contexts of the newest pairs above a fixed threshold"
    follows = (
        "follows its context as far as contexts of labelled pairs told"
        if lines[0].imitation is not None
        else "is wrong as often as its context"
    )
    return f"for {contexts}, and a model that {follows}"


def _known(lines: Sequence[RoundLine]) -> Iterator[str]:
    """Yield what round 0 lets expect and how the rounds went, as far as labels tell."""
    first = lines[0]
    if first.error_rate is None:
        yield NO_LABELS
    elif first.sensitivity is None or first.specificity is None or first.ln_lambda is None:
        yield (
            "The evaluator met no right or no wrong answer before the first round, so nothing "
            "can be predicted of it."
        )
    else:
        yield _hope(first, first.sensitivity, first.specificity)
        yield from _imitated(first)
        yield from _compared(first, [line for line in lines[1:] if line.verdict is not None])


def _hope(first: RoundLine, s: float, c: float) -> str:
    lets = "lets" if s + c > 1 else "does not let"
    perfect = " under perfect imitation" if first.imitation is not None else ""
    return (
        f"Before the first round the evaluator had sensitivity {s:.2f} and specificity {c:.2f}, "
        f"a sum of {s + c:.2f} (more than 1 is needed), so what it accepts {lets} the error "
        f"fall{perfect}."
    )


def _imitated(first: RoundLine) -> Iterator[str]:
    """Yield how far the model follows its context, where that was measured."""
    fit = first.imitation
    if fit is None:
        return
    if first.advice is None:
        yield (
            f"With right pairs in its context the model has an error of {fit.floor:.3f}, "
            f"with wrong ones of {fit.ceiling:.3f}."
        )
    if fit.num_rounds < 3:
        yield (
            "One context of each kind does not tell how much contexts differ, so predictions are "
            "left wide; loop.measure_imitation=2 or more tells."
        )


def _compared(first: RoundLine, predicted: Sequence[RoundLine]) -> Iterator[str]:
    """Yield how the rounds went beside their predictions, and for which loop those were made."""
    if not predicted:
        return
    last = predicted[-1]
    if last.predicted is not None and last.predicted_ci is not None:
        low, high = last.predicted_ci
        yield (
            f"Predicted {supposed([first, *predicted])}: an error of {last.predicted:.3f} "
            f"[{low:.3f}, {high:.3f}] after round {last.round}."
        )
    verdicts = [(str(line.round), line.verdict) for line in predicted if line.verdict is not None]
    outside = [number for number, verdict in verdicts if not verdict.inside]
    where = (
        f"Outside the predicted interval: round {', '.join(outside)}."
        if outside
        else "Every round was inside its predicted interval."
    )
    intervals = [line.predicted_ci for line in predicted if line.predicted_ci is not None]
    widest = max(high - low for low, high in intervals)
    wide = f" The widest interval is {widest:.2f}, so being inside says little."
    yield where + (wide if widest > WIDE else "")
    for name in dict.fromkeys(name for _, verdict in verdicts for name in verdict.failed):
        numbers = [number for number, verdict in verdicts if name in verdict.failed]
        yield f"What the counts refute: {name} (round {', '.join(numbers)})."
