"""Which runs of a sweep are not worth going on with: asynchronous successive halving (Li et al.
2020, "A System for Massively Parallel Hyperparameter Tuning"), as Optuna has it.

A run that has come as far as a rung, a share of its budget, goes on if its best fitness is among
the best 1 in `keep` of the runs that have come there so far. So who is stopped depends on the order
in which runs come to a rung. What was decided follows from the rows of `sweep.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.stopping import StoppingConfig

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
        self._study = optuna.create_study(
            direction="maximize", pruner=self._pruner, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        self._trials: dict[int, Any] = {}
        for row in rows:
            for rung, value in zip(self._rungs, row.rungs, strict=False):
                self._falls_behind(row.number, self._step(rung), value)

    def _step(self, rung: float) -> int:
        return round(rung * STEPS)

    def _falls_behind(self, number: int, step: int, value: float) -> bool:
        trial = self._trials.setdefault(number, None) or self._study.ask()
        self._trials[number] = trial
        trial.report(value, step)
        return bool(trial.should_prune())

    def judge(self, row: SweepRow, line: GenerationLine, config: Config) -> tuple[SweepRow, bool]:
        """Return the row with its best fitness at the rungs that it has passed with a generation,
        and whether it is to be stopped.
        """
        done, best = share_done(line, config), line.account.fitness.best
        falls = False
        for rung in self._rungs[len(row.rungs) :]:
            if done < rung or falls:
                break
            row = replace(row, rungs=[*row.rungs, best])
            falls = self._falls_behind(row.number, self._step(rung), best)
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
