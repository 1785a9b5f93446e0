"""What a person sees in the terminal at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from evoprompt.calibration import LabelCalibration
from evoprompt.errors import printable
from evoprompt.evolution.headroom import Headroom
from evoprompt.jobs.evolve.by_metric import MetricSummary
from evoprompt.jobs.evolve.findings import Claim, trust_rows
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.record import Summary
from evoprompt.jobs.evolve.showcase import (
    CHAMPION,
    Showcase,
    Shown,
    answer_lines,
    answered,
    showcase_of,
)
from evoprompt.jobs.held_out import EvaluatorSummary, HeldOut
from evoprompt.report.diff import Piece, is_same
from evoprompt.report.table import Cell, Emphasis, pairs_table, to_rich
from evoprompt.report.text import calibration_text, interval
from evoprompt.store.ledger import TokenSummary
from evoprompt.terminal import clock, program, short_path

#: Lines of a difference that are shown.
DIFF_LINES = 40
#: Times the floor from which on it is said that beginnings were forwarded more than once, as by
#: servers whose cache keeps whole blocks.
AGAIN = 1.1
#: How a terminal shows what went and what came, beside the marks.
STYLES = {"gone": "red strike", "new": "green"}
EMPHASIS: Mapping[str, Emphasis] = {"better": "good", "worse": "bad"}
MARKS = {"gone": ("[-", "-]"), "new": ("{+", "+}"), "same": ("", "")}


def print_result(
    console: Console, summary: Summary, folder: EvolveFolder, mlflow_location: str, runs: Path
) -> None:
    """Print the champion and the table at the end of a run; `runs` is the folder with the MLflow
    store.
    """
    shown = showcase_of(summary, folder.predictions(), folder.path)
    console.print()
    for title, text, note in _champion(shown):
        console.print(Text(title, style="bold"))
        console.print(text, soft_wrap=True)  # what is copied has no line breaks of ours
        if note:
            console.print(Text(printable(note)))
        console.print()
    console.print(to_rich(pairs_table(list(_rows(summary, folder, mlflow_location, runs)))))


def _rows(
    summary: Summary, folder: EvolveFolder, mlflow_location: str, runs: Path
) -> Iterator[tuple[str, Cell | str]]:
    """Yield what a run came to, what it cost and where everything is."""
    yield from _claim(summary.claim)
    yield from _held_out(summary.test, summary.evaluator)
    yield from _headroom(summary.headroom)
    yield from _metric(summary.metric)
    if summary.report is not None:
        yield from trust_rows(summary.report)
    yield from _calibration(summary.champion.calibration)
    yield from _unanswered(summary.unanswered)
    yield from _cost(summary.tokens, summary.seconds)
    yield "standing check", summary.checked.told
    yield "Price residual, at most", f"{summary.price_residual_max:.1g}"
    yield "run folder", str(folder.path)
    yield "report", str(folder.path / "report.html")
    yield "champion", str(folder.path / CHAMPION)
    yield "MLflow", mlflow_location
    if folder.config().tracking.enabled:
        see = f"{program()} ui --runs {short_path(runs)}"
        yield "see the charts with", Cell(see, emphasis="strong")


def _champion(shown: Showcase) -> Iterator[tuple[str, Text, str]]:
    """Yield what has to be copied for the champion's accuracy, each with its title and a note."""
    yield "Champion prompt", Text(printable(shown.prompt)), ""
    if shown.answers:
        answers = Text(printable(answer_lines(shown.answers)))
        note = shown.alone or f"{shown.compared}."
        yield "Its answers, as they continue the prompt", answers, note
    if (found := shown.example) is not None:
        yield "One example of the test, with the right answer", Text(_example(shown, found)), ""
    if not is_same(shown.changed):
        yield "Against the best starting prompt", diff(shown.changed), ""
    yield "To use it in another program", Text(printable(shown.export)), ""


def _example(shown: Showcase, example: Shown) -> str:
    """Return what differs from the prompt that stands above it."""
    pairs = zip(shown.prompt, example.prompt, strict=False)
    num = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    same = shown.prompt[:num].rpartition("\n")[0]
    own = (example.prompt + example.continuation).removeprefix(same).lstrip("\n")
    return printable(f"...\n{own}\n({answered(example.prediction)})")


def diff(pieces: Sequence[Piece]) -> Text:
    """Return a difference for a terminal, with marks where it has no colors; of a long one the
    beginning.
    """
    text = Text()
    for piece in pieces:
        before, after = MARKS[piece.kind]
        text.append(printable(f"{before}{piece.text}{after}"), STYLES.get(piece.kind))
    lines = text.split("\n")
    if len(lines) > DIFF_LINES:
        rest = Text(f"... {len(lines) - DIFF_LINES} more lines in {CHAMPION}", "dim")
        return Text("\n").join([*lines[:DIFF_LINES], rest])
    return text


def _held_out(
    test: HeldOut, evaluators: Mapping[str, EvaluatorSummary]
) -> Iterator[tuple[str, Cell | str]]:
    before, after = ("  ".join(interval(share)) for share in (test.baseline, test.champion))
    difference = "  ".join(interval(test.difference, signed=True))
    metric = test.metric.replace("_", " ")
    yield f"held-out {metric} before", f"{before}  (best starting prompt)"
    if test.baseline_raw is not None:
        raw = "  ".join(interval(test.baseline_raw))
        yield "the same, uncalibrated", f"{raw}  (best starting prompt)"
    yield f"held-out {metric} after", Cell(after, emphasis="strong")
    if test.champion_raw is not None:
        raw = "  ".join(interval(test.champion_raw))
        yield "the same, uncalibrated", f"{raw}  (the prompt alone)"
    if test.champion_offsets is not None:
        alone = "  ".join(interval(test.champion_offsets))
        yield "the same, by offsets", f"{alone}  (without the linear head)"
    exact = "" if test.mcnemar is None else f", McNemar's exact p {test.mcnemar.p_value:.3f}"
    yield "difference", f"{difference}  (paired, {test.num_examples} test examples{exact})"
    for label, name in (("evaluator before", "baseline"), ("evaluator after", "champion")):
        if name in evaluators:
            yield label, evaluator_text(evaluators[name])


def _metric(found: MetricSummary | None) -> Iterator[tuple[str, str]]:
    """Yield how the search's likelihood ranks the finalists beside the metric that chose."""
    if found is not None and (ranks := found.rank_correlation) is not None:
        ends = "" if ranks.ci is None else f"  [{ranks.ci[0]:.2f}, {ranks.ci[1]:.2f}]"
        over = f"{ranks.num_policies} finalists, {ranks.num_examples} examples"
        yield "likelihood and metric", f"rank correlation {ranks.value:.2f}{ends}  ({over})"


def _headroom(found: Headroom | None) -> Iterator[tuple[str, Cell | str]]:
    """Yield what a search could win, by the sets of demonstrations that it started from."""
    if found is not None:
        raw, start = found.start, found.calibrated
        yield (
            "headroom at the start",
            f"fitness {raw:.3f} raw, {start:.3f} calibrated, {found.best_of_sets:.3f} best set of "
            f"demonstrations ({found.gain.num} examples): {found.verdict}",
        )


def _claim(claim: Claim | None) -> Iterator[tuple[str, Cell | str]]:
    if claim is not None:
        yield "what this shows", Cell(claim.text, emphasis=EMPHASIS.get(claim.verdict, "strong"))


def _calibration(calibration: LabelCalibration | None) -> Iterator[tuple[str, str]]:
    if calibration is not None:
        yield "calibration", printable(calibration_text(calibration))


def _unanswered(number: int) -> Iterator[tuple[str, str]]:
    if number:
        text = f"{number} test examples do not fit the champion's prompt, and count as wrong"
        yield "not answered", text


def _cost(tokens: TokenSummary, seconds: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    phases = ", ".join(f"{phase} {count:,}" for phase, count in tokens.by_phase.items())
    written = f", of them {tokens.generated:,} written by the model" if tokens.generated else ""
    yield "tokens forwarded", f"{tokens.total:,}{written}  ({phases})"
    spared = [f"{tokens.stored:,} from the prefix store"] if tokens.stored else []
    if tokens.memo_requests:
        met = f"{tokens.memo_requests:,} of {tokens.requests:,} requests"
        spared.append(f"{met} from the memo")
    if spared and tokens.floor > tokens.prefill:
        yield "tokens spared", f"{tokens.floor - tokens.prefill:,}  ({', '.join(spared)})"
    if tokens.prefill > AGAIN * tokens.floor:
        once = f"the budget counts each beginning once: {tokens.floor:,}"
        yield "forwarded again", f"{tokens.prefill - tokens.floor:,}  ({once})"
    scoring = clock(seconds.get("scoring", 0))
    yield "time", f"{clock(seconds['total'])}  (of it scoring {scoring})"


def evaluator_text(evaluator: EvaluatorSummary) -> str:
    """Return in a line how good an evaluator is, and to what error a loop that learns from what it
    accepts would go from its first one.
    """
    rates = (("sensitivity", evaluator.sensitivity), ("specificity", evaluator.specificity))
    known = [f"{name} {' '.join(interval(rate))}" for name, rate in rates if rate is not None]
    later = [
        f"{error:.3f} after {n} round{'s' if n != '1' else ''}"
        for n, error in evaluator.predicted.error_rate.items()
        if error is not None
    ]
    first = evaluator.predicted.first_error_rate
    forecast = [f"error {first:g} would be {', '.join(later)}"] if later else []
    return "  ".join([*known, *forecast])
