"""What the rounds of a self-evaluation loop come to: its part of the summary, and what a reader
must know of it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from evoprompt.choices import COMPARISONS
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.record import Outcomes, RoundLine
from evoprompt.recurrence.evaluator import without_gold
from evoprompt.recurrence.threshold import coverage_curve
from evoprompt.store.ledger import Checked

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
    said = list(_known(lines))
    if COMPARISONS[config.loop.answers].over_batch:
        said.append(
            "Answers were compared beyond each choice's mean over all inputs asked together; "
            "evoprompt play takes off the means of the last test, "
            "where all inputs have the same choices."
        )
    return said


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
        yield (
            "There are no labels, so error rate, sensitivity and specificity cannot be known: an "
            "acceptance rate fits every error rate. The believed error is the model's own, and "
            "right only if its evaluator is calibrated."
        )
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
