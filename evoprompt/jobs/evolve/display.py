"""What a person sees in the terminal while a run goes on, and at its end. Plain lines where there
is no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from evoprompt.backends.base import ModelInfo
from evoprompt.calibration import LabelCalibration
from evoprompt.errors import printable
from evoprompt.evolution.headroom import Headroom
from evoprompt.jobs.base import begun_again
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.findings import Claim, Trust, trust_rows
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.held_out import EvaluatorSummary, HeldOut
from evoprompt.records import TokenCount
from evoprompt.report.table import Cell, pairs_table, to_rich
from evoprompt.report.text import calibration_text, interval
from evoprompt.store.ledger import TokenSummary
from evoprompt.terminal import clock, new_console, program, short_path

#: Starting policies of a task that brings its own; for the forecast of the time left only.
FOUNDERS = 4


class QuietObserver:
    """Follows a run and shows nothing. Implements `loop.Observer`."""

    def __init__(
        self, on_generation: Callable[[Mapping[str, Any]], bool | None] | None = None
    ) -> None:
        self._on_generation = on_generation

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """Nothing."""

    def forecast(self, tokens: int) -> None:
        """Nothing."""

    def phase(self, name: str, num_policies: int) -> None:
        """Nothing."""

    def scored(self, count: TokenCount) -> None:
        """Nothing."""

    def generation(self, line: GenerationLine) -> bool | None:
        """Return what the caller's own function says: False ends the search."""
        return self._on_generation(line.to_dict()) if self._on_generation is not None else None

    def inexact(self, found: Exception) -> None:
        """Nothing."""


class Display:
    """Follows a run. Implements `run.Observer`; use it as a context."""

    def __init__(
        self,
        config: Config,
        console: Console | None = None,
        on_generation: Callable[[Mapping[str, Any]], bool | None] | None = None,
    ) -> None:
        self.console = console or new_console()
        self._config = config
        self._on_generation = on_generation
        self._tokens = 0
        self._policies = 0
        self._begun = time.monotonic()
        self._latest = "no generation yet"
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=18),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns, console=self.console, disable=not self.console.is_terminal, transient=True
        )
        self._task = self._progress.add_task(
            "starting Ray, MLflow and the model", total=None, status=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        if not self.console.is_terminal:
            self.console.print("starting Ray, MLflow and the model")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """Say what the model is and how it is scored."""
        self._begun = time.monotonic()
        self.console.print(
            f"{config.model.name} ({info.dtype}) on {info.placement}; scoring path: {info.path} "
            f"({info.reason})"
        )

    def forecast(self, tokens: int) -> None:
        """Say what is needed and what there is."""
        limit = self._config.budget.prefill_tokens
        if limit is not None:
            self.console.print(
                f"budget: {limit:,} tokens; starting prompts, validation and test need {tokens:,}"
            )

    def phase(self, name: str, num_policies: int) -> None:
        """Begin a bar for the scoring of a phase."""
        of = f" of {self._config.evolution.generations}" if name.startswith("generation") else ""
        self._progress.update(
            self._task,
            description=f"{name}{of}",
            total=max(num_policies, 1),
            completed=0,
            status=self._status(),
        )

    def scored(self, count: TokenCount) -> None:
        """Move the bar."""
        self._tokens += count.body_tokens
        self._policies += 1
        self._progress.update(self._task, advance=1, status=self._status())

    def generation(self, line: GenerationLine) -> bool | None:
        """Print the line of a generation that is done; return what the caller's function says."""
        best, mean = line.account.fitness.best, line.account.fitness.mean
        accuracy, num = line.account.best_accuracy, line.account.examples
        self._latest = f"best {best:.4f}  mean {mean:.4f}"
        self.console.print(
            f"generation {line.generation:>3}  best {best:8.4f}  mean {mean:8.4f}  "
            f"{'' if num is None else f'on {num:>3}  '}"
            f"{'' if accuracy is None else f'accuracy {accuracy:.3f}  '}"
            f"tokens {line.tokens.total:>9,}  left about {clock(self._seconds_left())}"
        )
        return self._on_generation(line.to_dict()) if self._on_generation is not None else None

    def inexact(self, found: Exception) -> None:
        """Say that the run begins again."""
        self._tokens = self._policies = 0
        self._latest = "no generation yet"
        self.console.print(Text(begun_again(found)))

    def interrupted(self, folder: Path) -> None:
        """Say how to go on."""
        self._progress.stop()
        self.console.print(
            f"interrupted; every committed generation is kept. To go on: {program()} resume "
            f"{short_path(folder)}",
            soft_wrap=True,
        )

    def _status(self) -> str:
        rate = self._tokens / max(time.monotonic() - self._begun, 1e-9)
        left = f", left about {clock(self._seconds_left())}" if self._policies else ""
        return f"{self._latest}  {self._tokens:,} tokens, {rate:.0f}/s{left}"

    def _seconds_left(self) -> float:
        """Forecast from the policies scored so far: each child, finalist and test policy costs
        about as long as one of them did.
        """
        config = self._config
        elapsed = time.monotonic() - self._begun
        first = (len(config.task.starting_policies) or FOUNDERS) * config.task.most_starts
        children = config.evolution.children
        done = min(self._policies, first + config.evolution.generations * children)
        to_score = first + config.evolution.generations * children - done
        held_out = (
            config.final.candidates * config.task.validation_examples
            + 2 * config.task.test_examples
        )
        forecast = (
            elapsed / max(self._policies, 1) * (to_score + held_out / config.task.fitness_examples)
        )
        limit = config.budget.prefill_tokens
        if limit is not None and self._tokens:
            forecast = min(
                forecast,
                elapsed / self._tokens * max(limit - self._tokens, 0)
                + elapsed / max(self._policies, 1),
            )
        return forecast


def print_result(
    console: Console, summary: Summary, folder: Path, mlflow_location: str, runs: Path
) -> None:
    """Print the table at the end of a run; `runs` is the folder with the MLflow store."""
    console.print()
    console.print(Text("Champion prompt", style="bold"))
    console.print(Text(printable(summary.champion.prompt)))
    console.print()
    see = f"{program()} ui --runs {short_path(runs)}"
    pairs: list[tuple[str, Cell | str]] = [
        *_held_out(summary.test, summary.evaluator),
        *_headroom(summary.headroom),
        *_claim(summary.claim, summary.report),
        *_calibration(summary.champion.calibration),
        *_unanswered(summary.unanswered),
        *_cost(summary.tokens, summary.seconds),
        ("standing check", summary.checked.told),
        ("Price residual, at most", f"{summary.price_residual_max:.1g}"),
        ("run folder", str(folder)),
        ("report", str(folder / "report.html")),
        ("MLflow", mlflow_location),
        ("see the charts with", Cell(see, emphasis="strong")),
    ]
    console.print(to_rich(pairs_table(pairs)))


def _held_out(
    test: HeldOut, evaluators: Mapping[str, EvaluatorSummary]
) -> Iterator[tuple[str, Cell | str]]:
    before, after = ("  ".join(interval(share)) for share in (test.baseline, test.champion))
    difference = "  ".join(interval(test.difference, signed=True))
    yield "held-out accuracy before", f"{before}  (best starting prompt)"
    if test.baseline_raw is not None:
        raw = "  ".join(interval(test.baseline_raw))
        yield "the same, uncalibrated", f"{raw}  (best starting prompt)"
    yield "held-out accuracy after", Cell(after, emphasis="strong")
    exact = "" if test.mcnemar is None else f", McNemar's exact p {test.mcnemar.p_value:.3f}"
    yield "difference", f"{difference}  (paired, {test.num_examples} test examples{exact})"
    for label, name in (("evaluator before", "baseline"), ("evaluator after", "champion")):
        if name in evaluators:
            yield label, evaluator_text(evaluators[name])


def _headroom(found: Headroom | None) -> Iterator[tuple[str, Cell | str]]:
    """Yield what a search could win, by the sets of demonstrations that it started from."""
    if found is not None:
        raw, start = found.start, found.calibrated
        yield (
            "headroom at the start",
            f"fitness {raw:.3f} raw, {start:.3f} calibrated, {found.best_of_sets:.3f} best set of "
            f"demonstrations ({found.gain.num} examples): {found.verdict}",
        )


def _claim(claim: Claim | None, trust: Trust | None) -> Iterator[tuple[str, Cell | str]]:
    if claim is not None:
        yield "what this shows", claim.text
    if trust is not None:
        yield from trust_rows(trust)


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
