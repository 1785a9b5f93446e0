"""What examples that nobody chose by say of a policy, and of an evaluator. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from evoprompt.recurrence.error_rate import error_rates
from evoprompt.recurrence.evaluator import (
    EvaluatorCounts,
    LogRatio,
    log_likelihood_ratio,
    sensitivity,
    specificity,
)
from evoprompt.report.table import Cell, Table, new_table, to_markdown
from evoprompt.report.text import interval
from evoprompt.seeding import Stream, generator
from evoprompt.stats.proportions import binomial_test
from evoprompt.stats.resampling import paired_bootstrap_interval, wilson_interval
from evoprompt.stats.significance import Estimate

#: The recurrence's prediction of what an evaluator is worth is given for this error rate at the
#: beginning and after these rounds.
FIRST_ERROR_RATE = 0.5
ROUNDS = (1, 5)
PARTS = ("baseline", "champion", "difference")  #: of a held-out check
#: Parts that not every check has, by what they are called.
FURTHER = {
    "best starting prompt, uncalibrated": "baseline_raw",
    "best starting prompt, by offsets alone": "baseline_offsets",
    "champion, uncalibrated": "champion_raw",
    "champion, by offsets alone": "champion_offsets",
}


S = TypeVar("S", "Share", "CountedShare")
#: Which answers are right, or how right each is, shape (example,).
Graded = NDArray[np.bool_] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of examples, or a difference of two, with its interval."""

    value: float
    ci: tuple[float, float]

    @property
    def percent(self) -> str:
        """The value as people read it."""
        return f"{100 * self.value:.1f} %"


@dataclass(frozen=True, slots=True)
class CountedShare:
    """A share with its interval, and of how many it is."""

    value: float
    ci: tuple[float, float]
    num: int


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact paired test of two policies: on how many examples something is so of one of them
    alone, and the two-sided p-value of both being equally often that one.
    """

    only_baseline: int
    only_champion: int
    p_value: float  #: 1 where there is no such example

    @property
    def num_different(self) -> int:
        """On how many examples it is so of one of them alone."""
        return self.only_baseline + self.only_champion


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first policy and the champion on examples that nobody chose by."""

    metric: str
    num_examples: int
    baseline: Share
    champion: Share
    difference: Share  #: paired by example
    #: of both with their answers as they are, where those above are calibrated
    baseline_raw: Share | None = None
    champion_raw: Share | None = None
    #: of both by offsets alone, where those above read other words too (`linear_head`)
    baseline_offsets: Share | None = None
    champion_offsets: Share | None = None
    #: the champion, calibrated, less the baseline with its answers as they are, paired by example
    gain: Share | None = None
    #: None where grades are more than right and wrong, and of checks that were written without it
    mcnemar: McNemar | None = None

    @property
    def is_counted(self) -> bool:
        """Whether answers are right or wrong, and nothing between."""
        return self.metric == "accuracy" or self.mcnemar is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as a summary has it."""
        return {n: value for n, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the check of `to_dict`'s values."""
        shares: dict[str, Any] = {
            n: _share(Share, values[n]) for n in (*PARTS, *FURTHER.values(), "gain") if n in values
        }
        found = cls(values["metric"], values["num_examples"], **shares)
        exact = values.get("mcnemar")
        return found if exact is None else replace(found, mcnemar=McNemar(**exact))

    def part(self, name: str) -> Share:
        """Return the baseline, the champion, the difference, or one of `FURTHER`."""
        share: Share = getattr(self, name)
        return share


@dataclass(frozen=True, slots=True)
class Prediction:
    """The error rates of a loop that imitates perfectly what an evaluator accepts, by round; None
    where nothing is accepted.
    """

    first_error_rate: float
    error_rate: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class EvaluatorSummary:
    """How good an evaluator is, and what it would be worth in a loop; a rate is None where there
    is nothing that it is of.
    """

    sensitivity: CountedShare | None
    specificity: CountedShare | None
    ln_lambda: LogRatio | None
    predicted: Prediction

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the evaluator as a summary has it."""
        sensitivity, specificity, ratio = (
            values[name] for name in ("sensitivity", "specificity", "ln_lambda")
        )
        return cls(
            _share(CountedShare, sensitivity) if sensitivity else None,
            _share(CountedShare, specificity) if specificity else None,
            LogRatio(**ratio) if ratio else None,
            Prediction(**values["predicted"]),
        )


def _share(kind: type[S], values: Mapping[str, Any]) -> S:
    return kind(**{**values, "ci": tuple(values["ci"])})


def evaluator_summary(counts: EvaluatorCounts, alpha: float) -> EvaluatorSummary:
    """Return an evaluator's rates with Wilson intervals, ln Lambda, and the error rates that a loop
    which learns from what it accepts would have.

    The prediction holds if the loop imitates its accepted answers perfectly
    (`recurrence.error_rate`).
    """
    right, wrong = sensitivity(counts, alpha), specificity(counts, alpha)
    s, c = (rate.value if rate else nan for rate in (right, wrong))
    by_round = error_rates(FIRST_ERROR_RATE, s, c, max(ROUNDS))
    known = {str(n): float(by_round[n]) if isfinite(by_round[n]) else None for n in ROUNDS}
    return EvaluatorSummary(
        _counted(right),
        _counted(wrong),
        log_likelihood_ratio(counts),
        Prediction(FIRST_ERROR_RATE, known),
    )


def _counted(rate: Estimate | None) -> CountedShare | None:
    if rate is None or rate.low is None or rate.high is None:
        return None
    return CountedShare(rate.value, (rate.low, rate.high), rate.num)


def compare(
    baseline: Graded,
    champion: Graded,
    seed: int,
    alpha: float,
    raw: tuple[Graded, Graded] | None = None,
    offsets: tuple[Graded, Graded] | None = None,
    metric: str = "accuracy",
) -> HeldOut:
    """Return both accuracies with Wilson intervals, and their difference with a paired bootstrap
    interval and, beside it, McNemar's exact test (McNemar 1947). Where grades are more than right
    and wrong, the means have bootstrap intervals, and there is no exact test.

    Args:
        baseline: which answers are right, or how right each is, shape (example,).
        champion: the same on the same examples.
        seed: of the bootstrap.
        alpha: of the intervals.
        raw: both uncalibrated, where the others are calibrated.
        offsets: both by offsets alone, where the others read more.
        metric: what it is called.
    """
    is_counted = all(np.isin(values, (0, 1)).all() for values in (baseline, champion))

    def accuracy(right: Graded) -> Share:
        if is_counted:
            ends = wilson_interval(int(right.sum()), len(right), alpha)
        else:
            draws = generator(seed, Stream.BOOTSTRAP, 2)
            ends = paired_bootstrap_interval(right.astype(float), draws, alpha)
        return Share(float(right.mean()), ends)

    def gained(before: Graded, *draws: int) -> Share:
        gain = champion.astype(float) - before.astype(float)
        ends = paired_bootstrap_interval(gain, generator(seed, Stream.BOOTSTRAP, *draws), alpha)
        return Share(float(gain.mean()), ends)

    return HeldOut(
        metric,
        len(baseline),
        accuracy(baseline),
        accuracy(champion),
        gained(baseline),
        None if raw is None else accuracy(raw[0]),
        None if raw is None else accuracy(raw[1]),
        None if offsets is None else accuracy(offsets[0]),
        None if offsets is None else accuracy(offsets[1]),
        None if raw is None else gained(raw[0], 3),
        mcnemar(baseline == 1, champion == 1) if is_counted else None,
    )


def mcnemar(baseline: NDArray[np.bool_], champion: NDArray[np.bool_]) -> McNemar:
    """Return the exact test of two policies' answers on the same examples, shape (example,) each:
    of the examples on which they differ, a binomial number with probability 1/2 is of the champion.
    """
    first, last = int((baseline & ~champion).sum()), int((champion & ~baseline).sum())
    return McNemar(first, last, binomial_test(last, first + last, 0.5))


def rows_of(test: HeldOut, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the part that each row of a held-out check shows, by label; those of `FURTHER` that
    the check has stand before the others.
    """
    further = {label: name for label, name in FURTHER.items() if getattr(test, name) is not None}
    return further | dict(labels)


def held_out_table(test: HeldOut, labels: Mapping[str, str]) -> Table:
    """Return a held-out check as a page shows it; `labels` has the part that each row shows."""
    rows = []
    for label, name in rows_of(test, labels).items():
        value, bounds = interval(test.part(name), signed=name == "difference")
        rows.append((label, Cell(value, emphasis="strong"), Cell(bounds, emphasis="muted")))
    rows += [(a, Cell(b), Cell(c, emphasis="muted")) for a, b, c in _exact(test)]
    return new_table(("", _words(test.metric), "interval"), rows)


def held_out_markdown(test: HeldOut, labels: Mapping[str, str]) -> str:
    """Return a held-out check in Markdown, with what was measured on how many examples above it."""
    rows = []
    for label, name in rows_of(test, labels).items():
        low, high = test.part(name).ci
        rows.append((label, f"{test.part(name).value:.3f}", f"{low:.3f} to {high:.3f}"))
    rows += _exact(test)
    metric = _words(test.metric)
    title = f"{metric} on {test.num_examples} examples"
    return to_markdown(new_table(("", metric, "interval"), rows, title=title))


def _exact(test: HeldOut) -> list[tuple[str, str, str]]:
    """Return the row of the exact test, where the check has it."""
    if (found := test.mcnemar) is None:
        return []
    counts = f"{found.only_champion} examples against {found.only_baseline}"
    return [("McNemar's exact p", f"{found.p_value:.3f}", counts)]


def _words(name: str) -> str:
    return name.replace("_", " ")
