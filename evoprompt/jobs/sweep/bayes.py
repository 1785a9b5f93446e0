"""Which settings to try next, by Optuna's tree-structured Parzen estimator (Bergstra 2011). This
file and `halving` are the only ones that import optuna.

Each proposal comes from a fresh study that is told the finished runs, with a sampler seeded by the
run's number. So a proposal follows from the finished runs alone, and a sweep that was killed
proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoprompt.errors import UserError
from evoprompt.jobs.sweep.config import SEED, Range, SweepConfig, canonical, draw, number_type, tidy
from evoprompt.jobs.sweep.record import Settings
from evoprompt.seeding import Stream, generator


def check_installed(what: str, instead: str) -> None:
    """Raise UserError where optuna is missing: what needs it, and what to set instead."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise UserError(
            f"{what} needs optuna, which is not installed: pip install 'evoprompt[bayes]', or set "
            f"{instead}"
        )


def num_startup(runs: int) -> int:
    """Return how many of the first runs are drawn at random: a third, between 3 and 10."""
    return min(10, max(3, runs // 3))


def propose(
    config: SweepConfig, number: int, finished: Sequence[tuple[Settings, float]]
) -> Settings:
    """Return the settings of a run.

    Args:
        config: of the sweep. The seed of the runs is not proposed: an optimum over seeds is luck.
            The runs take its values in turn.
        number: of the run, from 1.
        finished: settings and objective of the runs that have ended well, in order.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        key: _distribution(optuna, key, axis) for key, axis in config.axes.items() if key != SEED
    }
    sampler_seed = int(generator(config.seed, Stream.SWEEP, number).integers(2**31))
    sampler = optuna.samplers.TPESampler(
        seed=sampler_seed, n_startup_trials=num_startup(config.runs or 0)
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for settings, value in finished:
        params = {key: _encode(config.axes[key], settings[key]) for key in space}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    proposed = study.ask(space).params
    return {
        key: draw(config, key, number) if key == SEED else _decode(key, axis, proposed[key])
        for key, axis in config.axes.items()
    }


def _distribution(optuna: Any, key: str, axis: list[Any] | Range) -> Any:
    if isinstance(axis, list):
        return optuna.distributions.CategoricalDistribution(range(len(axis)))
    if number_type(key) is int:
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def _encode(axis: list[Any] | Range, value: Any) -> Any:
    return [canonical(v) for v in axis].index(canonical(value)) if isinstance(axis, list) else value


def _decode(key: str, axis: list[Any] | Range, value: Any) -> Any:
    return axis[value] if isinstance(axis, list) else tidy(axis, value, number_type(key) is int)
