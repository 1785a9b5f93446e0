"""What workers and machine do while a run goes on, looked at after each generation."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evoprompt.backends.base import Executor
from evoprompt.backends.doing import Work, WorkerPace, paces_of


class Watch:
    """Looks at the workers of a fleet, and at the machine that the run is conducted on.

    Args:
        executor: has workers where it has `work_done`.
        folder: of the run, whose disk is looked at.
        machine: whether the machine is looked at.
    """

    def __init__(self, executor: Executor, folder: Path, *, machine: bool) -> None:
        self._work_done: Callable[[], Sequence[Work]] | None = getattr(executor, "work_done", None)
        self._folder, self._machine = folder, machine
        self._before: Sequence[Work] = ()
        self._since = time.monotonic()
        if machine:
            self.machine()  # what the CPU does is told since the look before

    def workers(self) -> list[WorkerPace]:
        """Return how each worker worked since the look before, the slowest first; nothing where
        there is no fleet.
        """
        if self._work_done is None:
            return []
        now, after = time.monotonic(), self._work_done()
        found = paces_of(self._before, after, now - self._since)
        self._before, self._since = after, now
        return found

    def machine(self) -> Mapping[str, float] | None:
        """Return how busy the machine is, by the names of MLflow's system metrics; None where
        nobody is told.
        """
        if not self._machine:
            return None
        import psutil

        memory, disk = psutil.virtual_memory(), shutil.disk_usage(self._folder)
        return {
            "cpu_utilization_percentage": float(psutil.cpu_percent(None)),
            "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
            "system_memory_usage_percentage": float(memory.percent),
            "process_memory_usage_megabytes": round(psutil.Process().memory_info().rss / 1e6, 1),
            "disk_available_megabytes": round(disk.free / 1e6, 1),
        }
