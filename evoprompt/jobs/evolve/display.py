"""What a person sees in the terminal while a run goes on; plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from evoprompt.backends.base import ModelInfo
from evoprompt.backends.doing import WorkerPace
from evoprompt.errors import printable
from evoprompt.jobs.base import begun_again
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.live import credit_text, fitted, generation_text, sparkline, starting
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.telling import model_line
from evoprompt.policy import Policy
from evoprompt.records import TokenCount
from evoprompt.tasks.render import render_prompt
from evoprompt.terminal import clock, new_console, program, short_path

#: Starting policies of a task that brings its own; for the forecast of the time left only.
FOUNDERS = 4
#: Generations whose best fitness the sparkline shows, at most.
SHOWN = 500


def worker_texts(paces: Sequence[WorkerPace]) -> Iterator[str]:
    """Yield what each worker did, in the order of their numbers."""
    for pace in sorted(paces, key=lambda p: p.worker):
        yield (
            f"  worker {pace.worker} on {pace.place}: {pace.tokens_per_second:,.0f} tokens/s, "
            f"busy {pace.utilisation:.0%} of the time"
        )
    if not paces:
        yield "  the model runs in this process: there are no workers to tell of"


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

    def best(self, policy: Policy) -> None:
        """Nothing."""

    def workers(self, paces: Sequence[WorkerPace]) -> None:
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
        *,
        verbose: bool = False,
    ) -> None:
        self._verbose = verbose
        self._paces: Sequence[WorkerPace] = ()
        self.console = console or new_console()
        self._config = config
        self._on_generation = on_generation
        self._tokens = self._logical = self._policies = 0
        self._begun = time.monotonic()
        self._best: list[float] = []  #: by generation
        self._prompt = ""
        self._operator = ""
        tracker = config.tracking.tracker if config.tracking.enabled else None
        self._starting = starting(config.workers.backend, tracker)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=18),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task(self._starting, total=None)
        self._live = Live(
            console=self.console, get_renderable=self._view, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        else:
            self.console.print(self._starting)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """Say what the model is and how it is scored."""
        self._begun = time.monotonic()
        self.console.print(model_line(config.model.name, info))

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
        )

    def scored(self, count: TokenCount) -> None:
        """Move the bar."""
        self._tokens += count.body_tokens
        self._logical += count.logical_tokens
        self._policies += 1
        self._progress.update(self._task, advance=1)

    def best(self, policy: Policy) -> None:
        """Take note of the fittest policy so far."""
        self._prompt = " ".join(str(render_prompt(policy)).split())

    def workers(self, paces: Sequence[WorkerPace]) -> None:
        """Take note of what each worker did."""
        self._paces = paces

    def generation(self, line: GenerationLine) -> bool | None:
        """Print the line of a generation that is done; return what the caller's function says."""
        self._best = [*self._best[-SHOWN:], line.account.fitness.best]
        self._operator = credit_text(line)
        self.console.print(generation_text(line, self._seconds_left(), self.console.width))
        for text in worker_texts(self._paces) if self._verbose else ():
            self.console.print(Text(printable(text), style="dim"))
        return self._on_generation(line.to_dict()) if self._on_generation is not None else None

    def inexact(self, found: Exception) -> None:
        """Say that the run begins again."""
        self._tokens = self._logical = self._policies = 0
        self._best, self._prompt, self._operator = [], "", ""
        self.console.print(Text(begun_again(found)))

    def interrupted(self, folder: Path) -> None:
        """Say how to go on."""
        self._live.stop()
        self.console.print(
            f"interrupted; every committed generation is kept. To go on: {program()} resume "
            f"{short_path(folder)}",
            soft_wrap=True,
        )

    def _view(self) -> Group:
        """Return the bar, and below it a line each of how it goes, and of the best prompt."""
        lines = [self._status(), f"best prompt: {self._prompt}" if self._prompt else ""]
        texts = (
            Text(printable(line), no_wrap=True, overflow="ellipsis", style="dim")
            for line in lines
            if line
        )
        return Group(self._progress, *texts)

    def _status(self) -> str:
        rate = self._tokens / max(time.monotonic() - self._begun, 1e-9)
        parts = [
            (0, f"best {self._best[-1]:.4f} {sparkline(self._best)}" if self._best else ""),
            (1, f"left about {clock(self._seconds_left())}" if self._policies else ""),
            (2, f"{self._tokens:,} tokens" if self._tokens else ""),
            (4, f"{rate:.0f}/s" if self._tokens else ""),
            (3, self._operator),
        ]
        return fitted([(rank, text) for rank, text in parts if text], self.console.width)

    def _seconds_left(self) -> float:
        """Forecast from the policies scored so far: each child, finalist and test policy costs
        about as long as one of them did.
        """
        config = self._config
        elapsed = time.monotonic() - self._begun
        first = (len(config.task.starting_policies) or FOUNDERS) * config.task.most_starts
        children = config.evolution.births
        done = min(self._policies, first + config.evolution.generations * children)
        to_score = first + config.evolution.generations * children - done
        held_out = (
            config.final.candidates * config.task.validation_examples
            + 2 * config.task.test_examples
        )
        forecast = (
            elapsed / max(self._policies, 1) * (to_score + held_out / config.task.fitness_examples)
        )
        budget = config.budget
        for limit, used in (
            (budget.prefill_tokens, self._tokens),
            (budget.logical_tokens, self._logical),
        ):
            if limit is not None and used:
                ahead = elapsed / used * max(limit - used, 0) + elapsed / max(self._policies, 1)
                forecast = min(forecast, ahead)
        return forecast
