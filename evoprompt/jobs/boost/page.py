"""The folder of a self-evaluation loop -> `report.html`: one file that needs nothing else, no
network and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.choices import COMPARISONS
from evoprompt.errors import UserError
from evoprompt.jobs.boost.conclude import supposed
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.judges import JUDGES
from evoprompt.jobs.boost.record import RoundLine, RoundVerdict
from evoprompt.jobs.boost.state import BUFFERS
from evoprompt.jobs.held_out import HeldOut, held_out_table
from evoprompt.recurrence.verdict import Assumption
from evoprompt.report.markup import FIXED, page, paragraph, preformatted, section
from evoprompt.report.table import new_table, to_html
from evoprompt.report.text import POINTS, thinned, thinned_note
from evoprompt.store.folder import SUMMARY

#: What it means that a round's counts refute an assumption of the prediction.
FAILED = {
    Assumption.EVALUATOR: "the judge tells right from wrong answers better or worse than in "
    "round 0",
    Assumption.IMITATION: "the answers are not wrong as often as their context",
    Assumption.BUFFER: "nothing was accepted, or the context stayed the same",
}
BELIEVED_NOTE = (
    "Believed: the error that the judge expects of the answers given with the "
    "context of that round; it is right only if the judge is calibrated."
)
ERROR_NOTE = (
    "Measured after each round, with the context that the round led to. Predicted before it from "
    "round 0 alone"
)
EVALUATOR_NOTE = (
    "What a round accepts is wrong less often than what it answered only where s + c > 1 "
    "(green): there a right answer is accepted more often "
    "than a wrong one. On the line acceptance says nothing; below it the accepted answers are "
    "the worse ones. The purple point is round 0, from "
    "which every round is predicted. Where a share is accepted the point moves along with the "
    "error rate though the evaluator stays the same. Labels measure this; no round sees them."
)
ROUNDS_NOTE = (
    "A round's answers, and what the judge makes of them, come with the context of the "
    "round before."
)
LABELS_NOTE = (
    "The error rate and the share of wrong pairs are of the context that came out of the round. "
    "Round 0 judges the answers to the test examples, "
    "given without context. s and c are sensitivity and specificity; acceptance lowers the "
    "log-odds of an error by ln Λ = ln(s / (1 - c))."
)
ADVICE_NOTE = (
    "From labelled pairs in the context and the judge's verdicts on the answers without context: "
    "simulated loops tell where the error rate goes. It is yes from a chance of 90% on, no up to "
    "50%. ± is a standard error."
)
COVERAGE_NOTE = (
    "The error rate if only the answers with the greatest probability were given, in the last "
    "context. Confidence is useful where the curve lies "
    "below the line of all answers."
)


def write_boost_page(folder: BoostFolder, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the report of a loop, finished or not; return its path.

    Args:
        folder: of the loop; round 0 at least must have been committed.
        summary: what `summary.json` will have, where it is not written yet.

    Raises:
        UserError: no round is committed, or the folder's configuration is not that of a loop.
    """
    lines = folder.rounds()
    if not lines:
        raise UserError(
            f"the loop in {folder.path} has not committed a round yet; go on with it: evoprompt "
            f"resume {folder.path}"
        )
    summary = summary if summary is not None else folder.read(SUMMARY)
    config = folder.config()
    sections = [
        _head(folder.path.name, config, summary, lines),
        _outcome(summary, lines),
        *_advice(lines[0], config.alpha),
        *_figures(summary, thinned(lines, POINTS)),
    ]
    shown, fewer = thinned(lines, POINTS), thinned_note(len(lines), POINTS, "rounds")
    note = (
        f"{ROUNDS_NOTE} {LABELS_NOTE} Intervals cover {1 - config.alpha:.0%}."
        if _has_labels(lines)
        else ROUNDS_NOTE
    ) + f" {fewer}".rstrip()
    sections.append(section("By round", _rounds(shown, config.alpha) + _meaning(lines), note))
    if summary:
        sections.append(
            section(
                "Final prompt",
                preformatted(summary["champion"]["prompt"]),
                _shown(lines[-1].context_size),
            )
        )
        if JUDGES[config.loop.judge].asks_evaluator:
            sections.append(
                section("The evaluator's prompt", preformatted(summary["evaluator"]["prompt"]))
            )
    path = folder.path / "report.html"
    path.write_text(page(folder.path.name, sections), encoding="utf-8")
    return path


def verdict_text(verdict: RoundVerdict | None) -> str:
    """Return in words whether a round did as predicted, and what failed if it did not; nothing
    where nothing was predicted.
    """
    if verdict is None:
        return ""
    z = "" if verdict.surprise_z is None else f" (z{FIXED}={FIXED}{verdict.surprise_z:+.1f})"
    failed = ", ".join(verdict.failed)
    if verdict.inside:
        return f"inside{z}" + (f", but {failed}" if failed else "")
    return f"outside{z}: {failed or 'no assumption refuted'}"


def _head(
    name: str, config: BoostConfig, summary: Mapping[str, Any] | None, lines: Sequence[RoundLine]
) -> str:
    sources = [f"task {config.task.title}"] if config.task else []
    sources += [f"the questions of {config.questions}"] if config.questions else []
    loop, tokens = config.loop, summary["tokens"]["total"] if summary else lines[-1].tokens
    texts = (
        f"Self-evaluation loop of {config.model.name} on {' and '.join(sources)}, seed "
        f"{config.seed}: {_count(lines[-1].round, 'round')}, "
        f"{tokens:,} tokens.",
        f"Answers: {loop.answers} ({COMPARISONS[loop.answers].words}). Buffer: {loop.buffer} "
        f"({BUFFERS[loop.buffer].words}). Judge: {loop.judge} "
        f"({JUDGES[loop.judge].words}).",
    )
    return f'<h1>{escape(name)}</h1><p class="muted">{escape(texts[0])}<br>{escape(texts[1])}</p>'


def _outcome(summary: Mapping[str, Any] | None, lines: Sequence[RoundLine]) -> str:
    if summary is None:
        unknown = (
            ""
            if _has_labels(lines)
            else " There are no labels, so that error rate, sensitivity and specificity cannot "
            "be known."
        )
        return f"<p>This loop has not ended; what follows is what it has committed.{unknown}</p>"
    notes = "".join(f"<p>{escape(note)}</p>" for note in summary["notes"])
    if summary["test"] is None:
        return section("Outcome", notes)
    test = HeldOut.from_dict(summary["test"])
    labels = {
        "before, without context": "baseline",
        "after, with the last context": "champion",
        "difference (paired)": "difference",
    }
    table = to_html(held_out_table(test, labels))
    said, kind = _conclusion(test.difference.ci)
    note = f"On {_count(test.num_examples, 'test example')} that the loop never learned from."
    return section(
        "Outcome",
        f"{paragraph(said, kind)}{table}{notes}",
        note,
    )


def _advice(first: RoundLine, alpha: float) -> list[str]:
    """Return what was known before the first round of whether the loop can pay, as a section; none
    where it was not measured.
    """
    advice, fit = first.advice, first.imitation
    if advice is None or fit is None:
        return []
    kind = "big good" if advice.pays else "big"
    rows = [
        ["error without context", _rate(first.error_rate, first.ci)],
        ["with right pairs alone (floor)", _with_error(fit.floor, fit.floor_standard_error)],
        ["with wrong pairs alone (ceiling)", _with_error(fit.ceiling, fit.ceiling_standard_error)],
        ["change expected of the loop", _change(advice.change, (advice.low, advice.high))],
        ["change by a judge without mistakes", _change(advice.at_best)],
        ["chance of a lower error", f"{advice.chance:.0%}"],
    ]
    table = to_html(new_table(["before the first round", ""], rows))
    note = f"{ADVICE_NOTE} The interval covers {1 - alpha:.0%}."
    return [section("Can it pay?", paragraph(f"{advice.answer.capitalize()}.", kind) + table, note)]


def _with_error(value: float, standard_error: float | None) -> str:
    return f"{value:.2f}" + ("" if standard_error is None else f" ± {standard_error:.2f}")


def _change(value: float, bounds: Sequence[float] | None = None) -> str:
    return f"{value:+.2f}" + (f" [{bounds[0]:+.2f},{FIXED}{bounds[1]:+.2f}]" if bounds else "")


def _conclusion(bounds: Sequence[float]) -> tuple[str, str]:
    """Return what the loop did, and of which class of the style sheet that is."""
    low, high = bounds
    if high < 0:
        said = "The loop lowered the error: the interval of the difference lies below 0."
        return said, "big good"
    if low > 0:
        return "The loop raised the error: the interval of the difference lies above 0.", "big bad"
    return "No effect is shown: the interval of the difference holds 0.", "big"


def _figures(summary: Mapping[str, Any] | None, lines: Sequence[RoundLine]) -> list[str]:
    from evoprompt.jobs.boost.figures import (
        acceptance_figure,
        coverage_figure,
        error_figure,
        evaluator_figure,
    )

    error = (
        ("Error by round", f"{ERROR_NOTE}, {supposed(lines)}. {BELIEVED_NOTE}")
        if _has_labels(lines)
        else ("Believed error by round", f"Nothing here is measured. {BELIEVED_NOTE}")
    )
    drawn = [
        (error[0], error_figure(lines), error[1]),
        ("The evaluator", evaluator_figure(lines), EVALUATOR_NOTE),
        (
            "Acceptance",
            acceptance_figure(lines),
            "What became of each round's answers. Only accepted ones can come into the context.",
        ),
    ]
    coverage = summary["coverage"] if summary else None
    if coverage:
        area = f"Mean over all coverages: {coverage['area']:.3f}."
        drawn.append(
            (
                "Coverage against error at the end",
                coverage_figure(coverage),
                f"{COVERAGE_NOTE} {area}",
            )
        )
    return [section(title, figure, note) for title, figure, note in drawn if figure is not None]


def _rounds(lines: Sequence[RoundLine], alpha: float) -> str:
    """Return the table of rounds; a column in which nothing is known is left out."""
    head = [
        "round",
        "error rate",
        "predicted",
        "s",
        "c",
        "ln Λ",
        "accepted",
        "buffer",
        "wrong in context",
        "believed error",
        "verdict",
    ]
    rows = [_row(line, alpha) for line in lines]
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    return to_html(new_table([head[i] for i in shown], [[row[i] for i in shown] for row in rows]))


def _row(line: RoundLine, alpha: float) -> list[str]:
    ratio = line.ln_lambda
    given = [f"{line.accepted} of {line.answered}"] if line.answered else []
    withheld = [f"{line.abstained}{FIXED}abstained"] if line.abstained else []
    pairs = f" of {line.context_size}" if line.context_size else ""
    return [
        str(line.round),
        _rate(line.error_rate, line.ci),
        _rate(line.predicted, line.predicted_ci),
        _rate(line.sensitivity, line.sensitivity_ci),
        _rate(line.specificity, line.specificity_ci),
        _rate(ratio.value, ratio.interval(alpha)) if ratio else "",
        ", ".join(given + withheld),
        str(line.buffer_size),
        "" if line.context_error_rate is None else f"{line.context_error_rate:.0%}{pairs}",
        _rate(line.believed_error),
        verdict_text(line.verdict),
    ]


def _has_labels(lines: Sequence[RoundLine]) -> bool:
    return any(line.error_rate is not None for line in lines)


def _rate(value: float | None, bounds: Sequence[float] | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + (f" [{bounds[0]:.2f},{FIXED}{bounds[1]:.2f}]" if bounds else "")


def _shown(pairs: int | None) -> str:
    return (
        f"The policy with the {_count(pairs, 'pair')} of the last context."
        if pairs
        else "The policy as it began: no context was built."
    )


def _meaning(lines: Sequence[RoundLine]) -> str:
    """Return what the failed assumptions of these rounds mean, each once."""
    failed = {name for line in lines if line.verdict for name in line.verdict.failed}
    return "".join(
        f'<p class="muted">{escape(name.value)}: {escape(text)}.</p>'
        for name, text in FAILED.items()
        if name in failed
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
