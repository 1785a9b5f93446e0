"""Several runs of a sweep at a time, each in a process of its own that keeps its model from run to
run. They share the memo, and the process that began them decides what is stopped.

On this machine a run has the model in its process, on as many cores as a worker; each of several
GPUs goes to the processes in turn. On a cluster, or with a server, a run has its share of the
workers.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path
from typing import Any

from evoprompt.backends.shared import SharedModels
from evoprompt.config.workers import WorkersConfig
from evoprompt.errors import StoppedError
from evoprompt.interrupt import install_signal_handlers
from evoprompt.jobs.evolve.display import QuietObserver
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.sweep.config import load_sweep
from evoprompt.jobs.sweep.display import SweepDisplay
from evoprompt.jobs.sweep.progress import Progress
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.single import Surroundings, do_run, reason_of, so_far, write_error
from evoprompt.jobs.sweep.tracked import SETTINGS
from evoprompt.terminal import new_console

#: What a run imports late, which takes longer than all else of its beginning.
IMPORTED = (
    *("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto"),
    *("evoprompt.scoring.load", "evoprompt.report.plots", "evoprompt.jobs.evolve.page"),
)
#: A folder for each GPU.
GPUS = Path("/proc/driver/nvidia/gpus")
#: Seconds that a process may take to end when it is asked to.
LEAVE_SECONDS = 30.0


@dataclass(slots=True)
class _Helper:
    """A process, and the run that it does."""

    process: BaseProcess
    pipe: Connection
    slot: int
    number: int = 0  #: of its run; 0 where it has none

    def give(self, progress: Progress, display: SweepDisplay, row: SweepRow) -> None:
        """Have it do a run."""
        self.number = row.number
        row = progress.put(row.number, status="running", reason=None, result=None)
        display.changed(row)
        self.pipe.send(row)


def do_at_once(progress: Progress, rows: Sequence[SweepRow], display: SweepDisplay) -> None:
    """Do runs, as many at a time as the sweep says."""
    waiting = list(rows)
    helpers = [_begin(progress, n) for n in range(min(progress.sweep.config.parallel, len(rows)))]
    try:
        while waiting or any(helper.number for helper in helpers):
            for helper in helpers:
                while waiting and progress.passes_over(waiting[0]):
                    waiting.pop(0)
                if waiting and not helper.number:
                    helper.give(progress, display, waiting.pop(0))
            ready = wait([helper.pipe for helper in helpers if helper.number])  # none: at once
            for place, helper in enumerate(helpers):
                if helper.pipe in ready and not _hear(helper, progress, display):
                    helper.process.join()
                    helpers[place] = _begin(progress, helper.slot)
    finally:
        for helper in helpers:
            _end(helper, progress)


def _hear(helper: _Helper, progress: Progress, display: SweepDisplay) -> bool:
    """Take what a process says; return whether it is still there."""
    number = helper.number
    try:
        kind, *said = helper.pipe.recv()
    except (EOFError, OSError):
        helper.process.join()
        reason = f"its process ended (status {helper.process.exitcode}); was there memory for it?"
        row = progress.put(number, status="failed", reason=reason)
        display.changed(row)
        helper.number = 0
        return False
    if kind == "generation":
        display.told(f"run {number} of {progress.total}", said[0])
        helper.pipe.send(progress.judge(number, said[0]))
        return True
    helper.number = 0
    display.changed(progress.put(number, status=kind, reason=said[0], result=said[1]))
    return True


def _context() -> BaseContext:
    """Return how processes begin: as copies of one that has imported all but begun nothing, where
    the system can.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED])
    return context


def _begin(progress: Progress, slot: int) -> _Helper:
    here, there = multiprocessing.Pipe()
    config = progress.sweep.config
    process = _context().Process(  # type: ignore[attr-defined] # every context has it
        target=_serve,
        args=(
            *(there, progress.path, config.parallel, slot, progress.accepts_changes),
            logging.lastResort and logging.lastResort.formatter,
        ),
        name=f"sweep-{slot}",
    )
    process.start()
    there.close()
    return _Helper(process, here, slot)


def _end(helper: _Helper, progress: Progress) -> None:
    """End a process: politely, as on Ctrl-C, where it has a run."""
    if helper.number:
        if helper.process.is_alive() and helper.process.pid:
            os.kill(helper.process.pid, signal.SIGTERM)
        progress.put(helper.number, status="interrupted")
    helper.pipe.close()
    helper.process.join(LEAVE_SECONDS)
    if helper.process.is_alive():
        helper.process.kill()
        helper.process.join()


def _serve(
    pipe: Connection,
    path: Path,
    parallel: int,
    slot: int,
    accepts_changes: bool,
    formatter: logging.Formatter | None,
) -> None:
    """Do one run after another; what runs in a process."""
    install_signal_handlers()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(formatter)  # as in the process that began this one
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if gpu := gpu_of(slot):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    shared = SharedModels()
    share = share_of(parallel)
    around = Surroundings(path, load_sweep(path / SETTINGS), shared, accepts_changes, share)
    try:
        while True:
            row: SweepRow = pipe.recv()
            pipe.send(_ended(row, around, pipe))
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # nobody waits for it any more
    finally:
        shared.close()


def _ended(row: SweepRow, around: Surroundings, pipe: Connection) -> tuple[Any, ...]:
    """Do a run; return how it ended, why, and its result."""
    try:
        return "done", None, do_run(row, around, _Watching(pipe))
    except StoppedError as why:
        return "stopped", str(why), so_far(around.path / row.folder)
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 (kept whole in the run's folder, and told; the other runs go on)
        write_error(around.path / row.folder, error)
        around.shared.close()
        return "failed", reason_of(error), None


class _Watching(QuietObserver):
    """Asks of each generation whether the run goes on. Implements `single.Watching`."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.console = new_console(quiet=True)
        self._pipe = pipe

    def generation(self, line: GenerationLine) -> None:
        """Tell of a generation.

        Raises:
            StoppedError: the run is not to go on.
        """
        self._pipe.send(("generation", line))
        if reason := self._pipe.recv():
            raise StoppedError(reason)


def gpu_of(slot: int) -> str | None:
    """Return which of several GPUs a process takes; None where there are none to choose from."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    here = len(list(GPUS.iterdir())) if GPUS.exists() else 0
    gpus = given.split(",") if given is not None else [str(n) for n in range(here)]
    return gpus[slot % len(gpus)] if len(gpus) > 1 else None


def share_of(parallel: int) -> Callable[[WorkersConfig], WorkersConfig]:
    """Return what gives a run its workers where so many runs are done at a time."""

    def share(workers: WorkersConfig) -> WorkersConfig:
        if workers.backend != "ray":
            return workers
        if not workers.ray_address:
            return workers.model_copy(update={"backend": "local", "count": None})
        count = workers.count or _fitting(workers)
        return workers.model_copy(update={"count": max(1, count // parallel)})

    return share


def _fitting(workers: WorkersConfig) -> int:
    """Return how many workers fit on a cluster."""
    from evoprompt.backends.cluster import open_ray
    from evoprompt.backends.placement import place

    ray, _ = open_ray(workers)  # left open: the workers are started in it
    total = ray.cluster_resources()
    return place(workers, total.get("CPU", 0), total.get("GPU", 0)).count


def _leave_with_parent() -> None:
    """End as on Ctrl-C when the process that began this one is gone, however it went."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
