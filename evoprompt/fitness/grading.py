"""A metric's configuration -> what grades written answers: extraction first, then the metric, the
best of several right answers. A function of the user's own runs with a time limit, and what it
does wrong is said with the example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import exp, isfinite
from numbers import Real
from threading import Thread
from typing import Any

import numpy as np

from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError, quoted
from evoprompt.fitness.filters import filtered
from evoprompt.fitness.metrics import METRICS, Metric, best
from evoprompt.plugins import find
from evoprompt.records import Example, Grade

#: The metric that a model gives: how likely its verdict says that the answer is right.
JUDGE = "judge"

#: A user's own metric.
OwnMetric = Callable[[str, Example], Any]


class Grader:
    """Grades answers by one metric.

    Args:
        config: of the metric.
        key: under which it stands in the configuration, for errors.

    Raises:
        UserError: there is no such metric, or a package that it needs is missing.
    """

    def __init__(self, config: MetricConfig, key: str = "fitness.metric") -> None:
        self.config = config
        self._where = f"{key}.name"
        self._pattern = re.compile(config.extract) if config.extract is not None else None
        self._metric: Metric | None = None
        self._own: OwnMetric | None = None
        if config.name in METRICS:
            self._metric = METRICS[config.name](config)
            self._metric("1 A", "1 A") if config.name != "choice" else None  # packages are there
        elif config.name != JUDGE:
            self._own = find("metric", config.name, {**METRICS, JUDGE: None}, self._where)
            if not callable(self._own):
                raise UserError(
                    f"{self._where} '{config.name}' is {self._own!r}, which is no metric: it takes "
                    "a function of (answer, example) that returns a number"
                )

    @property
    def title(self) -> str:
        """What people call the metric."""
        return title_of(self.config)

    @property
    def is_judged(self) -> bool:
        """Whether a model's verdict is the grade."""
        return self.config.name == JUDGE

    def check(self, examples: Iterable[Example]) -> None:
        """Find out whether the right answers are of the metric's kind.

        Raises:
            UserError: an example has choices, or a right answer without what the metric compares.
        """
        for example in examples:
            if example.choices is not None:
                raise UserError(
                    f"the metric '{self.title}' is of answers in free text, and {_named(example)} "
                    f"has choices: leave the metric out, or set task.written=true"
                )
            if self._metric is not None:
                for gold in example.golds:
                    self._of_package(self._metric, gold, (gold,), example)

    def extracted(self, written: str) -> str:
        """Return the answer in what was written: all of it without outer white space, what its
        filters leave of that, or what the regular expression finds; empty where it finds nothing.
        """
        if self._pattern is None:
            return filtered(written.strip(), self.config.filters)
        found = self._pattern.search(written)
        return "" if found is None else (found[found.re.groups and 1] or "").strip()

    def grade(self, written: str, example: Example, log_odds: float | None = None) -> Grade:
        """Return how right a written answer is.

        Args:
            written: after the prompt, up to its stop text.
            example: it answers.
            log_odds: that the judge says TRUE of `extracted`, nats; for a judge alone.

        Raises:
            UserError: the user's own metric raises, takes too long, or gives no finite number.
        """
        answer = self.extracted(written)
        if self.is_judged:
            if log_odds is None:
                raise ValueError("the metric 'judge' takes the log-odds of the judge's verdict")
            return Grade(1 / (1 + exp(-min(max(log_odds, -500.0), 500.0))))
        if self._metric is not None:
            return Grade(self._of_package(self._metric, answer, example.golds, example))
        return self._of_own(answer, example)

    def _of_package(
        self, metric: Metric, answer: str, golds: tuple[str, ...], example: Example
    ) -> float:
        try:
            return best(metric, answer, golds)
        except ValueError as error:
            raise UserError(
                f"the metric '{self.title}' cannot grade {_named(example)}: {error}"
            ) from None

    def _of_own(self, answer: str, example: Example) -> Grade:
        assert self._own is not None
        told = f"the metric '{self.config.name}' on {_named(example)} with the answer "
        told += quoted(answer)
        takes = f"{self._where} takes a function of (answer, example) that returns a finite number"
        try:
            found = _within(self.config.seconds, self._own, answer, example)
        except TimeoutError:
            raise UserError(
                f"{told} took longer than {self.config.seconds:g} seconds; make it faster, or "
                f"raise {self._where.removesuffix('.name')}.seconds"
            ) from None
        except Exception as error:
            raise UserError(f"{told} raised {type(error).__name__}: {error}; {takes}") from error
        value, feedback = found if isinstance(found, tuple) and len(found) == 2 else (found, "")
        is_number = isinstance(value, Real | np.bool_) and isfinite(value)
        if not is_number or not isinstance(feedback, str):
            raise UserError(f"{told} gave {found!r}; {takes}, or (number, text)")
        return Grade(float(value), feedback)


def title_of(config: MetricConfig) -> str:
    """Return what people call a metric: its name, of "module:function" that of the function."""
    return config.name.rpartition(":")[2]


def _named(example: Example) -> str:
    where = f" ({example.origin})" if example.origin else ""
    return f"example '{example.example_id}'{where}"


def _within(seconds: float, function: OwnMetric, answer: str, example: Example) -> Any:
    """Return what a function gives, or raise what it raises.

    Raises:
        TimeoutError: it takes longer; it goes on in a thread that ends with the process.
    """
    found: list[Any] = []
    raised: list[Exception] = []

    def call() -> None:
        try:
            found.append(function(answer, example))
        except Exception as error:  # noqa: BLE001  # raised again outside of the thread
            raised.append(error)

    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError
    return found[0]
