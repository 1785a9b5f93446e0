"""Which runs of a sweep are not worth going on with: asynchronous successive halving (Li et al.
2020, "A System for Massively Parallel Hyperparameter Tuning"), as Optuna has it.

A run that has come as far as a rung, a share of its budget, goes on if its best fitness is among
the best 1 in `keep` of the runs that have come there so far. So who is stopped depends on the order
in which runs come to a rung. What was decided follows from the rows of `sweep.json`.

Runs of other seeds have other examples, and fitness on few examples is the higher by luck, so runs
are compared with those of their own seed on as many examples. Founders are much alike, so a run is
compared after its first generation at the earliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.stopping import StoppingConfig
from evoprompt.jobs.sweep.tables import REPLICATES

#: Optuna counts in whole steps: shares of a run are told to it in these.
STEPS = 1000


class Halving:
    """Remembers how good the runs of a sweep were at each rung.

    Args:
        config: when runs are compared, and how many go on.
        rows: of the sweep, with what they were at the rungs that they have passed.
    """

    def __init__(self, config: StoppingConfig, rows: Sequence[SweepRow]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rungs = config.rungs()
        self._pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=self._step(self._rungs[0]), reduction_factor=config.keep
        )
        self._new_study = partial(
            optuna.create_study,
            direction="maximize",
            pruner=self._pruner,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        self._studies: dict[object, Any] = {}  # by seed and number of examples
        self._trials: dict[object, Any] = {}  # by run and number of examples
        for row in rows:
            for rung, (examples, value) in zip(self._rungs, row.rungs, strict=False):
                self._falls_behind(row, self._step(rung), examples, value)

    def _step(self, rung: float) -> int:
        return round(rung * STEPS)

    def _falls_behind(self, row: SweepRow, step: int, examples: int | None, value: float) -> bool:
        alike, own = (row.settings.get(REPLICATES), examples), (row.number, examples)
        if alike not in self._studies:
            self._studies[alike] = self._new_study()
        if own not in self._trials:
            self._trials[own] = self._studies[alike].ask()
        trial = self._trials[own]
        trial.report(value, step)
        return bool(trial.should_prune())

    def judge(self, row: SweepRow, line: GenerationLine, config: Config) -> tuple[SweepRow, bool]:
        """Return the row with its best fitness at the rungs that it has passed with a generation,
        and whether it is to be stopped.
        """
        done, best = share_done(line, config), line.account.fitness.best
        examples = line.account.examples
        if line.generation == 0:
            return row, False
        falls = False
        for rung in self._rungs[len(row.rungs) :]:
            if done < rung or falls:
                break
            row = replace(row, rungs=[*row.rungs, (examples, best)])
            falls = self._falls_behind(row, self._step(rung), examples, best)
        return row, falls


def share_done(line: GenerationLine, config: Config) -> float:
    """Return which share of its search a run has done: of its generations or of what it may spend,
    whichever ends it first.
    """
    budget, tokens = config.budget, line.tokens
    spent = [
        (line.generation, config.evolution.generations),
        (tokens.floor, budget.prefill_tokens),
        (tokens.logical, budget.logical_tokens),
        (line.seconds, budget.seconds),
    ]
    return max(part / whole for part, whole in spent if whole)
