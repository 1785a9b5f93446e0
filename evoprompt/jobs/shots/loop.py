"""The measurement by number of demonstrations, readable in one sitting.

    chain --best_of: choose ways on--> policies --measure together--> scores --interpret--> cells
    cells --commit--> shots.jsonl

A chain is committed as a whole; what was committed is not measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.backends.base import ModelInfo
from evoprompt.calibration import Calibration, fit, leave_one_out
from evoprompt.choices import choice_log_probabilities, correct, has_choices
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.shots.analysis import curves_of, numbers_of
from evoprompt.jobs.shots.folder import SHOTS, ShotsFolder
from evoprompt.jobs.shots.plan import Chain, Planner, Series
from evoprompt.jobs.shots.record import DIGITS, Cell
from evoprompt.measurement.together import JointMeasurer
from evoprompt.policy import Policy
from evoprompt.records import LabelScores
from evoprompt.store.folder import TRACKING
from evoprompt.store.ledger import Ledger

#: The phases of the ledger: what is reported, and what ways on are chosen by.
TEST, CHOICE = "test", "search"

Key = tuple[str, str, str, int]  #: model, task, context and draw


@dataclass(frozen=True, slots=True)
class Measured:
    """A policy of a chain, with what its validation examples gave where they were needed."""

    policy: Policy
    validation: LabelScores | None


@dataclass(slots=True)
class Progress:
    """What is committed of a measurement."""

    done: set[Key]
    ledger: Ledger
    notes: list[str]


def restore(folder: ShotsFolder) -> Progress:
    """Return what an earlier part of this measurement committed."""
    content = folder.restore_lines((SHOTS,))
    if content is None:
        return Progress(set(), Ledger(), [])
    done = {(key[0], key[1], key[2], key[3]) for key in content["done"]}
    return Progress(done, Ledger.from_dict(content["ledger"]), list(content["notes"]))


def key_of(series: Series, chain: Chain) -> Key:
    """Return by what a chain is known."""
    return series.model, series.name, chain.context, chain.draw


def measure_series(
    series: Series,
    planner: Planner,
    chains: Sequence[Chain],
    measurer: JointMeasurer,
    folder: ShotsFolder,
    progress: Progress,
    told: Callable[[Chain, Sequence[Cell]], None],
) -> None:
    """Measure the chains of a series that are not committed yet, each with a commit.

    Raises:
        InexactScoringError: the standing check found a wrong score.
    """
    for chain in chains:
        if key_of(series, chain) in progress.done:
            continue
        raise_if_interrupted()
        cells = measure_chain(series, planner, chain, measurer, progress)
        _commit(folder, progress, key_of(series, chain), cells)
        told(chain, cells)


def measure_chain(
    series: Series, planner: Planner, chain: Chain, measurer: JointMeasurer, progress: Progress
) -> list[Cell]:
    """Return the cells of a chain, in order of the number of demonstrations."""
    ledger, task = progress.ledger, series.task
    if chain.numbers:
        chosen = _choose(series, planner, chain, measurer, progress)
        if not chosen:
            return []
        policies = [each.policy for each in chosen]
        tests, count = measurer.measure_together(policies, task.test, ledger.timed)
        validations = [each.validation for each in chosen]
    else:
        policies = list(chain.policies)
        found, count = measurer.measure_together(policies, series.examples, ledger.timed)
        num = len(series.examples) - len(task.test)
        validations = [scores.first(num) if num else None for scores in found]
        tests = [last(scores, len(task.test)) for scores in found]
    ledger.count(TEST, count)
    return [
        cell_of(series, chain, policy, test, validation if series.is_calibrated else None)
        for policy, test, validation in zip(policies, tests, validations, strict=True)
    ]


def _choose(
    series: Series, planner: Planner, chain: Chain, measurer: JointMeasurer, progress: Progress
) -> list[Measured]:
    """Return at each number of demonstrations the way on whose validation examples are answered
    likeliest.
    """
    ledger = progress.ledger
    chosen: list[Measured] = []
    [policy] = chain.policies
    for number in chain.numbers:
        raise_if_interrupted()
        ways = planner.ways_on(policy, number, chain.draw)
        if not ways:
            progress.notes.append(
                f"{series.model} on {series.name}: {chain.context}: draw {chain.draw + 1} is left "
                f"out from {number} demonstrations on: pool or window have no room for a way on"
            )
            break
        found, count = measurer.measure_together(ways, series.task.validation, ledger.timed)
        ledger.count(CHOICE, count)
        worth = [round(validation_worth(s, series.is_calibrated), DIGITS) for s in found]
        best = int(np.argmax(worth))
        policy = ways[best]
        chosen.append(Measured(policy, found[best]))
    return chosen


def validation_worth(scores: LabelScores, is_calibrated: bool) -> float:
    """Return the mean log-likelihood of the right answers, nats: among the choices where there are
    any, by offsets where that is possible, each example left out of its own fit.
    """
    if is_calibrated:
        logs = leave_one_out(scores.log_likelihood[0], scores.gold, "labelled")
        return float(logs[np.arange(len(scores.gold)), scores.gold].mean())
    values = choice_log_probabilities(scores) if has_choices(scores) else scores.log_likelihood
    return float(scores.of_gold(values).mean())


def cell_of(
    series: Series,
    chain: Chain,
    policy: Policy,
    test: LabelScores,
    validation: LabelScores | None,
) -> Cell:
    """Return what is written down of a policy; calibrated where validation scores are given."""
    calibrated: tuple[NDArray[np.bool_], NDArray[np.float64]] | None = None
    if validation is not None:
        way: Calibration = fit(validation.log_likelihood[0], validation.gold, "labelled")
        logs = way.apply(test.log_likelihood[0])
        calibrated = logs.argmax(axis=1) == test.gold, logs[np.arange(len(test.gold)), test.gold]
    widths = {int(n) for n in test.present[0].sum(axis=1)}
    return Cell(
        series.model,
        series.name,
        chain.context,
        chain.draw,
        len(policy.demonstrations),
        widths.pop() if len(widths) == 1 else 0,
        tuple((d.input, d.target) for d in policy.demonstrations),
        _flags(correct(test)[0]),
        _nats(test.of_gold(test.log_likelihood)[0]),
        None if calibrated is None else _flags(calibrated[0]),
        None if calibrated is None else _nats(calibrated[1]),
    )


def last(scores: LabelScores, num: int) -> LabelScores:
    """Return what was measured on the last `num` examples."""
    names = ("log_likelihood", "num_tokens", "num_bytes", "is_greedy")
    parts: dict[str, Any] = {name: getattr(scores, name)[:, -num:] for name in names}
    ids, gold = scores.example_ids[-num:], scores.gold[-num:]
    return replace(scores, example_ids=ids, gold=gold, **parts)


def _commit(folder: ShotsFolder, progress: Progress, key: Key, cells: Sequence[Cell]) -> None:
    progress.done.add(key)
    content: Mapping[str, Any] = {
        "version": 1,
        "done": [list(k) for k in sorted(progress.done)],
        "ledger": progress.ledger.to_dict(),
        "notes": progress.notes,
    }
    folder.commit_lines({SHOTS: [cell.to_dict() for cell in cells]}, content)


def summary_of(
    folder: ShotsFolder, progress: Progress, notes: Sequence[str], infos: Mapping[str, ModelInfo]
) -> dict[str, Any]:
    """Return what `summary.json` has of a complete measurement."""
    tokens = progress.ledger.token_summary()
    return {
        "name": folder.path.name,
        "notes": [*notes, *progress.notes],
        "models": {
            name: {"dtype": info.dtype, "path": info.path, "window": info.window}
            for name, info in infos.items()
        },
        "tokens": asdict(tokens) | {"logical": progress.ledger.total.logical_tokens},
        "checked": asdict(progress.ledger.checked),
        "curves": numbers_of(curves_of(folder.cells())),
        "mlflow_run_id": (folder.read(TRACKING) or {}).get("run_id"),
    }


def _flags(values: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _nats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(v), DIGITS) for v in values)
