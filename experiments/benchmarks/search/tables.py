"""Results -> tables in Markdown: accuracy and nats by task, raw and calibrated, and what each
contender has over a reference, with intervals.

`calibrated` is by labelled offsets and a temperature, `head` reads other words too; both are fitted
on the development examples on which the search had measured its final prompt. Where examples have
choices of their own, or none, there is nothing to fit, and they are the raw number.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.calibration import Calibration
from experiments.benchmarks.search.record import (
    Key,
    Scores,
    accuracy,
    fitted,
    log_probabilities,
    nats,
    scores_of,
)

#: Resamples of a bootstrap, and what is left out at its ends.
RESAMPLES, ALPHA = 10_000, 0.05
#: How answers are read: beside other words (by a head), by offsets, and as they are.
WAYS = ("head", "calibrated", "raw")


@dataclass(frozen=True)
class Run:
    """What the tables need of a run."""

    contender: str
    task: str
    seed: int
    tokens: int
    accuracy: Mapping[str, float]  #: by way
    nats: Mapping[str, float]
    right: Mapping[str, NDArray[np.bool_]]  #: by way, of each test example

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Run:
        """Return what the tables need of a line."""
        test = scores_of(row["test"])
        calibrations = refitted(row)
        return cls(
            row["contender"],
            row["task"],
            row["seed"],
            row["tokens"]["total"],
            {way: accuracy(test, c) for way, c in calibrations.items()},
            {way: nats(test, c) for way, c in calibrations.items()},
            {way: _right(test, c) for way, c in calibrations.items()},
        )


def refitted(row: Mapping[str, Any]) -> dict[str, Calibration | None]:
    """Return the calibrations of a line by way, fitted on its scores as they are fitted now, so
    that lines of different days compare; where there is nothing to fit, or no words were read, what
    comes next stands for them.
    """
    if not row["calibration"]:
        return dict.fromkeys(WAYS)
    known = fitted(scores_of(row["development"]))
    offsets = known["labelled"]
    return {"head": known.get("head", offsets), "calibrated": offsets, "raw": None}


Place = tuple[str, int]  #: task and seed


class Board:
    """All runs of one model and budget."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.runs: dict[str, dict[Place, Run]] = {}
        for row in rows:
            run = Run.of(row)
            self.runs.setdefault(run.contender, {})[run.task, run.seed] = run
        self.tasks = sorted({t for places in self.runs.values() for t, _ in places})

    def means(self, contender: str, task: str, value: Callable[[Run], float]) -> float | None:
        """Return a contender's mean over the seeds of a task; None where it did not run."""
        found = [value(run) for (t, _), run in self.runs[contender].items() if t == task]
        return float(np.mean(found)) if found else None

    def table(self, name: str, value: Callable[[Run, str], float]) -> list[str]:
        """Return a table of means over seeds, by way."""
        lines = [
            "| " + " | ".join([name, *self.tasks, "tokens"]) + " |",
            "|---" * (len(self.tasks) + 2) + "|",
        ]
        for contender, places in self.runs.items():
            cells = [contender]
            for task in self.tasks:
                ways = [self.means(contender, task, lambda r, w=w: value(r, w)) for w in WAYS]
                count = sum(t == task for t, _ in places)
                cells.append(f"{' '.join(map(_number, ways))}, {count}" if count else "")
            cells.append(f"{np.mean([r.tokens for r in places.values()]):,.0f}")
            lines.append("| " + " | ".join(cells) + " |")
        return lines

    def differences(
        self, contender: str, reference: str, ways: tuple[str, str]
    ) -> dict[str, list[NDArray[np.float64]]]:
        """Return by task, for each seed that both have, by how much a contender is right more
        often on each test example.
        """
        found: dict[str, list[NDArray[np.float64]]] = {}
        for (task, seed), run in self.runs[contender].items():
            other = self.runs.get(reference, {}).get((task, seed))
            if other is not None:
                own = run.right[ways[0]].astype(float)
                found.setdefault(task, []).append(own - other.right[ways[1]].astype(float))
        return found

    def against(self, reference: str) -> list[str]:
        """Return what each contender has over a reference, both read alike, and raw answers over
        its calibrated ones: in all, by task, and in how many runs it is below.
        """
        lines = [
            f"| accuracy over {reference} | all tasks | runs below | {' | '.join(self.tasks)} |",
            "|---" * (len(self.tasks) + 3) + "|",
        ]
        for contender in self.runs:
            for way in WAYS:
                against = "calibrated" if way == "raw" else way
                if (contender, way) == (reference, against):
                    continue
                by_task = self.differences(contender, reference, (way, against))
                if not by_task:
                    continue
                means = [d.mean() for seeds in by_task.values() for d in seeds]
                below = sum(m < 0 for m in means)
                cells = [
                    f"{contender}, {way}",
                    interval(*over_tasks_and_seeds(by_task))
                    if len(means) > 1
                    else f"{means[0]:+.3f}, one run",
                    f"{below} of {len(means)}",
                ]
                cells += [
                    interval(*over_seeds_and_examples(by_task[t])) if t in by_task else ""
                    for t in self.tasks
                ]
                lines.append("| " + " | ".join(cells) + " |")
        return lines


def over_tasks_and_seeds(
    by_task: Mapping[str, Sequence[NDArray[np.float64]]], seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over tasks of the mean over seeds, and the ends of its paired hierarchical
    bootstrap: tasks are drawn, then seeds of each.
    """
    rng = np.random.default_rng(seed)
    means = [np.array([d.mean() for d in seeds]) for seeds in by_task.values()]
    draws = np.empty((RESAMPLES, len(means)))
    chosen = rng.integers(0, len(means), draws.shape)
    for task, values in enumerate(means):
        here = chosen == task
        picks = rng.integers(0, len(values), (int(here.sum()), len(values)))
        draws[here] = values[picks].mean(axis=1)
    return _ends(float(np.mean([m.mean() for m in means])), draws.mean(axis=1))


def over_seeds_and_examples(
    seeds: Sequence[NDArray[np.float64]], seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over seeds and test examples of one task, and the ends of its bootstrap:
    seeds are drawn, and the examples that all seeds share.
    """
    rng = np.random.default_rng(seed)
    values = np.array(seeds)
    weights = rng.multinomial(values.shape[1], [1 / values.shape[1]] * values.shape[1], RESAMPLES)
    picks = rng.multinomial(len(values), [1 / len(values)] * len(values), RESAMPLES)
    draws = ((weights @ values.T) * picks).sum(axis=1) / values.size
    return _ends(float(values.mean()), draws)


def _ends(mean: float, draws: NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    return mean, float(low), float(high)


def interval(mean: float, low: float, high: float) -> str:
    """Return a mean with its interval."""
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def report(rows: Sequence[Mapping[str, Any]], reference: str, published: Path | None = None) -> str:
    """Return all tables, those of each model, budget and unit under a heading."""
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = Key.of(row)
        groups.setdefault((key.model, key.budget, key.unit), []).append(row)
    lines: list[str] = []
    for (model, budget, unit), group in groups.items():
        board = Board(group)
        lines += [f"## {model}, {budget:,} {unit}", ""]
        lines += board.table("accuracy: head, calibrated, raw; seeds", lambda r, w: r.accuracy[w])
        lines += ["", *board.table("nats: head, calibrated, raw; seeds", lambda r, w: r.nats[w])]
        for name in dict.fromkeys([reference, "zero_shot"]):
            if name in board.runs:
                lines += ["", *board.against(name)]
        lines.append("")
    if published is not None:
        lines += ["## Published", "", *published_table(published)]
    return "\n".join(lines)


def published_table(file: Path) -> list[str]:
    """Return the published numbers of a CSV as a table."""
    with file.open(encoding="utf-8", newline="") as stream:
        found = list(csv.reader(stream))
    head, *body = found
    rows = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _right(scores: Scores, calibration: Any) -> NDArray[np.bool_]:
    """Return whether each test example is answered right."""
    if scores.log_likelihood.shape[1] == 1:
        return scores.is_greedy
    right: NDArray[np.bool_] = log_probabilities(scores, calibration).argmax(axis=1) == scores.gold
    return right


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
