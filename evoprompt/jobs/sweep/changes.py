"""What may be another when a sweep is gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence

from evoprompt.config.reader import parse_override
from evoprompt.errors import UserError, quoted
from evoprompt.jobs.provenance import may_be_set
from evoprompt.jobs.sweep.config import Sweep, check_sweep

#: The key that has runs stopped, or those that were stopped gone on with.
STOPPING = "stopping.method"


def with_changes(sweep: Sweep, overrides: Sequence[str], begun: int) -> Sweep:
    """Return a sweep that is gone on with, with other settings for all runs that are not done.

    Args:
        sweep: as its folder has it.
        overrides: `key=value` of what changes no result, and `runs`.
        begun: how many runs it has until now.

    Raises:
        UserError: a key may not be changed, or a value is not valid.
    """
    values = sweep.config.model_dump(mode="json")
    for override in overrides:
        key, value = parse_override(override)
        if key == "runs" and sweep.config.method != "grid":
            if not isinstance(value, int) or value < begun:
                raise UserError(f"--set {quoted(override)}: {begun} runs are there; give as many")
            values["runs"] = value
        elif key == STOPPING:
            values["stopping"]["method"] = value
        elif may_be_set(key) and key not in sweep.config.axes:
            values["set"][key] = value
        else:
            raise UserError(
                f"--set {quoted(override)}: that would make it another sweep; what may be changed "
                f"are workers.* but threads, tracking.* and budget.* where no axis varies them, "
                f"{STOPPING}, and the runs of random and bayes"
            )
    config = check_sweep(values, f"--set {' '.join(overrides)}") if overrides else sweep.config
    return Sweep(config, sweep.base, sweep.folder)


def set_for_all(sweep: Sweep) -> list[str]:
    """Return what a sweep sets for all runs and may set anew, as `key=value`."""
    kept = {key: value for key, value in sweep.config.set.items() if may_be_set(key)}
    return [f"{key}={json.dumps(value)}" for key, value in kept.items()]
