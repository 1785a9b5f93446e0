"""How many workers there are, and what each is given of the CPUs and GPUs that there are."""

from __future__ import annotations

from dataclasses import dataclass

from evoprompt.config.sections import WorkersConfig
from evoprompt.errors import UserError


@dataclass(frozen=True, slots=True)
class Placement:
    """How many workers, and what each is given."""

    count: int
    cpus: int
    gpus: float

    def __str__(self) -> str:
        each = (
            f"{self.gpus:g} GPU"
            if self.gpus
            else f"{self.cpus} CPU thread{'s' if self.cpus > 1 else ''}"
        )
        return f"{self.count} Ray worker{'s' if self.count > 1 else ''} with {each} each"


def place(config: WorkersConfig, cpus: float, gpus: float) -> Placement:
    """Return the placement on a cluster with these resources: one worker per GPU (or fraction),
    else the cores divided.

    Raises:
        UserError: more is asked for than there is; Ray would wait for it without end.
    """
    share = (1.0 if gpus else 0.0) if config.gpus_per_worker is None else config.gpus_per_worker
    if share > 1 and share != int(share):
        raise UserError(
            f"workers.gpus_per_worker is {share:g}; give a whole number or a fraction below 1"
        )
    threads = 1 if share else config.threads or 1
    fit = int(cpus // threads)
    if share:
        # a share like 0.2 is a little more than a fifth in binary, and 1 // 0.2 is 4
        per_gpu = int(1 / share + 1e-9)
        fit = min(fit, int(gpus) * per_gpu if share < 1 else int(gpus // share))
    count = config.count if config.count is not None else max(fit, 1)
    if count > fit:
        asked = (
            f"{count} workers with {share:g} GPU and {threads} CPU each"
            if share
            else f"{count} workers with {threads} CPU threads each"
        )
        raise UserError(
            f"{asked} do not fit on {cpus:g} CPUs and {gpus:g} GPUs; at most {fit} do: set "
            f"workers.count, workers.threads or workers.gpus_per_worker"
        )
    return Placement(count, threads, share)
